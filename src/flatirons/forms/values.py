"""What fields consist of: choices, settings and resolved rules, and the context that rules look at."""

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
    """What rules can look at: the user's name, the facts of the site, and the values of earlier fields."""

    values: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""
    facts: Any = None


Setting: TypeAlias = T | Callable[..., T | Awaitable[T]]
"""A value, or a function (sync or async) that returns it.

The parameters of a function name what it looks at: other fields (it gets their typed values, or None),
`user`, `facts`.
"""

ABOUT_THE_REQUEST = ("user", "facts")
"""Parameters of a setting's function that aren't fields."""


def parameters(function: Callable[..., object]) -> tuple[str, ...]:
    """The names of what a setting's function looks at; raises ValueError for *args and the like."""
    found = inspect.signature(function).parameters.values()
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY) for each in found):
        raise ValueError("a setting's function must name each thing that it looks at")
    return tuple(each.name for each in found if each.default is each.empty)


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting's function with the names of its parameters, read once."""

    function: Callable[..., Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any] | Rule) -> Rule:
        """The rule of a function, or the rule itself. Raises ValueError as `parameters` does."""
        return function if isinstance(function, Rule) else cls(function, parameters(function))

    def __call__(self, **seen: object) -> Any:
        """The function's result for these arguments."""
        return self.function(**seen)

    async def resolve(self, context: Context, **more: object) -> Any:
        """The function's result in this context."""
        answer = self.function(**{name: self._seen(name, context, more) for name in self.names})
        return await answer if inspect.isawaitable(answer) else answer

    def _seen(self, name: str, context: Context, more: Mapping[str, object]) -> object:
        if name in more:
            return more[name]
        return getattr(context, name) if name in ABOUT_THE_REQUEST else context.values[name]


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of something is free, as a field shows it. Without a total it is only a count."""

    label: str
    free: int
    total: int | None = None

    @property
    def percent(self) -> int:
        """The free part, 0 to 100."""
        return round(100 * self.free / self.total) if self.total else 0


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose; `group` is the heading above it."""

    value: str
    label: str = ""
    description: str = ""
    group: str = ""
    gauges: tuple[Gauge, ...] = ()

    @classmethod
    def of(cls, given: object) -> Choice:
        """A choice from a choice, a value, a (value, label) pair, or a mapping with this class's names."""
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
    """Choices that are offered many times. `kept` caches what is derived from them."""

    @functools.cached_property
    def kept(self) -> dict[str, Any]:
        """Cached results, by name."""
        return {}


@dataclass(frozen=True, slots=True)
class Rules:
    """A field's settings, resolved for one user at one moment. With choices None, the field accepts what it
    can read; with no choices, `()`, it accepts nothing."""

    choices: tuple[Choice, ...] | None = None
    minimum: Value | None = None
    maximum: Value | None = None
    default: Value | None = None
    visible: bool = True
    applies: bool = True
    required: bool = False
    locked: bool = False
    help: str = ""
    nothing: str = ""
    if_none: str = ""
    gauges: tuple[Gauge, ...] = ()
    flag: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether the field accepts only its default."""
        return self.locked or not self.visible

    @property
    def has_alternatives(self) -> bool:
        """Whether the user may give the field one value or another."""
        return not self.is_fixed and (self.choices is None or len(self.choices) > 1)
