"""Turns pydantic's errors in a site file into pairs (dotted key, sentence) for an operator. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

EXPECTED = {
    "string_type": "text in quotes is expected",
    "int_type": "a whole number is expected",
    "bool_type": "true or false is expected",
    "list_type": 'a list is expected, such as ["a", "b"]',
    "dict_type": "a section is expected",
    "model_type": "a section is expected",
    "string_too_short": "text that isn't empty is expected",
}
Location = tuple[int | str, ...]


def problems(
    error: ValidationError, model: type[BaseModel], given: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Every mistake once, in the order of the keys in the file."""
    found = [(_without_marks(item["loc"]), _sentence(item, model)) for item in error.errors()]
    order = {where: index for index, where in enumerate(_walk(given))}
    found.sort(key=lambda item: order.get(item[0], len(order)))
    return list(dict.fromkeys((dotted(where), sentence) for where, sentence in found))


def dotted(where: Sequence[int | str]) -> str:
    """The key in TOML's notation: clusters."a b".binds[0] for `("clusters", "a b", "binds", 0)`."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.match(r"^[A-Za-z0-9_-]+$", part) else '"' + part.replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word nearest to this one, "" if none is near."""
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    return next((name for name in known if name.lower() in close), "")


def _without_marks(where: Location) -> Location:
    """The location without the "[key]" that pydantic appends for a bad name in a table."""
    return tuple(part for part in where if part != "[key]")


def _sentence(item: Any, model: type[BaseModel]) -> str:
    kind, value, facts = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(item["loc"], model)
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(facts["error"])
    if kind == "literal_error":
        return f"one of {facts['expected']} is expected, not {_shown(value)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {facts['ge']}" if "ge" in facts else f"at most {facts['le']}"
        return f"a number of {bound} is expected, not {_shown(value)}"
    if kind in ("too_short", "too_long"):
        return "at least one entry is expected" if kind == "too_short" else "too many entries"
    if kind in EXPECTED:
        return f"{EXPECTED[kind]}, not {_shown(value)}"
    return f"{item['msg']}, not {_shown(value)}"


def _unknown(where: Location, model: type[BaseModel]) -> str:
    """A sentence on an unknown key, with the nearest known key of its section, or the section that has it."""
    key = str(where[-1])
    section = _section(model, where[:-1])
    here = [field.alias or name for name, field in section.model_fields.items()] if section else []
    if meant := nearest(key, here):
        return f"unknown key; did you mean {meant!r}?"
    elsewhere = [place for place in _known_keys(model) if place.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key here; it belongs to {elsewhere[0]}"
    return f"unknown key; known here: {', '.join(here)}"


def _section(model: type[BaseModel], where: Location) -> type[BaseModel] | None:
    """The model of the section at `where`, None if there is none."""
    current: type[BaseModel] | None = model
    rest = list(where)
    while rest and current:
        name = str(rest.pop(0))
        field = current.model_fields.get(name)
        current, is_table = section_of(field.annotation) if field else (None, False)
        if is_table and rest:
            rest.pop(0)  # the operator's own name: clusters.NAME
    return current


def section_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model in an annotation, and whether it is in a table whose names the operator chooses."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for part in getattr(annotation, "__args__", ()):
        found, _ = section_of(part)
        if found:
            return found, getattr(annotation, "__origin__", None) is dict
    return None, False


def _known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        section, is_table = section_of(field.annotation)
        if section:
            yield from _known_keys(section, f"{prefix}{name}.{'NAME.' if is_table else ''}")


def _walk(given: Any, where: Location = ()) -> Iterator[Location]:
    yield where
    pairs = (
        given.items() if isinstance(given, Mapping) else enumerate(given) if isinstance(given, list) else ()
    )
    for key, value in pairs:
        yield from _walk(value, (*where, key))


def _shown(value: Any) -> str:
    """The value as the operator wrote it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
