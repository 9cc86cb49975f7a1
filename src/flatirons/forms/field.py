"""The base class of all fields: their settings, and how these decide whether a value is accepted.

Every setting in `Field` of the type `Setting` is a value, or a function of what its parameters name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

from flatirons.errors import LONGEST_TEXT, Refusal, printable, quoted
from flatirons.forms.values import (
    ABOUT_THE_REQUEST,
    Choice,
    Context,
    Gauge,
    Listed,
    Rule,
    Rules,
    Setting,
    Value,
)

Choices: TypeAlias = Sequence[object]
"""Anything that `Choice.of` accepts."""

RESERVED = {"options", "user_options", "display_name", "next", "value", *ABOUT_THE_REQUEST}
"""Names with another meaning: the form as a whole, JupyterHub's names, and what a function can look at."""

SETTINGS = (
    *("choices", "minimum", "maximum", "default", "visible", "required", "locked"),
    *("help", "nothing", "if_none", "gauges", "flag"),
)
"""The settings that may be functions."""

NOT_APPLICABLE = Rules(visible=False, applies=False)

NOTHING_TO_CHOOSE = "There is nothing to choose from."


class Missing(Refusal):
    """A required field was left empty."""


class NotOffered(Refusal):
    """The value isn't one of the choices, or can't be chosen at all."""


