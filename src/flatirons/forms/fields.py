"""The kinds of fields: how each reads a typed value from a text, and writes it back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from flatirons import units
from flatirons.errors import LONGEST_TEXT, Refusal, quoted
from flatirons.forms.field import NOTHING_TO_CHOOSE, Field, NotOffered
from flatirons.forms.values import Rules, Value

SLURM_NAME = r"[A-Za-z0-9_.,:+@=][A-Za-z0-9_.,:+@=-]*"
LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Text(Field):
    """A line of text of at most `longest` characters that matches the whole `pattern`.

    The default pattern has the characters of Slurm's names; `pattern=""` accepts all printable ones. `says`
    is the message for other texts.
    """

    _: KW_ONLY
    pattern: str = SLURM_NAME
    says: str = "Use only letters, digits and _ . , : + @ = - (and no - first)."
    longest: int = 256

    def read(self, given: object) -> Value:
        text = as_text(given, self.longest)
        if self.pattern and re.fullmatch(self.pattern, text) is None:
            raise Refusal(self.says)
        return text


@dataclass(frozen=True, eq=False)
class Select(Text):
    """One of the choices, and nothing else."""

    _: KW_ONLY
    pattern: str = ""
    widget: ClassVar[str] = "select"

    def _hold(self, value: Value, rules: Rules) -> None:
        if not rules.choices:
            raise NotOffered(rules.if_none or NOTHING_TO_CHOOSE)
        super()._hold(value, rules)


@dataclass(frozen=True, eq=False)
class Radio(Select):
    """One of a few choices, each shown as a card with its description."""

    widget: ClassVar[str] = "radio"


@dataclass(frozen=True, eq=False)
class Hidden(Text):
    """A value that the page holds but doesn't show."""

    widget: ClassVar[str] = "hidden"
    input_type: ClassVar[str] = "hidden"


@dataclass(frozen=True, eq=False)
class Integer(Field):
    """A whole number; `unit` is shown after the input."""

    _: KW_ONLY
    unit: str = ""
    input_type: ClassVar[str] = "number"
    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int) and not isinstance(given, bool):
            return in_range(given)
        text = as_text(given, LONGEST_TEXT)
        if re.fullmatch(r"[+-]?[0-9]{1,20}", text) is None:
            raise Refusal(f"{quoted(text)} isn't a whole number.")
        return in_range(int(text))


@dataclass(frozen=True, eq=False)
class Number(Field):
    """A number, whole or with a decimal point."""

    _: KW_ONLY
    unit: str = ""
    input_type: ClassVar[str] = "number"
    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int | float) and not isinstance(given, bool):
            if isinstance(given, float) and not math.isfinite(given):
                raise Refusal("This isn't a number.")
            return float(in_range(given))
        text = as_text(given, LONGEST_TEXT)
        if re.fullmatch(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})", text) is None:
            raise Refusal(f"{quoted(text)} isn't a number.")
        return float(in_range(float(text)))

    def write(self, value: Value) -> str:
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)


@dataclass(frozen=True, eq=False)
class Duration(Field):
    """A time, in whole minutes; written as `2:00:00`, `90m`, `1-12:00:00`."""

    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int) and not isinstance(given, bool):
            return not_negative(given)
        return not_negative(units.minutes(as_text(given, 40)))

    def write(self, value: Value) -> str:
        return units.clock(int(value))

    def in_words(self, value: Value) -> str:
        return units.time_in_words(60 * int(value))


@dataclass(frozen=True, eq=False)
class Memory(Field):
    """An amount of memory, in MiB; written as `4G`, `500M`."""

    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int) and not isinstance(given, bool):
            return not_negative(given)
        return not_negative(units.mebibytes(as_text(given, 40)))

    def write(self, value: Value) -> str:
        return units.memory(int(value))

    def in_words(self, value: Value) -> str:
        return units.memory_in_words(int(value))


@dataclass(frozen=True, eq=False)
class Checkbox(Field):
    """Yes or no. A browser posts nothing for an empty box, which means no.

    With `on`, the value of a ticked box is this text, and an empty box gives None.
    """

    _: KW_ONLY
    on: str = ""
    widget: ClassVar[str] = "checkbox"
    words: ClassVar[Mapping[str, bool]] = {
        **dict.fromkeys(("on", "true", "yes", "1"), True),
        **dict.fromkeys(("off", "false", "no", "0"), False),
    }

    def read(self, given: object) -> Value:
        if isinstance(given, bool) and not self.on:
            return given
        word = as_text(given, LONGEST_TEXT)
        if self.on:
            if word != self.on:
                raise Refusal(f"{quoted(word)} isn't the value of this box, which is {quoted(self.on)}.")
            return word
        if word.lower() not in self.words:
            raise Refusal(f"{quoted(word)} is neither yes nor no.")
        return self.words[word.lower()]

    def write(self, value: Value) -> str:
        return str(value) if self.on else "on" if value else "off"

    def in_words(self, value: Value) -> str:
        return "yes" if value else "no"

    def unposted(self, default: Value | None) -> Value | None:
        return None if self.on else False


def as_text(given: object, longest: int) -> str:
    """The text without spaces around it; raises Refusal for anything but one printable line."""
    if not isinstance(given, str):
        raise Refusal("One line of text is expected here.")
    if len(given) > longest:
        raise Refusal(f"Too long: at most {longest} characters, not {len(given):,}.")
    if not given.isprintable():
        raise Refusal("It holds invisible characters, such as a line break. Please type it again.")
    return given.strip(" ")


def in_range(number: int | float) -> int | float:
    """The number; raises Refusal for one that is too large for Slurm."""
    if not -LARGEST <= number <= LARGEST:
        raise Refusal("This number is too large." if number > 0 else "This number is too small.")
    return number


def not_negative(number: int) -> int:
    """The number; raises Refusal for one that is negative or too large."""
    if number < 0:
        raise Refusal("This can't be negative.")
    return int(in_range(number))
