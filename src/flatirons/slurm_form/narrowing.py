"""Combines a site's settings of a field with the field's own rules, which a site can only narrow.

Where a rule is a function, the result is a function of the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flatirons.errors import Refusal
from flatirons.forms import Choice, Field
from flatirons.forms.field import is_empty, less
from flatirons.forms.values import Rule, Value


def narrowed(offer: Sequence[Choice], named: Sequence[object] | None) -> list[Choice]:
    """The choices of the offer that the site names, in the site's order and with its labels."""
    if named is None:
        return list(offer)
    there = {choice.value: choice for choice in offer}
    picked = ((there.get(choice.value), choice.label) for choice in map(Choice.of, named))
    return [replace(known, label=label or known.label) for known, label in picked if known]


def with_settings(field: Field, given: Mapping[str, Any]) -> Field:
    """The field with the site's settings, which must be free of mistakes."""
    changed = dict(given)
    if changed.get("visible", True):
        changed.pop("visible", None)
    if not given.get("required"):
        changed.pop("required", None)
    for key, merge in _MERGED.items():
        if key in given:
            changed[key] = merge(field, given)
    if isinstance(field.choices, Rule) or callable(field.choices):
        changed["choices"] = _within(field, given, changed.get("choices", field.choices))
    return replace(field, **changed)


def _choices(field: Field, given: Mapping[str, Any]) -> Any:
    named = [Choice.of(each) for each in given["choices"]]
    if not callable(field.choices):
        return named if field.choices is None else list(_meant(field, _own_choices(field), named))
    rule = Rule.of(field.choices)

    def choices(**seen: object) -> Sequence[Choice]:
        there = rule.function(**seen)
        return named if there is None else list(_meant(field, there, named))

    return Rule(choices, rule.names)


def _own_choices(field: Field) -> list[Choice]:
    """The choices with which a field was declared; [] where there are none, or where a rule gives them."""
    return [] if callable(field.choices) else [Choice.of(each) for each in field.choices or ()]


def _meant(field: Field, there: Sequence[Choice], named: Sequence[Choice]) -> Iterator[Choice]:
    """The offered choices that the site's choices mean, in the site's order and with its labels."""
    by_value = {field.value_of(choice.value): choice for choice in there}
    for each in named:
        value = field.chosen(each.value, there)
        if value is not None:
            yield replace(by_value[value], label=each.label or by_value[value].label)


def _default(field: Field, given: Mapping[str, Any]) -> Any:
    """The site's default where Slurm offers it, else the field's own. A fixed default is never replaced."""
    wanted, is_fixed = given["default"], given.get("locked") or not given.get("visible", True)
    if is_fixed or not callable(field.choices) or not callable(field.default):
        return wanted
    offer, own = Rule.of(field.choices), Rule.of(field.default)

    def default(**seen: object) -> Any:
        there = offer.function(**{name: seen[name] for name in offer.names})
        if there is None or field.chosen(wanted, there) is not None:
            return wanted
        return own.function(**{name: seen[name] for name in own.names})

    return Rule(default, tuple(dict.fromkeys([*offer.names, *own.names])))


def _bound(key: str, is_tighter: Callable[[Value, Value], bool]) -> Callable[[Field, Mapping[str, Any]], Any]:
    """The site's bound or Slurm's, whichever is tighter."""

    def merged(field: Field, given: Mapping[str, Any]) -> Any:
        limit, own = field.read(given[key]), getattr(field, key)
        if not callable(own):
            return limit if own is None or is_tighter(limit, own) else own
        rule = Rule.of(own)

        def bound(**seen: object) -> Value:
            there: Value | None = rule.function(**seen)
            return limit if there is None or is_tighter(limit, there) else there

        return Rule(bound, rule.names)

    return merged


_MERGED: Mapping[str, Callable[[Field, Mapping[str, Any]], Any]] = {
    "choices": _choices,
    "default": _default,
    "minimum": _bound("minimum", lambda one, other: less(other, one)),
    "maximum": _bound("maximum", less),
}


def _within(field: Field, given: Mapping[str, Any], choices: Any) -> Any:
    """The choices within the site's bounds."""
    low, high = (
        (field.measure(field.read(given[key])) if key in given else None) for key in ("minimum", "maximum")
    )
    if low is None and high is None:
        return choices
    rule = choices if isinstance(choices, Rule) else Rule.of(choices)

    def is_within(choice: Choice) -> bool:
        size = field.measure(field.value_of(choice.value))
        return not ((low is not None and less(size, low)) or (high is not None and less(high, size)))

    def within(**seen: object) -> list[Choice] | None:
        there = rule.function(**seen)
        return None if there is None else list(filter(is_within, there))

    return Rule(within, rule.names)


def mistakes(field: Field, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a site that the field can't read: each key with a sentence."""
    found: list[tuple[str, str]] = []
    typed: dict[str, list[Value]] = {}
    listed = [("choices", Choice.of(each).value) for each in given.get("choices") or ()]
    bounds = [(key, given[key]) for key in ("minimum", "maximum", "default") if not is_empty(given.get(key))]
    for key, value in [*bounds, *listed]:
        try:
            typed.setdefault(key, []).append(field.read(value))
        except Refusal as refusal:
            found.append((key, str(refusal)))
    own = _own_choices(field)
    found += [
        (key, f"{value!r} isn't one of this field's choices")
        for key, value in listed
        if own and field.chosen(value, own) is None
    ]
    if listed and not set(typed.get("default", ())) <= set(typed.get("choices", ())):
        found.append(("default", f"{given['default']!r} isn't one of the choices"))
    return found
