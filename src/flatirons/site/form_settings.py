"""The part of site.toml that sets up the options form: one small table for each field.

`slurm_form.fields` declares the fields. The kind of a field decides which settings its table has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)

from flatirons import forms, units
from flatirons.errors import Refusal
from flatirons.site.value_types import Count, Line, Name
from flatirons.slurm_form.fields import FIELDS, NAMES, SlurmField
from flatirons.slurm_form.gpus import Gpus


def _choices(value: Any) -> list[tuple[str, str]]:
    """`["a", "b"]` or `{a = "What a is"}` as (value, label)."""
    listed: list[tuple[Any, Any]] = []
    if isinstance(value, list):
        listed = [(item, "") for item in value]
    elif isinstance(value, Mapping):
        listed = list(value.items())
    if not listed or not all(
        isinstance(text, str) and text.isprintable() for pair in listed for text in pair
    ):
        raise ValueError('a list of texts, or a table { value = "label" }, is expected')
    if len(dict(listed)) < len(listed):
        raise ValueError("a value is listed twice")
    return listed


def _minutes(value: Any) -> str:
    return _measured(value, units.minutes, 'a time such as "2:00:00", "90m" or "7d"')


def _mebibytes(value: Any) -> str:
    return _measured(value, units.mebibytes, 'an amount of memory such as "4G" or "500M"')


def _measured(value: Any, measure: Callable[[str], int], what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is expected, not {value!r}")
    try:
        measure(value)
    except Refusal as error:
        raise ValueError(f"{what} is expected: {error}") from error
    return value


Choices = Annotated[
    list[tuple[str, str]],
    BeforeValidator(_choices),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            ]
        }
    ),
]
_Text = WithJsonSchema({"type": "string"})
RuntimeText = Annotated[str, BeforeValidator(_minutes), _Text]
MemoryText = Annotated[str, BeforeValidator(_mebibytes), _Text]


class FieldSettings(BaseModel):
    """The settings of every field."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    label: Line = ""
    """The label of the field."""

    help: Line = ""
    """A sentence below it."""

    visible: bool | None = None
    """Whether the field is shown. `false` hides it: then its default holds, and nothing else is accepted.
    `true` shows a field that is hidden by default. Left out: see the table of the fields."""

    hidden: bool = False
    """The opposite of `visible`, for older site files."""

    locked: bool = False
    """Whether the field is shown, but only its default is accepted."""

    required: bool = False
    """Whether the user has to fill it in."""

    @model_validator(mode="after")
    def _visible_or_hidden(self) -> Self:
        _refuse_visible_and_hidden(self)
        return self

    def settings(self) -> dict[str, Any]:
        """The settings that the file gives, as the form takes them."""
        return _with_visible(self.model_dump(exclude_unset=True))


def _refuse_visible_and_hidden(given: FieldSettings | SiteFieldSettings) -> None:
    if given.visible is not None and "hidden" in given.model_fields_set:
        raise ValueError("visible and hidden are one setting: give only visible")


def _with_visible(given: dict[str, Any]) -> dict[str, Any]:
    if "hidden" in given:
        given["visible"] = not given.pop("hidden")
    return given


class TextSettings(FieldSettings):
    """A field for a name."""

    default: Line = ""
    """The initial choice, if Slurm lets the user have it. Left out: what Slurm itself would use."""

    choices: Choices | None = None
    """The choices: `["a", "b"]`, or `{ a = "What a is" }`. Users see those that Slurm lets them have. Left
    out: all that Slurm lets them have."""

    @property
    def choice_values(self) -> list[str]:
        """The values to choose from, [] for any."""
        return [value for value, _ in self.choices or ()]

    @model_validator(mode="after")
    def _default_is_a_choice(self) -> Self:
        if self.default and self.choices and self.default not in self.choice_values:
            raise ValueError(f"the default {self.default!r} isn't one of the choices")
        return self


class GpuSettings(TextSettings):
    """A field for GPUs: `0`, `1`, or with a type, `v100:2`."""

    minimum: Count | None = None
    """The smallest number, of whatever type."""

    maximum: Count | None = None
    """The largest number, of whatever type. Slurm's own limits apply as well, here and below."""

    @model_validator(mode="after")
    def _values_are_gpus(self) -> Self:
        for value in [*self.choice_values, *([self.default] if self.default else [])]:
            if not re.fullmatch(r"([A-Za-z0-9_][A-Za-z0-9_.-]*:)?[0-9]{1,4}", value):
                raise ValueError(f'GPUs are written as "0", "1" or "v100:2", not {value!r}')
        return self


class BoundedSettings(FieldSettings):
    """A field with bounds; subclasses add `default`, `minimum` and `maximum` of their type."""

    measure: ClassVar[Any] = int

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        given = [(key, getattr(self, key)) for key in ("minimum", "default", "maximum")]
        numbers = [(key, type(self).measure(value)) for key, value in given if value is not None]
        for (low, less), (high, more) in pairwise(numbers):
            if less > more:
                raise ValueError(f"{low} is larger than {high}")
        return self


class CountSettings(BoundedSettings):
    """A field for a whole number."""

    default: Count | None = None
    """The value when the user leaves it empty. Left out: Slurm decides."""

    minimum: Count | None = None
    """The smallest value."""

    maximum: Count | None = None
    """The largest value."""


