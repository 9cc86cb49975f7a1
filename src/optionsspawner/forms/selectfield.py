"""One of several choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from traitlets import Float, TraitType, Unicode
from traitlets import Integer as IntegerTrait

from flatirons.errors import Refusal, quoted
from flatirons.forms import Field, Integer, Number, Select
from optionsspawner.forms.base import FormField

__all__ = ["SelectField"]


class SelectField(FormField):
    """One of (value, label) pairs, by default the first. The option has the type of the values."""

    def __init__(
        self, *args: Any, choices: Sequence[tuple[Any, str]] = (), default: Any = None, **given: Any
    ) -> None:
        for key in ("attr_value", "attr_multiple"):  # without a meaning here
            given.pop(key, None)
        super().__init__(*args, **given)
        self._choices = choices
        values = self._values
        if len(set(values)) < len(values):
            raise ValueError(f"{self.trait_name}: two choices have the same value")
        if len(set(map(type, values))) > 1:
            raise TypeError(f"{self.trait_name}: the choices' values must be of one type")
        self._default_value = default if default in values else values[0] if values else None
        self._check()

    @property
    def _values(self) -> list[Any]:
        return [value for value, _ in self._choices]

    @property
    def default_value(self) -> Any:
        """The choice to begin with."""
        return self._default_value

    def render(self) -> str:
        """The label and the list."""
        select = Markup('<select id="id_{}" class="form-control" {}>\n{}</select>')
        options = self._render_options(self._choices)
        return self._labelled(select.format(self.trait_name, self._render_attribute_list(), options))

    def _render_options(self, choices: Sequence[tuple[Any, str]]) -> Markup:
        option = Markup('<option id="id_{}_option_{}" value="{}"{}>{}</option>\n')
        return Markup("").join(
            option.format(
                self.trait_name, place, value, " selected" if value == self.default_value else "", text
            )
            for place, (value, text) in enumerate(choices)
        )

    def get_trait(self) -> TraitType[Any, Any]:
        """A trait of the type of the values: Integer, Float or Unicode."""
        default = self.default_value
        if self._base is Select:
            return self._trait(Unicode("" if default is None else str(default)))
        return self._trait((IntegerTrait if self._base is Integer else Float)(default))

    def normalize_user_option(self, option: Sequence[Any] | None) -> Any:
        """The chosen value; raises ValueError for anything that isn't a choice."""
        given = option[0] if option else None
        try:
            value = str(given) if self._base is Select else self._base(self.trait_name).read(given)
        except Refusal as refusal:
            raise ValueError(f"{self.label}: {refusal}") from None
        if value not in self._values:
            raise ValueError(f"{self.label}: {quoted(str(given))} isn't offered here.")
        return value

    @property
    def _base(self) -> type[Field]:
        kinds = set(map(type, self._values))
        return Integer if kinds == {int} else Number if kinds == {float} else Select

    def _kind(self, attrs: dict[str, Any]) -> tuple[type[Field], dict[str, Any]]:
        nothing = next((text for value, text in self._choices if value == ""), "")
        return self._base, {
            "choices": [(value, text) for value, text in self._choices if value != ""],
            "nothing": nothing,
            "required": "" not in self._values,
            "default": self.default_value,
        }
