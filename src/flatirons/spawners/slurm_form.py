"""The standard Slurm form, from plain data: what a site says of each field, its clusters and environments.

    slurm_form({"runtime": {"default": "2:00:00", "maximum": "1-00:00:00"}}, clusters, environments)

A field's settings: `label`, `help`, `default`, `choices` (values, or (value, label) pairs), `minimum`,
`maximum`, `visible`, `required`, `locked`. A field that isn't named is there with what FIELDS says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

from flatirons.errors import SiteError
from flatirons.forms import Choice, Duration, Field, Form, Group, Integer, Memory, Radio, Select, Text
from flatirons.forms.fields import as_text
from flatirons.forms.values import Refusal, Value, quoted

SETTINGS = frozenset(
    {"label", "help", "default", "choices", "minimum", "maximum", "visible", "required", "locked"}
)
MOST_CARDS = 6

GROUPS = (
    Group("environment"),
    Group("place", "Where"),
    Group("size", "How much"),
    Group("more", "More options", folded=True),
)


@dataclass(frozen=True, eq=False)
class Gpus(Text):
    """GPUs on each node: `0`, `2`, or of one type, `v100:2`. The value is such a text; bounds are counts."""

    _: KW_ONLY
    longest: int = 64
    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        text = as_text(given, self.longest)
        match = re.fullmatch(r"(?:([A-Za-z][A-Za-z0-9_.-]*):)?([0-9]{1,4})", text)
        if match is None:
            raise Refusal(f"{quoted(text)} isn't a number of GPUs. Write 0, 1, or with a type, v100:2.")
        kind, count = match[1], int(match[2])
        return f"{kind}:{count}" if kind and count else str(count)

    def measure(self, value: Value) -> Value:
        return int(str(value).rpartition(":")[2])


FIELDS: tuple[Field, ...] = (
    Select("cluster", "Cluster", group="place", required=True),
    Text("account", "Account", flag="--account", group="place", nothing="Your default account"),
    Text("partition", "Partition", flag="--partition", group="place", nothing="The cluster's default"),
    Text("qos", "QOS", flag="--qos", group="more", nothing="Your default QOS"),
    Text("reservation", "Reservation", flag="--reservation", group="more", nothing="None"),
    Radio("environment", "Environment", group="environment", required=True, trait="environment_name"),
    Integer("nodes", "Nodes", flag="--nodes", group="more", minimum=1, nothing="1"),
    Integer("ntasks", "Tasks", flag="--ntasks", group="more", minimum=1, nothing="1"),
    Integer(
        "cpus", "Cores", flag="--cpus-per-task", group="size", minimum=1, nothing="1", help="For each task."
    ),
    Memory(
        "memory",
        "Memory",
        flag="--mem",
        group="size",
        minimum=1,
        nothing="The partition's default",
        help="On each node, such as 4G or 500M.",
    ),
    Gpus(
        "gpus",
        "GPUs",
        flag="--gres=gpu",
        group="size",
        minimum=0,
        nothing="None",
        help="On each node: 1, or with a type, v100:2.",
    ),
    Duration(
        "runtime",
        "Run time",
        flag="--time",
        group="size",
        minimum=1,
        nothing="The partition's default",
        help="Such as 90m, 2:00:00 or 1d12h.",
    ),
)


def slurm_form(
    settings: Mapping[str, Mapping[str, Any]],
    clusters: Mapping[str, Mapping[str, Any]],
    environments: Mapping[str, Mapping[str, Any]],
) -> Form:
    """The form; clusters and environments are offered by name, with their `title` and `description`.

    Raises SiteError, which names each setting that can't be.
    """
    names = {field.name for field in FIELDS}
    problems = [(f"form.{name}", "is no field of the Slurm form") for name in settings if name not in names]
    offers = {"cluster": offered(clusters), "environment": offered(environments)}
    fields = []
    for field in FIELDS:
        given = settings.get(field.name, {})
        unknown = sorted(set(given) - SETTINGS)
        problems += [(f"form.{field.name}.{key}", "is no setting of a field") for key in unknown]
        changed = _with_settings(field, {key: given[key] for key in given if key in SETTINGS}, offers)
        problems += [(f"form.{field.name}.{key}", text) for key, text in _mistakes(changed)]
        fields.append(changed)
    if problems:
        raise SiteError(problems, "the options form")
    return Form(fields, groups=GROUPS)


def offered(things: Mapping[str, Mapping[str, Any]]) -> list[Choice]:
    """Choices from clusters or environments by name."""
    return [
        Choice(name, str(thing.get("title") or ""), str(thing.get("description") or ""))
        for name, thing in things.items()
    ]


def _with_settings(field: Field, given: dict[str, Any], offers: Mapping[str, Sequence[Choice]]) -> Field:
    if field.name in offers:
        choices = _narrowed(offers[field.name], given.pop("choices", None))
        ours: dict[str, Any] = {"choices": choices, "visible": len(choices) > 1}
        ours["default"] = choices[0].value if choices else None
        if len(choices) > MOST_CARDS:
            field = Select(field.name, field.label, group=field.group, required=True, trait=field.trait)
        given = ours | given
    elif given.get("choices") is None:
        given.pop("choices", None)
    return replace(field, **given)


def _narrowed(offer: Sequence[Choice], given: Sequence[object] | None) -> list[Choice]:
    """Of what there is the choices that the site names, in its order and with its labels."""
    if given is None:
        return list(offer)
    there = {choice.value: choice for choice in offer}
    named = [Choice.of(item) for item in given]
    return [
        replace(there.get(choice.value, choice), label=choice.label or there[choice.value].label)
        if choice.value in there
        else choice
        for choice in named
    ]


def _mistakes(field: Field) -> list[tuple[str, str]]:
    """Static settings of a field that it can't read, by their keys."""
    read: Callable[[Any], Value] = field.read
    choices = field.choices if isinstance(field.choices, list | tuple) else ()
    given = [(key, getattr(field, key)) for key in ("minimum", "maximum", "default")]
    given = [(key, value) for key, value in given if value is not None and value != ""]
    mistakes: list[tuple[str, str]] = []
    typed: dict[str, set[Value]] = {}
    for key, value in [*given, *(("choices", Choice.of(choice).value) for choice in choices)]:
        try:
            typed.setdefault(key, set()).add(read(value))
        except Refusal as refusal:
            mistakes.append((key, str(refusal)))
    if choices and not typed.get("default", set()) <= typed.get("choices", set()):
        mistakes.append(("default", f"{field.default!r} is none of the choices"))
    return mistakes