class NumberSettings(BoundedSettings):
    """A field for a number, whole or with a decimal point."""

    measure: ClassVar[Any] = float

    default: float | None = None
    """The value when the user leaves it empty. Left out: Slurm decides."""

    minimum: float | None = None
    """The smallest value."""

    maximum: float | None = None
    """The largest value."""


class CheckboxSettings(FieldSettings):
    """A box to tick."""

    default: bool | None = None
    """Whether the box is ticked at first."""


class MemorySettings(BoundedSettings):
    """A field for memory, as `4G` or `500M`."""

    measure: ClassVar[Any] = staticmethod(units.mebibytes)

    default: MemoryText | None = None
    """The value when the user leaves it empty. Left out: Slurm decides."""

    minimum: MemoryText | None = None
    """The smallest value."""

    maximum: MemoryText | None = None
    """The largest value."""


class RuntimeSettings(BoundedSettings):
    """A field for a time, as `2:00:00` (hours), `90m` or `7d`."""

    measure: ClassVar[Any] = staticmethod(units.minutes)

    default: RuntimeText | None = None
    """The value when the user leaves it empty. Left out: Slurm decides."""

    minimum: RuntimeText | None = None
    """The smallest value."""

    maximum: RuntimeText | None = None
    """The largest value."""


class SiteFieldSettings(BaseModel):
    """A field that the site adds: what it asks for, and where its value goes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    type: Literal[
        "text", "integer", "number", "checkbox", "select", "radio", "duration", "memory", "hidden"
    ] = "text"
    """The kind of field. `radio` shows its choices as cards; `duration` takes `2:00:00` or `90m`, `memory`
    takes `4G`."""

    label: Line = ""
    """Its label. Left out: its name."""

    help: Line = ""
    """A sentence below it."""

    default: str | int | float | bool | None = None
    """The value when the user leaves it empty."""

    choices: Choices | None = None
    """The choices: `["a", "b"]`, or `{ a = "What a is" }`. Needed for `select` and `radio`."""

    minimum: str | int | float | None = None
    """The smallest value."""

    maximum: str | int | float | None = None
    """The largest value."""

    required: bool = False
    """Whether the user has to fill it in."""

    locked: bool = False
    """Whether it is shown, but only its default is accepted."""

    visible: bool | None = None
    """Whether it is shown, which is the default. `false` hides it: then its default holds, and nothing else
    is accepted."""

    hidden: bool = False
    """The opposite of `visible`, for older site files."""

    pattern: Line | None = None
    """For `text`: a regular expression that must match the whole text. Left out: letters, digits and
    `_ . , : + @ = -`, no `-` first. Empty: any line of text."""

    on: Line | None = None
    """For `checkbox`: the value that a ticked box stands for. Left out: yes or no."""

    folded: bool = False
    """Whether it is shown among "More options"."""

    sbatch: Line = ""
    """A long option of sbatch that gets the value, such as `--licenses`; a ticked box gives the option
    alone, such as `--exclusive`."""

    env: Line = ""
    """A variable that gets the value in the server's environment, such as `OMP_NUM_THREADS`."""

    @model_validator(mode="after")
    def _visible_or_hidden(self) -> Self:
        _refuse_visible_and_hidden(self)
        return self

    def settings(self) -> dict[str, Any]:
        """The settings that the file gives, as `slurm_form.site_fields` takes them."""
        given = _with_visible(self.model_dump(exclude_unset=True))
        return {key: value for key, value in given.items() if value is not None}


class _Fields(BaseModel):
    """The options form. Each field has its own table; a field without one is set up by Flatirons."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    own: dict[Name, SiteFieldSettings] = {}
    """Fields that the site adds, by name."""

    def standard(self, name: str) -> FieldSettings:
        """What the file says about a standard field."""
        found: FieldSettings = getattr(self, name)
        return found

    def named(self, name: str) -> list[str]:
        """The values that the file names for a standard field: its default, then its choices."""
        given = self.standard(name)
        if not isinstance(given, TextSettings):
            return []
        return [*([given.default] if given.default else []), *given.choice_values]

    def settings(self) -> dict[str, dict[str, Any]]:
        """What the file says about each standard field, by its name."""
        return {name: self.standard(name).settings() for name in NAMES}

    def site_fields(self) -> dict[str, dict[str, Any]]:
        """What the file says about the fields that the site adds, by their names."""
        return {name: field.settings() for name, field in self.own.items()}


SETTINGS_BY_KIND: Mapping[type[forms.Field], type[FieldSettings]] = {
    Gpus: GpuSettings,
    forms.Checkbox: CheckboxSettings,
    forms.Integer: CountSettings,
    forms.Number: NumberSettings,
    forms.Memory: MemorySettings,
    forms.Duration: RuntimeSettings,
    forms.Text: TextSettings,
}
"""The settings of a field by its kind; the first that fits counts."""


def _table(each: SlurmField) -> Any:
    """A table of site.toml, as pydantic's create_model takes it."""
    kind = next(settings for kind, settings in SETTINGS_BY_KIND.items() if isinstance(each.field, kind))
    examples = ", ".join(f"`{text}`" for text in each.examples)
    about = f"{each.sentence[:-1]}: {examples}." if examples else each.sentence
    return kind, Field(default=kind(), description=about)


if TYPE_CHECKING:
    FormSection = _Fields
else:
    FormSection = create_model(
        "FormSection",
        __base__=_Fields,
        __doc__=_Fields.__doc__,
        __module__=__name__,
        **{each.name: _table(each) for each in FIELDS},
    )
