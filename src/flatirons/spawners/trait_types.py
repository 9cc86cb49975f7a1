"""Traits that take times, amounts and numbers as people write them, in a configuration and from any form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets import Float, HasTraits, Integer, TraitError, TraitType, Unicode

from flatirons import units
from flatirons.errors import Refusal
from flatirons.forms import Duration, Field, Memory, Number, Value
from flatirons.forms import Integer as WholeNumber
from flatirons.slurm_form.gpus import Gpus

_WHOLE, _DECIMAL = WholeNumber("whole"), Number("decimal")


class Written(TraitType[Any, Any]):
    """A number that may be given as a text."""

    def read(self, text: str) -> Value:
        """The number that the text stands for; raises Refusal."""
        raise NotImplementedError

    def fitting(self, value: Value, field: Field) -> Value:
        """The trait's value for the typed value of a field; raises Refusal."""
        return self.read(value if isinstance(value, str) else plain(value))

    def validate(self, obj: Any, value: Any) -> Any:
        """The number; raises TraitError, for a text with the sentence that says how to write it."""
        if isinstance(value, str):
            try:
                value = self.read(value)
            except Refusal as refusal:
                raise TraitError(f"c.SlurmSpawner.{self.name}: {refusal}") from None
        return super().validate(obj, value)  # type: ignore[misc]  # the class beside this one has it


class Count(Written, Integer):
    """A whole number."""

    def read(self, text: str) -> Value:
        return _WHOLE.read(text)


class Minutes(Written, Integer):
    """A time in minutes, or as a text: `02:00:00`, `90m`, `1-12:00:00`."""

    def read(self, text: str) -> Value:
        return Duration("time").read(text)


class Mebibytes(Written, Integer):
    """An amount of memory in MiB, or as a text: `4G`, `500M`."""

    def read(self, text: str) -> Value:
        return Memory("memory").read(text)


class Seconds(Written, Float):
    """A time in seconds, or as a text: `90s`, `30m`, `02:00:00`."""

    def read(self, text: str) -> Value:
        return units.seconds(text)

    def fitting(self, value: Value, field: Field) -> Value:
        """The seconds; a `Duration` field has minutes."""
        if isinstance(field, Duration) and not isinstance(value, str):
            return 60.0 * value
        return super().fitting(value, field)


class Word(Unicode):
    """A text; a number is taken as its text."""

    def validate(self, obj: Any, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return super().validate(obj, plain(value) if is_number else value)


class GpusOnNode(Word):
    """GPUs on each node: `2`, `v100:2`; also as in --gres, `gpu:v100:2`."""

    def validate(self, obj: Any, value: Any) -> Any:
        text = super().validate(obj, value)
        try:
            return self.read(text) if text else text
        except Refusal as refusal:
            raise TraitError(f"c.SlurmSpawner.{self.name}: {refusal}") from None

    def read(self, text: str) -> Value:
        """The GPUs as the form takes them; raises Refusal."""
        return Gpus("gpus").read(text.strip().removeprefix("gpu:"))


def check(cls: type[HasTraits], values: Mapping[str, Any]) -> None:
    """Raises TraitError for a value that one of these traits can't read; other traits aren't looked at."""
    traits = cls.class_traits()
    for name, value in values.items():
        if isinstance(trait := traits.get(name), Written | GpusOnNode):
            trait.validate(None, value)


def plain(value: Value) -> str:
    """A number's text, without a decimal point where possible; yes is 1 and no is 0."""
    return value if isinstance(value, str) else str(int(value) if int(value) == value else value)
