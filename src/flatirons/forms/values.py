"""What fields are made of: choices, the context that rules may depend on, and the sentence of a refusal."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

Value: TypeAlias = str | int | float | bool
T = TypeVar("T")

LONGEST_TEXT = 1000
"""No option's text is longer, whatever its field says: longer ones are refused before anything reads them."""


class Refusal(ValueError):
    """One sentence, safe to show, that says why a value can't be taken and what would be."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may look at: the values of the fields before its own, who asks, and the site's facts."""

    values: Mapping[str, Value | None] = field(default_factory=dict)
    user: str = ""
    facts: Any = None


Setting: TypeAlias = T | Callable[[Context], T | Awaitable[T]]
"""A value, or a function (sync or async) of the context that gives it."""


async def resolved(setting: Setting[T], context: Context) -> T:
    """The setting's value in this context."""
    if not callable(setting):
        return setting
    answer = setting(context)
    return await answer if inspect.isawaitable(answer) else answer


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose; `group` is the heading that it stands under."""

    value: str
    label: str = ""
    description: str = ""
    group: str = ""

    @classmethod
    def of(cls, given: object) -> Choice:
        """A choice from a choice, a value, a (value, label) pair or a mapping of this class's names."""
        match given:
            case Choice():
                return given
            case str() | int() | float():
                return cls(str(given))
            case [value, label]:
                return cls(str(value), str(label))
            case Mapping() if "value" in given and set(given) <= set(cls.__slots__):
                return cls(**{str(key): str(text) for key, text in given.items()})
        raise ValueError(f"not a choice: {given!r}")


@dataclass(frozen=True, slots=True)
class Rules:
    """A field's settings, resolved: what holds for one user at one moment."""

    choices: tuple[Choice, ...] = ()
    minimum: Value | None = None
    maximum: Value | None = None
    default: Value | None = None
    visible: bool = True
    required: bool = False
    locked: bool = False
    help: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether only the default can be taken."""
        return self.locked or not self.visible


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without anything that can't be seen (controls, direction marks, lone surrogates), cut."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


def quoted(text: str) -> str:
    """The text in quotes, short and printable, for a message."""
    return f'"{printable(text, 40)}"'
