"""A site's own fields, from plain data, and what their values become in a job. Pure.

    fields_of_site(
        {"licence": {"type": "select", "choices": ["none", "matlab"], "sbatch": "--licenses"}}, taken
    )

Settings: `type`, `label`, `help`, `default`, `choices`, `minimum`, `maximum`, `required`, `locked`,
`visible`, `pattern` (of a text), `on` (what a ticked box stands for), `folded` (is shown among "More
options"), `sbatch` (an option of sbatch that gets the value), `env` (a variable in the server's environment
that gets it).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from flatirons.forms import (
    Checkbox,
    Duration,
    Field,
    Hidden,
    Integer,
    Memory,
    Number,
    Radio,
    Select,
    Text,
    Value,
)
from flatirons.slurm_form.fields import FIELDS
from flatirons.slurm_form.narrowing import mistakes
from flatirons.slurm_form.rules import TERMS

KIND_BY_TYPE: Mapping[str, type[Field]] = {
    "text": Text,
    "integer": Integer,
    "number": Number,
    "checkbox": Checkbox,
    "select": Select,
    "radio": Radio,
    "duration": Duration,
    "memory": Memory,
    "hidden": Hidden,
}
FIELD_SETTINGS = (
    *("label", "help", "default", "choices", "minimum", "maximum", "required", "locked", "visible"),
    *("pattern", "on"),
)
_SBATCH = re.compile(r"--[a-z][a-z-]*")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED = frozenset(
    {
        *(each.reserved for each in FIELDS if each.is_shown and each.reserved),
        *("--job-name", "--comment", "--output", "--error", "--chdir", "--export", "--parsable"),
        *("--wrap", "--test-only", "--requeue", "--no-requeue", "--propagate", "--uid", "--gid", "--array"),
        *("--mem-per-cpu", "--mem-per-gpu", "--gpus", "--gpus-per-node", "--gpus-per-task"),
        *("--cpus-per-gpu", "--clusters", "--wait", "--input", "--export-file", "--get-user-env"),
        *("--help", "--usage", "--version"),
    }
)
"""Options of sbatch that no field of a site may set: a standard field sets them, the spawner needs them, or
they would prevent the job. Abbreviations of them are refused too, because sbatch accepts them
(getopt_long(3))."""


def fields_of_site(
    settings: Mapping[str, Mapping[str, Any]], taken: Collection[str], reserved: Collection[str] = ()
) -> tuple[list[Field], list[tuple[str, str]]]:
    """The fields, and each mistake by its key.

    `taken` are the names of the standard fields, `reserved` the options of sbatch that those set, in addition
    to RESERVED.
    """
    fields: list[Field] = []
    wrong: list[tuple[str, str]] = []
    for name, said in settings.items():
        is_taken = name in taken or name in TERMS
        found = [("", "the form already has an option of this name")] if is_taken else []
        field, more = _made(name, said, RESERVED | set(reserved))
        fields += [field] if field else []
        wrong += [(f"form.own.{name}{'.' if key else ''}{key}", text) for key, text in found + more]
    return fields, wrong


def _made(
    name: str, said: Mapping[str, Any], reserved: Collection[str]
) -> tuple[Field | None, list[tuple[str, str]]]:
    """The field, None where there can't be one, and each mistake in its settings."""
    found = list(_mistakes(said, reserved))
    try:
        re.compile(str(said.get("pattern") or ""))
        field = _field(name, said)
        settings = {key: said[key] for key in FIELD_SETTINGS if said.get(key) is not None}
        return field, [*found, *mistakes(field, settings)]
    except re.error as error:
        return None, [*found, ("pattern", f"isn't a regular expression: {error}")]
    except (TypeError, ValueError) as error:
        return None, [*found, ("", str(error))]


def _field(name: str, said: Mapping[str, Any]) -> Field:
    kind = KIND_BY_TYPE.get(str(said.get("type", "text")), Text)
    settings = {key: said[key] for key in FIELD_SETTINGS if said.get(key) is not None}
    flag = str(said.get("sbatch") or "")
    group = "more" if said.get("folded") else "size"
    try:
        return kind(name, flag=flag, group=group, trait=None, **settings)
    except TypeError:
        unknown = [key for key in ("pattern", "on") if key in settings]
        raise ValueError(f"a field of this type has no {' or '.join(unknown)}") from None


def _mistakes(said: Mapping[str, Any], reserved: Collection[str]) -> Iterator[tuple[str, str]]:
    option, variable = str(said.get("sbatch") or ""), str(said.get("env") or "")
    if said.get("type", "text") not in KIND_BY_TYPE:
        yield "type", f"must be one of {', '.join(KIND_BY_TYPE)}, not {said['type']!r}"
    if option and not _SBATCH.fullmatch(option):
        yield "sbatch", f"must be a long option of sbatch such as --licenses, not {option!r}"
    if any(option and each.startswith(option) for each in reserved):
        yield "sbatch", f"{option} is set by a standard field or by the spawner"
    if variable and not _ENV.fullmatch(variable):
        yield "env", f"must be the name of an environment variable, not {variable!r}"
    if said.get("type") in ("select", "radio") and not said.get("choices"):
        yield "choices", "a select and radio cards need choices"


def sbatch_options(
    settings: Mapping[str, Mapping[str, Any]], options: Mapping[str, Value | None]
) -> tuple[str, ...]:
    """What the values of a site's fields add to sbatch's command line; each is one word of it."""
    found = []
    for name, said in settings.items():
        value, option = options.get(name), said.get("sbatch")
        if not option or value is None or value is False:
            continue
        found.append(sbatch_word(option, _field(name, said), value))
    return tuple(found)


def sbatch_word(option: str, field: Field, value: Value) -> str:
    """An option of sbatch with the value of a field; a ticked box gives the option alone."""
    return option if value is True else f"{option}={field.write(value)}"


def variables(
    settings: Mapping[str, Mapping[str, Any]], options: Mapping[str, Value | None]
) -> dict[str, str]:
    """The variables that the values of a site's fields set in the server's environment."""
    named = ((said.get("env"), name, said, options.get(name)) for name, said in settings.items())
    return {
        str(variable): _text(name, said, value)
        for variable, name, said, value in named
        if variable and value is not None
    }


def _text(name: str, said: Mapping[str, Any], value: Value) -> str:
    return "1" if value is True else "0" if value is False else _field(name, said).write(value)
