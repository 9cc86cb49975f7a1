"""JSON without the module `json`, whose import takes as long as starting Python, by the parts of it in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class Scanning:
    """How CPython's scanner reads a text: as `json.loads` has it do by default."""

    strict = True
    object_hook = object_pairs_hook = parse_constant = None
    parse_float = float
    parse_int = int


def read_json(text: str) -> Any:
    """What `json.loads` returns; raises ValueError as it does."""
    try:
        from _json import make_scanner

        how: Any = Scanning
        return make_scanner(how)(text.strip(), 0)[0]
    except (ImportError, AttributeError, TypeError, StopIteration):  # another Python, or not JSON
        import json

        return json.loads(text)


def as_json(value: object) -> str:
    """The JSON of a dictionary, list, text, number or None."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(name)}: {as_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    return "null" if value is None else str(value)


def quoted(text: str) -> str:
    """A text in JSON, in ASCII."""
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii(text)
