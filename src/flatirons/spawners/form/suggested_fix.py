"""The fix for a server's end, limited to what the form accepts: a link with refused options helps nobody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from jupyterhub.spawner import Spawner

from flatirons.errors import Refusal
from flatirons.forms import Context, Form
from flatirons.forms.form import Answer
from flatirons.servers.causes import Cause
from flatirons.servers.option_words import in_a_row, phrase
from flatirons.spawners.form.hooks import FormHooks

HELPS = {"out_of_memory": "memory", "time_limit": "runtime"}
"""The option of which the server needed more, by the kind of cause."""

NOT_COUNTED = (
    "Slurm doesn't allocate memory here: the job shares that of its node with other jobs. Ask for more cores "
    "or for a whole node, so that fewer jobs share it."
)
NO_MORE = "The other choices allow no more than this. Another partition or QOS may offer more."


async def with_suggested_fix(cause: Cause, spawner: Spawner) -> Cause:
    """The cause with a fix that the spawner's form accepts; unchanged without such a form."""
    hooks = FormHooks.of(spawner)
    if hooks is None or cause.kind not in HELPS:
        return cause
    context = await hooks.context(spawner)
    return await bounded(cause, hooks.form(spawner), FormHooks.texts(spawner), context)


def in_words(fix: Mapping[str, str], spawner: Spawner) -> str:
    """What these options change, with the labels of the spawner's form: `2 hours and 16 GB of memory`."""
    hooks = FormHooks.of(spawner)
    fields = hooks.form(spawner).fields if hooks else {}
    environments = getattr(spawner, "environments", {})
    titles = {name: str(each.get("title") or name) for name, each in environments.items()}
    return in_a_row(
        [
            phrase(name, text, fields.get(name), titles.get(text, "") if name == "environment" else "")
            for name, text in fix.items()
        ]
    )


async def bounded(cause: Cause, form: Form, chosen: Mapping[str, str], context: Context) -> Cause:
    """The cause with a fix that the form accepts with the other choices: twice as much, or the maximum.

    `cause.fix` has twice what the job had, where Slurm knows it; otherwise the chosen value counts. Where the
    form offers no more, the advice says so.
    """
    name = HELPS.get(cause.kind, "")
    if name not in form.fields:
        return replace(cause, fix={})
    answers = {each.field.name: each for each in await form.answers(chosen, context)}
    if not answers[name].rules.applies:
        return replace(cause, fix={}, advice=NOT_COUNTED)
    doubled = cause.fix.get(name)
    for other in form.fields[name].excludes:
        if other in answers and answers[other].value is not None:
            name, doubled = other, None  # the user chose this in its place: the form wouldn't take both
    had = _had(answers[name], doubled)
    if not had:
        return replace(cause, fix={})
    more = _more(answers[name], had)
    if more is None:
        return replace(cause, fix={}, advice=NO_MORE)
    return replace(cause, fix={name: answers[name].field.write(more)})


def _had(answer: Answer, doubled: str | None) -> int:
    """How much the job had, in the field's unit; 0 if it isn't known."""
    if doubled is not None:
        return int(answer.field.read(doubled)) // 2
    if answer.value is not None:
        return int(answer.value)
    try:  # what an empty input means
        return int(answer.field.read(answer.rules.nothing))
    except Refusal:
        return 0


def _more(answer: Answer, had: int) -> int | None:
    """Twice as much, or the nearest value that the rules allow; None where they allow no more."""
    field, rules = answer.field, answer.rules
    if rules.is_fixed:
        return None
    most = math.inf if rules.maximum is None else int(rules.maximum)
    if rules.choices is None:
        return int(min(2 * had, most)) if most > had else None
    offered = (value for each in rules.choices if isinstance(value := field.value_of(each.value), int))
    possible = [value for value in offered if had < value <= most]
    return min(possible, key=lambda value: abs(value - 2 * had), default=None)