@dataclass(frozen=True, eq=False)
class Field:
    """One option.

    Where it has no meaning with the other choices (`applies` is False), the field isn't shown and has no
    value, and what is given for it is left out.

    `flag` is shown in small letters next to the label. `nothing` says what an empty input means, `gauges` how
    much is free, `if_none` why there is nothing to choose from. `group` is the part of the form with the
    field. `attrs` are HTML attributes of the input. `must` is the last rule, a function of `value` and of
    other parameters. It returns a sentence for a value that is refused. `excludes` names the fields to which
    this field is an alternative, each with the sentence for when both are given. When one of them is given,
    this field has no default and isn't required; when only this field is given, they have no default. `trait`
    is the spawner's trait that gets the value: "" for the one with the option's name, None for no trait.
    """

    name: str
    label: str = ""
    _: KW_ONLY
    help: Setting[str] = ""
    default: Setting[Value | None] = None
    choices: Setting[Choices | None] = None
    minimum: Setting[Value | None] = None
    maximum: Setting[Value | None] = None
    visible: Setting[bool] = True
    applies: Setting[bool] = True
    required: Setting[bool] = False
    locked: Setting[bool] = False
    nothing: Setting[str] = ""
    if_none: Setting[str] = ""
    gauges: Setting[Sequence[Gauge]] = ()
    must: Callable[..., str | None] | None = None
    excludes: Mapping[str, str] = field(default_factory=dict)
    trait: str | None = ""
    flag: Setting[str] = ""
    group: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)
    _functions: Mapping[str, Rule] = field(init=False, repr=False, default_factory=dict)

    widget: ClassVar[str] = "text"
    input_type: ClassVar[str] = "text"
    short: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (self.name.isascii() and self.name.isidentifier()) or self.name.startswith("_"):
            raise ValueError(f"an option's name must be an identifier without a leading _: {self.name!r}")
        if self.name in RESERVED:
            raise ValueError(f"{self.name!r} can't be an option's name: JupyterHub or the form uses it")
        if forbidden := {"id", "name"} & {key.lower() for key in self.attrs}:
            raise ValueError(f"{self.name}: the form itself sets {', '.join(sorted(forbidden))}")
        object.__setattr__(self, "_functions", self._read_functions())

    def _read_functions(self) -> dict[str, Rule]:
        given = {key: getattr(self, key) for key in (*SETTINGS, "applies", "must")}
        try:
            return {key: Rule.of(setting) for key, setting in given.items() if callable(setting)}
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    @property
    def looks_at(self) -> Mapping[str, frozenset[str]]:
        """The fields that the function of each setting looks at."""
        known = {*ABOUT_THE_REQUEST, "value"}
        seen = {key: frozenset(rule.names) - known for key, rule in self._functions.items()}
        return {**seen, "excludes": frozenset(self.excludes)} if self.excludes else seen

    def read(self, given: object) -> Value:
        """The typed value of a text, or of a value from JSON; raises Refusal."""
        raise NotImplementedError

    def write(self, value: Value) -> str:
        """The text that `read` turns into this value."""
        return str(value)

    def in_words(self, value: Value) -> str:
        """The value as people say it, for a text that nothing reads again."""
        return self.write(value)

    def measure(self, value: Value) -> Value:
        """The number that is compared with minimum and maximum."""
        return value

    def own_html(self) -> str | None:
        """HTML with this field's input that takes the place of the page's own; None for that."""
        return None

    def unposted(self, default: Value | None) -> Value | None:
        """The value when a page showed this field and posts nothing for it."""
        return default

    async def rules(self, context: Context) -> Rules:
        """This field's settings in this context."""
        if self._constant_rules is not None:
            return self._constant_rules
        applies = self._functions.get("applies")
        if not (await applies.resolve(context) if applies else self.applies):
            return NOT_APPLICABLE
        found = dict(self._constants)
        for key, rule in self._functions.items():
            if key not in ("must", "applies"):
                found[key] = self._normalized(key, await rule.resolve(context))
        found["default"] = self._typed(found["default"], found["choices"])
        rules = Rules(**found)
        if self.excludes and not rules.is_fixed and self._excluded_by(context):
            return replace(rules, default=None, required=False, nothing="")
        return self._with_possible_default(rules)

    @functools.cached_property
    def _constants(self) -> Mapping[str, Any]:
        """The settings that aren't functions. The default isn't converted: the choices may decide that."""
        given = {key: getattr(self, key) for key in SETTINGS if key not in self._functions}
        return {key: self._normalized(key, value) for key, value in given.items()}

    @functools.cached_property
    def _constant_rules(self) -> Rules | None:
        """The settings where no setting depends on anything; None where one does."""
        if self.visible is False and is_empty(self.default):  # the field has no value: nothing else counts
            return Rules(visible=False)
        if self.excludes or self.applies is not True or self._functions.keys() - {"must"}:
            return None
        constants = self._constants
        default = self._typed(constants["default"], constants["choices"])
        return self._with_possible_default(Rules(**{**constants, "default": default}))

    def _normalized(self, key: str, setting: Any) -> Any:
        if key == "choices" and setting is not None and not isinstance(setting, Listed):
            return tuple(map(Choice.of, setting))
        if key in ("minimum", "maximum"):
            return self._typed(setting, None)
        return tuple(setting) if key == "gauges" else setting

    def _with_possible_default(self, rules: Rules) -> Rules:
        return rules if rules.is_fixed else replace(rules, default=self._possible(rules))

    async def accept(self, given: object, rules: Rules, context: Context) -> Value | None:
        """The typed value, None when nothing was given; raises Refusal for what the rules don't allow."""
        if not rules.applies:
            return None
        value = None if is_empty(given) else self._read_choice(given, rules)
        is_fixed = rules.is_fixed
        if self.excludes and (rules.default if is_fixed else value) is not None:
            self._refuse_beside(context)
        if is_fixed:
            return self._fixed(value, rules)
        if value is None:
            if rules.required:
                raise self._missing(rules)
            return None
        self._hold(value, rules)
        if self.must and (sentence := await self._functions["must"].resolve(context, value=value)):
            raise Refusal(sentence)
        return value

    def chosen(self, given: object, choices: Sequence[Choice]) -> Value | None:
        """The value of the choice that is meant; None if there is none.

        A choice can be given by its exact text, even where the field wouldn't accept such a text.
        """
        if isinstance(given, str) and any(choice.value == given for choice in choices):
            return self.value_of(given)
        try:
            value = self.read(given)
        except Refusal:
            return None
        return value if any(self.value_of(choice.value) == value for choice in choices) else None

    def value_of(self, text: str) -> Value:
        """The typed value of a choice's text, or the text itself where the field can't read it."""
        try:
            return self.read(text)
        except Refusal:
            return text

    def _excluded_by(self, context: Context) -> str:
        """The sentence for a field that this one excludes and that has a value; "" while none has."""
        given = (text for name, text in self.excludes.items() if context.values.get(name) is not None)
        return next(given, "")

    def _refuse_beside(self, context: Context) -> None:
        if sentence := self._excluded_by(context):
            raise Refusal(sentence)

    def _read_choice(self, given: object, rules: Rules) -> Value:
        value = None if rules.choices is None else self.chosen(given, rules.choices)
        if value is not None:
            return value
        try:
            return self.read(given)
        except Refusal:
            if rules.choices is not None and isinstance(given, str):
                raise self._not_offered(given, rules) from None
            raise

    def _typed(self, setting: Value | None, choices: Sequence[Choice] | None) -> Value | None:
        if is_empty(setting):
            return None
        value = None if choices is None else self.chosen(setting, choices)
        return self.read(setting) if value is None else value

    def _missing(self, rules: Rules) -> Missing:
        if rules.choices == ():
            return Missing(rules.if_none or NOTHING_TO_CHOOSE)
        return Missing("This is needed." if rules.choices is None else "Choose one.")

    def _possible(self, rules: Rules) -> Value | None:
        """The default, or the nearest value that the rules allow."""
        default = rules.default
        if rules.choices is not None and (default is None or not self._is_offered(default, rules)):
            first = rules.required and default is not None and rules.choices
            return self.value_of(rules.choices[0].value) if first else None
        for bound, is_beyond in ((rules.minimum, less), (rules.maximum, _more)):
            if default is None or bound is None:
                continue
            if is_beyond(self.measure(default), self.measure(bound)):
                default = bound
        return default

    def _fixed(self, value: Value | None, rules: Rules) -> Value | None:
        if value is None or value == rules.default:
            self._hold_fixed(rules)
            return rules.default
        if rules.visible and rules.default is not None:
            raise NotOffered(f"This is fixed to {quoted(self.write(rules.default))} here.")
        raise NotOffered("This can't be chosen here.")

    def _hold_fixed(self, rules: Rules) -> None:
        """Raises Refusal for a default that the site fixed and this user can't have."""
        if rules.default is None:
            return
        try:
            self._hold(rules.default, rules)
        except Refusal as refusal:
            fixed = quoted(self.write(rules.default))
            raise Refusal(f"This is fixed to {fixed} here, which isn't possible: {refusal}") from None

    def _hold(self, value: Value, rules: Rules) -> None:
        if rules.choices is not None and not self._is_offered(value, rules):
            raise self._not_offered(self.write(value), rules)
        low, high = rules.minimum, rules.maximum
        too_low = low is not None and less(self.measure(value), self.measure(low))
        too_high = high is not None and less(self.measure(high), self.measure(value))
        if not (too_low or too_high):
            return
        if low is not None and high is not None and less(self.measure(high), self.measure(low)):
            raise Refusal("With what is chosen above, no value is possible here.")
        raise Refusal(f"Must be {self._bounds(low, high)}.")

    def _is_offered(self, value: Value, rules: Rules) -> bool:
        choices, text = rules.choices or (), self.write(value)
        return any(choice.value == text for choice in choices) or any(
            self.value_of(choice.value) == value for choice in choices
        )

    def _not_offered(self, text: str, rules: Rules) -> Refusal:
        choices = rules.choices or ()
        if not choices:
            return NotOffered(rules.if_none or NOTHING_TO_CHOOSE)
        offered = ", ".join(printable(choice.value, 40) for choice in choices[:8])
        others = "" if len(choices) <= 8 else f" and {len(choices) - 8} more"
        return NotOffered(f"{quoted(text)} isn't offered here. Choose from {offered}{others}.")

    def _bounds(self, low: Value | None, high: Value | None) -> str:
        if low is not None and high is not None:
            return f"between {self.write(low)} and {self.write(high)}"
        return f"at least {self.write(low)}" if low is not None else f"at most {self.write(high or 0)}"


def is_empty(given: object) -> bool:
    """Whether nothing was given: None or an empty line."""
    return given is None or (isinstance(given, str) and len(given) <= LONGEST_TEXT and not given.strip(" "))


def less(one: Value, other: Value) -> bool:
    """Whether one number is less than the other. Texts have no order: then False."""
    if isinstance(one, str) or isinstance(other, str):
        return False
    return one < other


def _more(one: Value, other: Value) -> bool:
    return less(other, one)
