"""A box to tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from traitlets import Bool, TraitType, Unicode

from flatirons.forms import Checkbox, Field
from optionsspawner.forms.base import FormField

__all__ = ["CheckboxInputField"]


class CheckboxInputField(FormField):
    """Yes or no; with a text as `attr_value`, that text or nothing. `attr_checked` ticks it."""

    def __init__(self, *args: Any, attr_type: str = "checkbox", **given: Any) -> None:
        if attr_type != "checkbox":
            raise ValueError(f"{args[0] if args else 'a field'}: a checkbox has the type checkbox")
        super().__init__(*args, attr_type=attr_type, **given)
        self._check()

    @property
    def default_value(self) -> Any:
        """What an untouched box gives: its value if it is ticked to begin with."""
        if isinstance(self._value, bool):
            return self._value and self._is_ticked
        return self._value if self._is_ticked else None

    @property
    def _value(self) -> Any:
        """What a ticked box gives."""
        value = self._attributes.get("value", True)
        return True if value is None else value

    @property
    def _is_ticked(self) -> bool:
        return bool(self._attributes.get("checked", False))

    def render(self) -> str:
        """The label and the box."""
        attributes = self._render_attribute_list()
        element = Markup('<input id="id_{}" class="form-control" {}>').format(self.trait_name, attributes)
        return self._labelled(element)

    def get_trait(self) -> TraitType[Any, Any]:
        """A Bool trait, or a Unicode trait where the box has a text."""
        default = self.default_value
        trait = Bool(bool(default)) if isinstance(self._value, bool) else Unicode(str(default or ""))
        return self._trait(trait)

    def normalize_user_option(self, option: Sequence[Any] | None) -> Any:
        """What the box gives: it is ticked if anything was posted. Raises ValueError if it must be."""
        if option is None and self.required:
            raise ValueError(f"{self.label}: please tick this to continue.")
        if isinstance(self._value, bool):
            return option is not None
        return "" if option is None else self._value

    def _kind(self, attrs: dict[str, Any]) -> tuple[type[Field], dict[str, Any]]:
        for key in ("type", "value", "checked"):
            attrs.pop(key, None)
        if not isinstance(self._value, bool):
            value = str(self._value)
            return Checkbox, {"on": value, "default": value if self.default_value else None}
        settings: dict[str, Any] = {"default": bool(self.default_value)}
        if self.required:
            settings["must"] = lambda value: None if value else "Please tick this to continue."
        return Checkbox, settings
