"""What the buttons above and below the form do: fill in a preset, save the choices, forget saved ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.errors import Refusal, quoted
from flatirons.forms import Context, Form
from flatirons.forms.field import is_empty
from flatirons.forms.form import Answer
from flatirons.forms.page import Card
from flatirons.spawners.form.presets import Presets

USE, FORGET, SAVE, NAME = "_preset", "_forget_preset", "_save_preset", "_preset_name"
"""Names of the buttons, and of the input next to the last."""

START, AGAIN = "_start_with", "again"
"""The name by which a page without the form says with which card to start, and the key of the options of the
last run with what would have helped."""

IN_USE = "_card"
"""Name of the input that keeps which card was pressed last: several cards may stand for the same options."""


@dataclass(frozen=True, slots=True)
class Click:
    """The button that was pressed, its value, and the name typed next to it; all empty for a mere change.

    `card` is the card that was pressed last, now or earlier.
    """

    button: str = ""
    value: str = ""
    name: str = ""
    card: str = ""

    @classmethod
    def of(cls, posted: Mapping[str, object]) -> Click:
        """The first button that was pressed, if any was."""
        texts = {key: str(values[0]) for key, values in posted.items() if isinstance(values, list) and values}
        button = next((key for key in (USE, FORGET, SAVE) if key in texts), "")
        value = texts.get(button, "")
        card = value if button == USE else texts.get(IN_USE, "")
        return cls(button, value, " ".join(texts.get(NAME, "").split()), card)


async def cards(
    presets: Presets, form: Form, user: str, last_options: Mapping[str, Any], context: Context
) -> list[Card]:
    """The cards of this user: the options of the last start, the site's presets that this user can have, the
    user's own, and the defaults."""
    found = [Card("last", "Same as last time")] if last_options else []
    for name, preset in presets.site.items():
        answers = await form.answers(preset.options, context)
        if not any(answer.message for answer in answers if answer.field.name in preset.options):
            found.append(Card(f"site:{name}", preset.title, preset.description))
    found += [Card(f"own:{name}", name, is_saved=True) for name in presets.saved(user)]
    return [*found, Card("defaults", "Defaults")] if found else []


def options_of_card(
    presets: Presets, user: str, last_options: Mapping[str, Any], given: Mapping[str, object], key: str
) -> dict[str, object]:
    """The options after a click on a card. A site's preset changes only what some site preset sets."""
    kind, _, name = key.partition(":")
    if kind == "site" and name in presets.site:
        others = {option: value for option, value in given.items() if option not in presets.option_names}
        return {**others, **presets.site[name].options}
    if kind == "own" and name in (saved := presets.saved(user)):
        return dict(saved[name].options)
    if kind == "last":
        return dict(last_options)
    return {} if kind == "defaults" else dict(given)


def card_to_start(posted: Mapping[str, object]) -> str | None:
    """The key of the card with which to start, None for a posted form."""
    values = posted.get(START)
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else None


def options_to_start(
    presets: Presets, user: str, last_options: Mapping[str, Any], key: str
) -> dict[str, object] | None:
    """The options of a card without a form; None for one that isn't there any more. The rest are defaults."""
    kind, _, name = key.partition(":")
    is_there = {
        "site": name in presets.site,
        "own": name in presets.saved(user),
        "last": bool(last_options),
        "defaults": True,
    }
    return options_of_card(presets, user, last_options, {}, key) if is_there.get(kind) else None


def card_in_use(
    presets: Presets, user: str, last_options: Mapping[str, Any], answers: Sequence[Answer], pressed: str = ""
) -> str:
    """The key of the card whose options are those of the answers, "" for none; of several, the pressed one.

    It reads values and evaluates no rule, so it costs little with each change of the form.
    """
    every = frozenset(answer.field.name for answer in answers)
    known: dict[str, tuple[Mapping[str, Any], frozenset[str]]] = {}
    if last_options:
        known["last"] = last_options, every
    known |= {f"site:{name}": (each.options, presets.option_names) for name, each in presets.site.items()}
    known |= {f"own:{name}": (each.options, every) for name, each in presets.saved(user).items()}
    known["defaults"] = {}, every
    ordered = [pressed, *known] if pressed in known else known
    return next((key for key in ordered if _are_in_use(*known[key], answers)), "")


def _are_in_use(options: Mapping[str, Any], names: frozenset[str], answers: Sequence[Answer]) -> bool:
    """Whether the answers have these options, and the defaults for what the options don't name."""
    return all(
        not answer.message and _is_meant(answer, options, answers)
        for answer in answers
        if answer.field.name in names and not answer.rules.is_fixed
    )


def _is_meant(answer: Answer, options: Mapping[str, Any], answers: Sequence[Answer]) -> bool:
    field, rules, given = answer.field, answer.rules, options.get(answer.field.name)
    if field.name not in options:
        others = (each for each in answers if field.name in each.field.excludes)
        return answer.value == (None if any(each.value is not None for each in others) else rules.default)
    if is_empty(given):
        return answer.value == (rules.default if rules.required else None)
    chosen = None if rules.choices is None else field.chosen(given, rules.choices)
    try:
        return answer.value == (field.read(given) if chosen is None else chosen)
    except Refusal:
        return False


async def save_or_forget(
    presets: Presets, form: Form, user: str, given: Mapping[str, object], context: Context, click: Click
) -> str:
    """Saves or forgets choices, if the click asks for that; returns a sentence on what was done, else ""."""
    if click.button == FORGET:
        name = click.value.removeprefix("own:")
        return presets.forget(user, name) or f"{quoted(name)} is forgotten."
    if click.button != SAVE:
        return ""
    answers = await form.answers(given, context, from_page=True)
    if wrong := [form.label(answer.field.name) for answer in answers if answer.message]:
        return f"Not saved: {', '.join(wrong)} can't be taken like this."
    options = {answer.field.name: answer.value for answer in answers if not answer.rules.is_fixed}
    return presets.save(user, click.name, options) or f"Saved as {quoted(click.name)}."
