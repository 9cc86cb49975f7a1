"""FormField, the base class of all fields, and OptionsForm, a list of them."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from traitlets import TraitType

from flatirons.errors import LONGEST_TEXT, Refusal
from flatirons.forms import Context, Field, Text, Value
from flatirons.forms.fields import as_text
from flatirons.forms.values import Rules

__all__ = ["FormField", "OptionsForm"]

PACKAGE = "optionsspawner"
FORM_SETS = ("id", "name")
"""Attributes that the hub's form sets itself."""


class FormField(abc.ABC):
    """One option: its label, its HTML, its trait, and how a posted value is read."""

    def __init__(self, trait_name: str, label: str | None = None, **given: Any) -> None:
        self._trait_name = trait_name
        self._label = label or trait_name
        self._attributes = {
            key.removeprefix("attr_"): value for key, value in given.items() if key.startswith("attr_")
        }
        self._attributes.setdefault("name", trait_name)
        self._settings = {key: value for key, value in given.items() if not key.startswith("attr_")}

    @property
    def trait_name(self) -> str:
        """The trait that gets the value, and the option's name."""
        return self._trait_name

    @property
    def label(self) -> str:
        """What the page calls the option."""
        return self._label

    @property
    def default_value(self) -> Any:
        """The value to begin with, which is also the default of the field's trait."""
        return self._attributes.get("value")

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return bool(self._attributes.get("required", False))

    @abc.abstractmethod
    def render(self) -> str:
        """The field as HTML, with its label."""

    @abc.abstractmethod
    def get_trait(self) -> TraitType[Any, Any]:
        """A trait for the field's values, with the field's default."""

    @abc.abstractmethod
    def normalize_user_option(self, option: Sequence[Any] | None) -> Any:
        """The trait's value for what was posted, a list with one value or None; raises ValueError."""

    def as_field(self) -> Field:
        """The field as Flatirons' form takes it; raises ValueError for a default or a bound it can't read."""
        return self._field

    @functools.cached_property
    def _field(self) -> Field:
        return self._made()

    def _made(self) -> Field:
        attrs = {key: value for key, value in self._attributes.items() if key not in FORM_SETS}
        base, settings = self._kind(attrs)
        settings = {**self._common(attrs), **settings, **self._settings}
        settings["attrs"] = {
            key: "" if value is True else str(value)
            for key, value in attrs.items()
            if value is not None and value is not False
        }
        kind = type(base.__name__, (SiteField, base), {"of": self})
        field: Field = kind(self.trait_name, self.label, **settings)
        if not self.has_own("normalize_user_option"):
            _refuse_unreadable(field, settings)
        return field

    def _kind(self, attrs: dict[str, Any]) -> tuple[type[Field], dict[str, Any]]:
        """The kind of field and its settings. Takes from the attributes what becomes a setting."""
        attrs.pop("value", None)
        return Text, {
            "pattern": "",
            "default": None if self.default_value is None else str(self.default_value),
        }

    def _common(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The settings that attributes of all fields become."""
        attrs.pop("required", None)
        locked = [attrs.pop(key, False) for key in ("readonly", "disabled")]
        settings = {"required": self.required, "locked": any(locked)}
        return {**settings, "nothing": str(attrs.pop("placeholder"))} if "placeholder" in attrs else settings

    def _default(self, attrs: dict[str, Any]) -> Any:
        """The value to begin with; None where neither the configuration nor a subclass gives one."""
        given = attrs.pop("value", None)
        return self.default_value if self.has_own("default_value") else given

    def has_own(self, name: str) -> bool:
        """Whether a site's subclass has replaced this method or property."""
        found = getattr(type(self), name)
        function = found.fget if isinstance(found, property) else found
        return str(function.__module__).partition(".")[0] != PACKAGE

    def _check(self) -> None:
        """Reports mistakes as soon as the configuration is read. A subclass may not be complete yet."""
        if type(self).__module__.partition(".")[0] == PACKAGE:
            self._made()

    def _trait(self, trait: TraitType[Any, Any]) -> TraitType[Any, Any]:
        trait.name = self.trait_name
        return trait.tag(config=True)

    def _labelled(self, element: Markup) -> str:
        return Markup('<label for="{}">{}</label>\n{}\n').format(self.trait_name, self.label, element)

    def _render_attribute_list(self, more: Mapping[str, Any] | None = None) -> Markup:
        """The attributes as they stand in the element, in the order of their names."""
        given = {**self._attributes, **(more or {})}
        shown = [
            (key, value) for key, value in sorted(given.items()) if value is not None and value is not False
        ]
        words = [Markup("{}").format(k) if v is True else Markup('{}="{}"').format(k, v) for k, v in shown]
        return Markup(" ").join(words)


class SiteField:
    """What makes a field of Flatirons' form out of a FormField; first among its bases."""

    of: FormField

    async def accept(self, given: object, rules: Rules, context: Context) -> Value | None:
        """The value; the package's own options are lists of one."""
        return await super().accept(_single(given), rules, context)  # type: ignore[misc,no-any-return]

    def read(self, given: object) -> Value:
        """The typed value, or the text itself where a subclass has its own way to read it."""
        if not self.of.has_own("normalize_user_option"):
            return super().read(_single(given))  # type: ignore[misc,no-any-return]
        found = _single(given)
        value: Value = found if isinstance(found, int | float) else as_text(found, LONGEST_TEXT)
        self.trait_value(value)
        return value

    def trait_value(self, value: Value | None) -> Any:
        """What the trait gets for a value of the form, None for an empty field; raises Refusal."""
        if not self.of.has_own("normalize_user_option"):
            return value
        try:
            return self.of.normalize_user_option(None if value is None else [value])
        except (ValueError, TypeError) as error:
            if value is None and isinstance(error, TypeError):  # it takes an empty text for an empty field
                return self.trait_value("")
            raise Refusal(str(error) or "This can't be used here.") from None

    def get_trait(self) -> TraitType[Any, Any]:
        """A trait for a child that has none of this name."""
        return self.of.get_trait()

    def own_html(self) -> str | None:
        """The HTML of a subclass that renders itself."""
        return self.of.render() if self.of.has_own("render") else None


class OptionsForm:
    """Fields in order, for code that makes its own page of them."""

    validation_style = "<style>.form-control:invalid {border-color:red;color:red;}</style>\n"

    def __init__(self, form_fields: Sequence[FormField] = ()) -> None:
        self._fields = form_fields

    @property
    def fields(self) -> Sequence[FormField]:
        """The fields."""
        return self._fields

    def render(self) -> str:
        """All fields as HTML."""
        return "\n".join([self.validation_style, *(field.render() for field in self.fields)])

    def get_options_from_form(self, form_data: Mapping[str, Any]) -> dict[str, Any]:
        """What was posted for each field, a list or None."""
        return {field.trait_name: form_data.get(field.trait_name) for field in self.fields}

    def get_normalized_user_options(self, user_options: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each trait; raises ValueError."""
        return {
            field.trait_name: field.normalize_user_option(user_options.get(field.trait_name))
            for field in self.fields
        }


def first(option: Sequence[Any] | None) -> Any:
    """The posted value, None where nothing was posted or the input was empty."""
    value = option[0] if option else None
    return None if value == "" else value


def _single(given: object) -> object:
    return given[0] if isinstance(given, list | tuple) and len(given) == 1 else given


def _refuse_unreadable(field: Field, settings: Mapping[str, Any]) -> None:
    for key in ("default", "minimum", "maximum"):
        value = settings.get(key)
        if value is None or value == "":
            continue
        try:
            field.read(value)
        except Refusal as refusal:
            raise ValueError(f"{field.name}: its {key} can't be {value!r}: {refusal}") from None
