"""Fields as the `optionsspawner` package named them: `TextInputField("req_account", label="Account")`.

The first argument is the trait that gets the value. `attr_NAME` are attributes of the HTML element. Those
that restrict the value (required, value, pattern, maxlength, min, max, step, checked, readonly) are also
checked on the server, for links and the REST API too. Any other keyword is a setting of
`flatirons.forms.Field`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flatirons.errors import Refusal
from flatirons.forms import Checkbox, Field, Hidden, Integer, Number, Select, Text

__all__ = ["CheckboxInputField", "FormField", "NumericalInputField", "SelectField", "TextInputField"]

FormField = Field


def TextInputField(trait_name: str, label: str | None = None, **given: Any) -> Field:
    """A line of text. Without `attr_pattern` all printable characters are accepted, so a template of a job
    script has to quote the value."""
    settings, attrs = _split(given)
    kind = str(attrs.pop("type", "text"))
    base = (
        Hidden
        if kind == "hidden"
        else Text
        if kind == "text"
        else type("Text", (Text,), {"input_type": kind})
    )
    pattern = str(attrs.pop("pattern", ""))
    _check_pattern(trait_name, pattern)
    settings |= {
        "pattern": pattern,
        "says": str(attrs.get("title", "This doesn't have the required format.")),
    }
    if "maxlength" in attrs:
        settings["longest"] = int(attrs["maxlength"])
    settings["default"] = None if settings["default"] is None else str(settings["default"])
    return _made(base, trait_name, label, settings, attrs)


def NumericalInputField(trait_name: str, label: str | None = None, **given: Any) -> Field:
    """A whole number, or any number when `attr_step` is one with a decimal point, or "any"."""
    settings, attrs = _split(given)
    attrs.pop("type", None)
    step = attrs.pop("step", 1)
    settings |= {"minimum": attrs.pop("min", None), "maximum": attrs.pop("max", None)}
    base = Number if isinstance(step, float) or step == "any" else Integer
    return _made(base, trait_name, label, settings, attrs)


def CheckboxInputField(trait_name: str, label: str | None = None, **given: Any) -> Field:
    """Yes or no; with a text as `attr_value`, that text or nothing. `attr_checked` ticks it."""
    settings, attrs = _split(given)
    if attrs.pop("type", "checkbox") != "checkbox":
        raise ValueError(f"{trait_name}: a checkbox has the type checkbox")
    value, is_ticked = settings.pop("default"), bool(attrs.pop("checked", False))
    if value is None or isinstance(value, bool):
        settings["default"] = is_ticked and value is not False
        if settings["required"]:
            settings["must"] = lambda value: None if value else "Please tick this to continue."
        return _made(Checkbox, trait_name, label, settings, attrs)
    settings |= {"on": str(value), "default": str(value) if is_ticked else None}
    return _made(Checkbox, trait_name, label, settings, attrs)


def SelectField(
    trait_name: str,
    label: str | None = None,
    choices: Sequence[tuple[Any, str]] = (),
    default: Any = None,
    **given: Any,
) -> Field:
    """One of (value, label) pairs, by default the first. The option has the type of the values."""
    settings, attrs = _split({**given, "attr_value": None})
    attrs.pop("multiple", None)  # optionsspawner never supported it
    values = [value for value, _ in choices]
    if len(set(values)) < len(values):
        raise ValueError(f"{trait_name}: two choices have the same value")
    kinds = set(map(type, values))
    if len(kinds) > 1:
        raise TypeError(f"{trait_name}: the choices' values must be of one type")
    base = Integer if kinds == {int} else Number if kinds == {float} else Select
    nothing = next((text for value, text in choices if value == ""), "")
    settings |= {"choices": [(value, text) for value, text in choices if value != ""], "nothing": nothing}
    settings["required"] = "" not in values
    settings["default"] = default if default in values else values[0] if values else None
    return _made(base, trait_name, label, settings, attrs)


def _split(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a field, and the attributes that aren't settings."""
    attrs = {key.removeprefix("attr_"): value for key, value in given.items() if key.startswith("attr_")}
    settings = {key: value for key, value in given.items() if not key.startswith("attr_")}
    settings["default"] = attrs.pop("value", None)
    settings["required"] = bool(attrs.pop("required", False))
    settings["locked"] = any([attrs.pop("readonly", False), attrs.pop("disabled", False)])
    if "placeholder" in attrs:
        settings["nothing"] = str(attrs.pop("placeholder"))
    for reserved in ("id", "name"):
        attrs.pop(reserved, None)
    return settings, attrs


def _made(
    base: type[Field], name: str, label: str | None, settings: dict[str, Any], attrs: dict[str, Any]
) -> Field:
    """The field; raises ValueError for a default or a bound that the field can't read."""
    written = {
        key: "" if value is True else str(value) for key, value in attrs.items() if value not in (None, False)
    }
    field = base(name, label or name, attrs=written, **settings)
    for key in ("default", "minimum", "maximum"):
        value = settings.get(key)
        if value is None or value == "":
            continue
        try:
            field.read(value)
        except Refusal as refusal:
            raise ValueError(f"{name}: its {key} can't be {value!r}: {refusal}") from None
    return field


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: attr_pattern isn't a regular expression of Python: {error}") from None
