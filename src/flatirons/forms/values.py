"""What fields are made of: choices, and the context that rules may depend on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

Value: TypeAlias = str | int | float | bool
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """Who fills the form in, the site's facts as rules may look at them, and the values known so far."""

    values: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""
    facts: Any = None


Setting: TypeAlias = T | Callable[..., T | Awaitable[T]]
"""A value, or a function (sync or async) that gives it.

A function names what it looks at by its parameters: other fields, whose typed values (or None) it is given;
`user`; `facts`.
"""

ABOUT_THE_REQUEST = ("user", "facts")
"""Parameters of a setting's function that aren't fields."""


def parameters(function: Callable[..., object]) -> tuple[str, ...]:
    """What a setting's function looks at, by name; raises ValueError for one that doesn't tell."""
    found = inspect.signature(function).parameters.values()
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY) for each in found):
        raise ValueError("a setting's function names each thing that it looks at")
    return tuple(each.name for each in found if each.default is each.empty)


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting's function with the names of what it looks at, read once."""

    function: Callable[..., Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any] | Rule) -> Rule:
        """The rule, which may be one already; raises ValueError as `parameters` does."""
        return function if isinstance(function, Rule) else cls(function, parameters(function))

    def __call__(self, **seen: object) -> Any:
        """What the function gives for these."""
        return self.function(**seen)

    async def resolve(self, context: Context, **more: object) -> Any:
        """What the function gives in this context."""
        answer = self.function(**{name: self._seen(name, context, more) for name in self.names})
        return await answer if inspect.isawaitable(answer) else answer

    def _seen(self, name: str, context: Context, more: Mapping[str, object]) -> object:
        if name in more:
            return more[name]
        return getattr(context, name) if name in ABOUT_THE_REQUEST else context.values[name]


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of something is free, as shown beside a field; without a total a bare count."""

    label: str
    free: int
    total: int | None = None

    @property
    def percent(self) -> int:
        """The free part, 0 to 100."""
        return round(100 * self.free / self.total) if self.total else 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose; `group` is the heading that it stands under."""

    value: str
    label: str = ""
    description: str = ""
    group: str = ""
    gauges: tuple[Gauge, ...] = ()

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
                value, label, description, group = (
                    str(given.get(key, "")) for key in ("value", "label", "description", "group")
                )
                return cls(value, label, description, group, tuple(given.get("gauges", ())))
        raise ValueError(f"not a choice: {given!r}")


class Listed(tuple[Choice, ...]):
    """Choices that are offered again and again: what is worked out of them may be kept in `kept`."""

    @functools.cached_property
    def kept(self) -> dict[str, Any]:
        """By whatever name."""
        return {}


@dataclass(frozen=True, slots=True)
class Rules:
    """A field's settings, resolved: what holds for one user at one moment. Without choices (None) anything
    goes that the field can read; of no choices, `()`, nothing does."""

    choices: tuple[Choice, ...] | None = None
    minimum: Value | None = None
    maximum: Value | None = None
    default: Value | None = None
    visible: bool = True
    required: bool = False
    locked: bool = False
    help: str = ""
    nothing: str = ""
    if_none: str = ""
    gauges: tuple[Gauge, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether only the default can be taken."""
        return self.locked or not self.visible
