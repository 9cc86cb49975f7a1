"""A form: fields in order. What was posted, linked or sent as JSON goes in; typed options come out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from flatirons.errors import OptionsRefused
from flatirons.forms import page
from flatirons.forms.fields import Field
from flatirons.forms.values import Context, Refusal, Rules, Value, printable, quoted

WHOLE_FORM = "options"
"""The name under which `OptionsRefused.messages` holds what is wrong with the form as a whole."""

NOT_OPTIONS = {"_xsrf"}
"""JupyterHub's own: may be in a body, is no option."""

MOST_KEYS = 100
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the form with a heading; a folded one opens on a click, or when a message is inside."""

    name: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One field, the rules that hold for it, and what became of the value that was given."""

    field: Field
    rules: Rules
    given: object = None
    value: Value | None = None
    message: str = ""


class Form:
    """Fields, declared once: the same rules render, parse and check."""

    def __init__(self, fields: Sequence[Field], *, groups: Sequence[Group] = ()) -> None:
        self.fields = {field.name: field for field in fields}
        self.groups = tuple(groups) or (Group(""),)
        if len(self.fields) != len(fields):
            raise ValueError("two fields have the same name")
        names = {group.name for group in self.groups}
        for field in fields:
            if field.group not in names:
                raise ValueError(f"{field.name} stands in a group that isn't there: {field.group!r}")

    async def parse(
        self, posted: Mapping[str, object], context: Context, *, from_page: bool = True
    ) -> dict[str, Value | None]:
        """Typed options of lists of texts; raises OptionsRefused. A field left empty gives None.

        `from_page`: posted by the page that `render` made (a link's values are not).
        """
        given, messages = self.single(posted)
        return self._options(await self.answers(given, context, from_page=from_page), messages)

    async def check(self, options: Mapping[str, object], context: Context) -> dict[str, Value | None]:
        """Typed options of typed JSON or of texts: the gate. What `parse` gave passes it unchanged.

        An option that isn't there gets its default, a null none. Raises OptionsRefused.
        """
        known = {name: value for name, value in options.items() if name in self.fields}
        return self._options(await self.answers(known, context), self._strangers(options))

    async def initial(self, options: Mapping[str, object], context: Context) -> dict[str, Value | None]:
        """Typed options to begin with: of these the ones that can still be taken, defaults for the others."""
        known = {name: value for name, value in options.items() if name in self.fields}
        answers = await self.answers(known, context)
        return {a.field.name: a.rules.default if a.message else a.value for a in answers}

    def single(self, posted: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
        """The one value of each option from lists of values, and messages for all that isn't that."""
        given: dict[str, object] = {}
        messages = self._strangers(posted)
        for name, values in posted.items():
            if name not in self.fields:
                continue
            several = values if isinstance(values, list | tuple) else [values]
            if len(several) == 1:
                given[name] = several[0]
            elif several:
                given[name] = None
                messages[name] = f"Give one value, not {len(several):,}."
        return given, messages

    async def answers(
        self, given: Mapping[str, object], context: Context, *, from_page: bool = False
    ) -> list[Answer]:
        """What becomes of each field, in order; a rule sees the values of the fields before its own."""
        values: dict[str, Value | None] = dict(context.values)
        context = replace(context, values=values)
        answers = []
        for field in self.fields.values():
            rules = await field.rules(context)
            absent = field.unposted(rules.default) if from_page and not rules.is_fixed else rules.default
            answer = self._answer(field, rules, given.get(field.name, absent), context)
            values[field.name] = answer.value
            answers.append(answer)
        return answers

    async def render(
        self,
        given: Mapping[str, object],
        messages: Mapping[str, str],
        context: Context,
        *,
        notice: str = "",
        linked: Sequence[str] = (),
        from_page: bool = False,
    ) -> Markup:
        """The form as HTML, without the <form> and the button, holding these texts or typed values.

        `messages` stand beside their fields and in a summary on top; `notice` is news that is no error;
        `linked` are the names of the fields that a link filled in.
        """
        answers = await self.answers(given, context, from_page=from_page)
        parts = [
            page.Part(
                group.name,
                group.title,
                group.folded,
                [self._shown(a, messages, linked) for a in answers if a.field.group == group.name],
            )
            for group in self.groups
        ]
        shown = {a.field.name for a in answers if a.rules.visible and a.field.widget != "hidden"}
        return page.render(parts, self._summary(messages, shown), notice)

    def label(self, name: str) -> str:
        """What the page calls an option."""
        return (self.fields[name].label if name in self.fields else "") or name

    def _answer(self, field: Field, rules: Rules, given: object, context: Context) -> Answer:
        try:
            return Answer(field, rules, given, field.accept(given, rules, context))
        except Refusal as refusal:
            return Answer(field, rules, given, rules.default, str(refusal))

    def _options(self, answers: Sequence[Answer], messages: Mapping[str, str]) -> dict[str, Value | None]:
        refused = {a.field.name: a.message for a in answers if a.message} | dict(messages)
        if refused:
            raise OptionsRefused(refused)
        return {a.field.name: a.value for a in answers}

    def _strangers(self, options: Mapping[str, object]) -> dict[str, str]:
        strangers = [name for name in options if name not in self.fields and name not in NOT_OPTIONS]
        if len(options) > MOST_KEYS:
            return {WHOLE_FORM: f"Too many options were sent: {len(options):,}."}
        messages = {printable(name, 40): self._no_such_option(name) for name in strangers[:MOST_NAMED]}
        if len(strangers) > MOST_NAMED:
            messages[WHOLE_FORM] = f"{len(strangers) - MOST_NAMED} more options are not known here."
        return messages

    def _no_such_option(self, name: str) -> str:
        close = difflib.get_close_matches(name[:40], self.fields, 1)
        return f"There is no option {quoted(name)}." + (f" Did you mean {quoted(close[0])}?" if close else "")

    def _shown(self, answer: Answer, messages: Mapping[str, str], linked: Sequence[str]) -> page.Shown:
        name = answer.field.name
        return page.Shown.of(answer.field, answer.rules, answer.given, messages.get(name, ""), name in linked)

    def _summary(self, messages: Mapping[str, str], shown: set[str]) -> list[page.Problem]:
        places = [group.name for group in self.groups]
        fields = sorted(self.fields.values(), key=lambda field: places.index(field.group))
        ordered = [field.name for field in fields if field.name in messages]
        ordered += [name for name in messages if name not in self.fields]
        return [self._problem(name, messages[name], name in shown) for name in ordered]

    def _problem(self, name: str, message: str, has_input: bool) -> page.Problem:
        label = "" if name == WHOLE_FORM else printable(self.label(name), 40)
        return page.Problem(name if has_input else "", label, printable(message))
