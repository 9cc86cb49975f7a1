"""Options as people say them in a sentence: `2 hours`, `16 GB of memory`, `partition shas`; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flatirons import units
from flatirons.errors import Refusal, printable
from flatirons.forms import Checkbox, Choice, Field


def _memory(text: str) -> str:
    return f"{units.memory_in_words(units.mebibytes(text))} of memory"


def _gpus(text: str) -> str:
    kind, _, count = text.rpartition(":")
    return "no GPU" if int(count) == 0 else units.counted(int(count), f"{kind} GPU".strip())


_PHRASES: Mapping[str, Callable[[str], str]] = {
    "memory": _memory,
    "mem_per_cpu": lambda text: f"{_memory(text)} for each core",
    "runtime": lambda text: units.time_in_words(60 * units.minutes(text)),
    "cpus": lambda text: units.counted(int(text), "core"),
    "gpus": _gpus,
    "nodes": lambda text: units.counted(int(text), "node"),
    "ntasks": lambda text: units.counted(int(text), "task"),
}
"""What the typed value of an option of the standard form means, by the option's name."""


def phrase(name: str, text: str, field: Field | None = None, title: str = "") -> str:
    """The typed value of an option in words, with the label of its form's `field`, and never only a number.

    `title` is what users see of a value that is a name, such as an environment's.
    """
    if name in _PHRASES:
        try:
            return _PHRASES[name](text)
        except (Refusal, ValueError):  # a site may have declared this field in another way
            pass
    label = _within_a_sentence((field.label if field else "") or name.replace("_", " "))
    if isinstance(field, Checkbox) and not field.on:
        return label if text == "on" else f"no {label}"
    return f"{label} {title or printable(_shown(field, text))}"


def in_a_row(phrases: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = phrases or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _within_a_sentence(label: str) -> str:
    """The label with a small first letter, except in front of another capital: `QOS` and `GPUs` stay."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def _shown(field: Field | None, text: str) -> str:
    """What the form shows for this value."""
    if field is None:
        return text
    if field.choices is not None and not callable(field.choices):
        choices = [Choice.of(each) for each in field.choices]
        return next((each.label or each.value for each in choices if each.value == text), text)
    try:
        return field.in_words(field.read(text))
    except Refusal:
        return text
