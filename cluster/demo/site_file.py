"""The demo's site file: its own text, with tables of other texts merged into it. Pure."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from ..errors import ClusterError


def merged(*texts: str) -> str:
    """One TOML text of several. Tables become one, by their keys; of other values, the last text's counts.

    An array, of tables too, is such a value: it replaces the one before it. Comments are lost.
    """
    whole: dict[str, Any] = {}
    for text in texts:
        whole = _merge(whole, tomllib.loads(text))
    return dumps(whole)


def require_toml(text: str, name: str) -> str:
    """The text itself; ClusterError with what is wrong if it isn't TOML."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClusterError(f"{name} is not TOML: {error}") from error
    return text


def dumps(table: Mapping[str, Any]) -> str:
    """A TOML text of what `tomllib.loads` returned for another."""
    return "".join(_sections(table, ()))


def _merge(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in more.items():
        old = both.get(key)
        is_table = isinstance(old, Mapping) and isinstance(value, Mapping)
        both[key] = _merge(old, value) if is_table else value  # type: ignore[arg-type]
    return both


def _sections(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """A table's header, its values, then the tables in it."""
    lines = [f"\n[{'.'.join(map(_key, path))}]\n"] if path else []
    lines += [f"{_key(key)} = {_value(each)}\n" for key, each in table.items() if not _is_table(each)]
    for key, each in table.items():
        if _is_table(each):
            lines += _sections(each, (*path, key))
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    """A basic string: as in JSON, but DEL must be escaped and a pair of surrogates isn't allowed."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return str(value.isoformat())  # a date, a time, or both
