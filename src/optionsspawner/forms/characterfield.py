"""Fields that are typed: a line of text, or a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from traitlets import Float, TraitType, Unicode
from traitlets import Integer as IntegerTrait

from flatirons.errors import Refusal
from flatirons.forms import Field, Hidden, Integer, Number, Text
from optionsspawner.forms.base import FormField, first

__all__ = ["NumericalInputField", "TextInputField"]


class TextInputField(FormField):
    """A line of text. Without `attr_pattern` all printable characters are accepted, so a template of a job
    script has to quote the value."""

    def __init__(self, *args: Any, attr_type: str = "text", **given: Any) -> None:
        super().__init__(*args, attr_type=attr_type, **given)
        self._check()

    @property
    def default_value(self) -> Any:
        """The text to begin with; empty where none is given, as in the trait."""
        return self._attributes.get("value", "")

    def render(self) -> str:
        """The label and the input."""
        attributes = self._render_attribute_list()
        element = Markup('<input id="id_{}" class="form-control" {}>').format(self.trait_name, attributes)
        return self._labelled(element)

    def get_trait(self) -> TraitType[Any, Any]:
        """A Unicode trait."""
        return self._trait(Unicode(str(self.default_value)))

    def normalize_user_option(self, option: Sequence[Any] | None) -> Any:
        """The text, or the default; raises ValueError for a required field that stays empty."""
        given = first(option)
        value = self.default_value if given is None else str(given)
        if self.required and not value:
            raise ValueError(f"{self.label}: this is needed.")
        return value

    def _kind(self, attrs: dict[str, Any]) -> tuple[type[Field], dict[str, Any]]:
        kind, pattern = str(attrs.pop("type", "text")), str(attrs.pop("pattern", ""))
        _check_pattern(self.trait_name, pattern)
        default = self._default(attrs)
        settings: dict[str, Any] = {"pattern": pattern, "default": None if default is None else str(default)}
        settings["says"] = str(attrs.get("title", "This doesn't have the required format."))
        if "maxlength" in attrs:
            settings["longest"] = int(attrs["maxlength"])
        if kind == "hidden":
            return Hidden, settings
        return (Text if kind == "text" else type("Text", (Text,), {"input_type": kind})), settings


class NumericalInputField(TextInputField):
    """A whole number, or any number when `attr_step` is one with a decimal point, or "any"."""

    def __init__(self, *args: Any, attr_type: str = "number", **given: Any) -> None:
        super().__init__(*args, attr_type=attr_type, **given)

    @property
    def default_value(self) -> Any:
        """The number to begin with; 0 where none is given, as in the trait."""
        value = self._attributes.get("value")
        return (0.0 if self._is_float() else 0) if value is None else value

    def get_trait(self) -> TraitType[Any, Any]:
        """An Integer or a Float trait."""
        kind = Float if self._is_float() else IntegerTrait
        return self._trait(kind(self._number(self.default_value)))

    def normalize_user_option(self, option: Sequence[Any] | None) -> Any:
        """The number, or the default; raises ValueError for anything else."""
        given = first(option)
        return self.default_value if given is None else self._number(given)

    def _is_float(self) -> bool:
        step = self._attributes.get("step", 1)
        return isinstance(step, float) or step == "any"

    def _number(self, given: Any) -> Any:
        try:
            return (Number if self._is_float() else Integer)(self.trait_name).read(given)
        except Refusal as refusal:
            raise ValueError(f"{self.label}: {refusal}") from None

    def _kind(self, attrs: dict[str, Any]) -> tuple[type[Field], dict[str, Any]]:
        for key in ("type", "step"):
            attrs.pop(key, None)
        settings = {"minimum": attrs.pop("min", None), "maximum": attrs.pop("max", None)}
        return Number if self._is_float() else Integer, {**settings, "default": self._default(attrs)}


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: attr_pattern isn't a regular expression of Python: {error}") from None
