"""A form: fields in order. It turns what was posted, linked or sent as JSON into typed options."""

from __future__ import annotations

import difflib
import graphlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from flatirons.errors import OptionsRefused, Refusal, printable, quoted
from flatirons.forms.field import (
    NOTHING_TO_CHOOSE,
    RESERVED,
    Field,
    Missing,
    NotOffered,
    is_empty,
)
from flatirons.forms.page import (
    NO_PAGE_SETTINGS,
    FieldView,
    FormHtml,
    GroupView,
    PageSettings,
    Problem,
    render_page,
)
from flatirons.forms.values import ABOUT_THE_REQUEST, Context, Rule, Rules, Value

WHOLE_FORM = "options"
"""The name under which `OptionsRefused.messages` holds what is wrong with the form as a whole."""

BOXES = "_boxes"
"""Name of the input that lists the checkboxes of a page: a box that isn't in the list wasn't on the page."""

FROM_LINK = "_linked"
"""Name of the input that holds the fields that a link filled in, with their values."""

XSRF = "_xsrf"

NOT_OPTIONS = {
    *(XSRF, BOXES, FROM_LINK),
    *("_preset", "_preset_name", "_save_preset", "_forget_preset"),
    *("_start", "_server_name", "_card"),
}
"""Names of JupyterHub and of the page that may be in a body and are no options."""

LINKED = "opt-"
"""The prefix that JupyterHub expects before an option's name in a link."""

MOST_KEYS = 100
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the form with a heading. A folded one opens on a click, or when it holds a message."""

    name: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A field, its rules at this moment, the value that was given, and the resulting typed value."""

    field: Field
    rules: Rules
    given: object = None
    value: Value | None = None
    message: str = ""
    note: str = ""


class Form:
    """Fields, declared once: the same rules render, parse and check.

    The page shows them in the order of their declaration. They are evaluated so that each field comes after
    those that it looks at. ValueError names a circle, and a field that doesn't exist.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        groups: Sequence[Group] = (),
        terms: Mapping[str, Callable[..., object]] | None = None,
    ) -> None:
        """`terms` are intermediate results by name: functions like those of settings, each called once in an
        evaluation. Other functions can look at them as at fields."""
        self.fields = {field.name: field for field in fields}
        self.groups = tuple(groups) or (Group(""),)
        if len(self.fields) != len(fields):
            raise ValueError("two fields have the same name")
        names = {group.name for group in self.groups}
        for field in fields:
            if field.group not in names:
                raise ValueError(f"{field.name} is in a group that doesn't exist: {field.group!r}")
        self.terms = dict(terms or {})
        self._terms = {name: Rule.of(function) for name, function in self.terms.items()}
        if twice := set(self._terms) & {*self.fields, *RESERVED}:
            raise ValueError(f"{min(twice)!r} can't be a term: the name is taken")
        self._order = _in_order(self.fields, self._terms)
        self._alternatives = {
            name: [other.name for other in fields if name in other.excludes] for name in self.fields
        }

    async def parse(
        self, posted: Mapping[str, object], context: Context, *, from_page: bool = True
    ) -> dict[str, Value | None]:
        """Typed options of lists of texts; raises OptionsRefused. A field left empty gives None.

        `from_page`: posted by the page that `render` made (a link's values are not).
        """
        given, messages = self.single(posted, from_page=from_page)
        return self._options(await self.answers(given, context, from_page=from_page), messages)

    async def check(self, options: Mapping[str, object], context: Context) -> dict[str, Value | None]:
        """Typed options of typed JSON or of texts: the last check. What `parse` returned passes it unchanged.

        A missing option gets its default; one that is null stays None. Raises OptionsRefused.
        """
        known = {name: value for name, value in options.items() if name in self.fields}
        return self._options(await self.answers(known, context), self._unknown_options(options))

    async def initial(self, options: Mapping[str, object], context: Context) -> dict[str, Value | None]:
        """Typed options to begin with: these where they are still accepted, else defaults. Never raises."""
        known = {name: value for name, value in options.items() if name in self.fields}
        answers = await self.answers(known, context)
        return {a.field.name: a.rules.default if a.message else a.value for a in answers}

    def single(
        self, posted: Mapping[str, object], *, from_page: bool = True
    ) -> tuple[dict[str, object], dict[str, str]]:
        """The value of each option from lists of values, and messages for lists without exactly one value."""
        given: dict[str, object] = {}
        messages = self._unknown_options(posted, NOT_OPTIONS if from_page else {XSRF})
        for name, values in posted.items():
            if name not in self.fields and not (from_page and name == BOXES):
                continue
            several = values if isinstance(values, list | tuple) else [values]
            if len(several) == 1:
                given[name] = several[0]
            elif several:
                given[name] = None
                messages[name] = f"Give one value, not {len(several):,}."
        return given, messages

    async def answers(
        self,
        given: Mapping[str, object],
        context: Context,
        *,
        from_page: bool = False,
        live: bool = False,
    ) -> list[Answer]:
        """An answer for each field, in the order of the declaration.

        `live`: the user is still choosing. A value that is no longer offered is replaced by the default, with
        a note.
        """
        values: dict[str, Any] = {}
        context = replace(context, values=values)
        answers = {}
        for name in self._order:
            if name in self._terms:
                values[name] = await self._terms[name].resolve(context)
                continue
            field = self.fields[name]
            rules = await field.rules(context)
            found = given[name] if name in given else self._unposted(field, rules, given, from_page)
            answer = await self._answer(field, rules, found, context)
            answers[name] = self._eased(answer) if live and answer.message else answer
            values[name] = answer.value
        return [answers[name] for name in self.fields]

    async def render(
        self,
        given: Mapping[str, object],
        messages: Mapping[str, str],
        context: Context,
        *,
        notice: str = "",
        linked: Sequence[str] = (),
        from_page: bool = False,
        live: bool = False,
        page: PageSettings = NO_PAGE_SETTINGS,
        card_in_use: Callable[[Sequence[Answer]], str] = lambda answers: "",
        whole: bool = True,
    ) -> FormHtml:
        """The form as HTML, without the <form> and the button, filled in with these texts or typed values.

        `messages` appear next to their fields and in a summary. `notice` is information, not an error.
        `linked` are the fields that a link filled in. With `live` (see `answers`) there is no summary,
        because it would move the page while the user edits it. `card_in_use` returns the key of the card
        whose options the answers are. Unless `whole`, the result is only what replaces the page's
        `#flatirons-form`.
        """
        answers = await self.answers(given, context, from_page=from_page, live=live)
        if live:
            messages = {**messages, **{a.field.name: a.message for a in answers if a.message}}
        page = replace(self._about(answers, messages, page), card=card_in_use(answers))
        problems = [] if live else self._summary(answers, messages)
        return render_page(self._groups(answers, messages, linked), problems, notice, page, whole=whole)

    def dead_end(self, answers: Sequence[Answer]) -> str:
        """Why this user can't send the form, whatever they choose; "" if they can, or if it isn't known.

        A field that must have a value has none to choose from, and no other field could give it one.
        """
        found = {answer.field.name: answer for answer in answers}
        for name in self._order:
            answer = found.get(name)
            if answer and answer.rules.required and answer.rules.choices == ():
                seen = (found[other] for other in self._seen_by(name) if other in found)
                if not any(other.rules.has_alternatives for other in seen):
                    return answer.rules.if_none or NOTHING_TO_CHOOSE
        return ""

    def _seen_by(self, name: str) -> set[str]:
        """The fields on which the choices of a field depend, also those that it sees through others."""
        seen: set[str] = set()
        ahead = {name}
        while ahead:
            each = ahead.pop()
            looks_at = set(self._terms[each].names) if each in self._terms else set()
            if each in self.fields:
                looks_at |= self.fields[each].looks_at.get("choices", frozenset())
            ahead |= looks_at - seen - set(ABOUT_THE_REQUEST)
            seen |= looks_at
        return seen - {name}

    def label(self, name: str) -> str:
        """The label of an option on the page."""
        return (self.fields[name].label if name in self.fields else "") or name

    def _unposted(self, field: Field, rules: Rules, given: Mapping[str, object], from_page: bool) -> object:
        """The value of a field for which none was given."""
        if any(not is_empty(given.get(other)) for other in self._alternatives[field.name]):
            return None
        boxes = _shown_boxes(given.get(BOXES))
        was_shown = from_page and not rules.is_fixed and (boxes is None or field.name in boxes)
        return field.unposted(rules.default) if was_shown else rules.default

    async def _answer(self, field: Field, rules: Rules, given: object, context: Context) -> Answer:
        try:
            return Answer(field, rules, given, await field.accept(given, rules, context))
        except Missing as refusal:
            return Answer(field, rules, given, rules.default, str(refusal))
        except NotOffered as refusal:
            return Answer(field, rules, given, rules.default, str(refusal), _gives_way(field, rules, given))
        except Refusal as refusal:
            return Answer(field, rules, given, rules.default, str(refusal))

    def _eased(self, answer: Answer) -> Answer:
        """The answer while its user is still choosing: no message for an empty field."""
        if answer.note:
            note = answer.note if answer.rules.visible else ""
            return replace(answer, given=answer.value, message="", note=note)
        return replace(answer, message="") if is_empty(answer.given) else answer

    def _about(
        self, answers: Sequence[Answer], messages: Mapping[str, str], page: PageSettings
    ) -> PageSettings:
        """The page's settings, with what the answers make of them."""
        if reason := self.dead_end(answers):
            cards = None if page.cards is None else ()
            return replace(page, dead_end=reason, cards=cards, can_save=False, link="", estimate="")
        if not page.link:
            return page
        query = self._query([a for a in answers if not a.message and a.field.name not in messages])
        wrong = [a for a in answers if a.field.name in messages or (a.message and not is_empty(a.given))]
        left_out = tuple(printable(self.label(answer.field.name), 40) for answer in wrong)
        return replace(page, link=f"{page.link}?{query}", left_out=left_out)

    def _query(self, answers: Sequence[Answer]) -> str:
        """The query of a link to these choices: the options that differ from the defaults."""
        return urlencode(
            {
                f"{LINKED}{a.field.name}": "" if a.value is None else a.field.write(a.value)
                for a in answers
                if not a.rules.is_fixed and a.value != a.rules.default
            }
        )

    def _options(self, answers: Sequence[Answer], messages: Mapping[str, str]) -> dict[str, Value | None]:
        refused = {a.field.name: a.message for a in answers if a.message} | dict(messages)
        if refused:
            raise OptionsRefused(refused)
        return {a.field.name: a.value for a in answers}

    def _unknown_options(self, options: Mapping[str, object], known: Collection[str] = ()) -> dict[str, str]:
        unknown = [name for name in options if name not in self.fields and name not in known]
        if len(options) > MOST_KEYS:
            return {WHOLE_FORM: f"Too many options were sent: {len(options):,}."}
        messages = {printable(name, 40): self._no_such_option(name) for name in unknown[:MOST_NAMED]}
        if len(unknown) > MOST_NAMED:
            messages[WHOLE_FORM] = f"{len(unknown) - MOST_NAMED} more options are not known here."
        return messages

    def _no_such_option(self, name: str) -> str:
        close = difflib.get_close_matches(name[:40], self.fields, 1)
        return f"There is no option {quoted(name)}." + (f" Did you mean {quoted(close[0])}?" if close else "")

    def _groups(
        self, answers: Sequence[Answer], messages: Mapping[str, str], linked: Sequence[str]
    ) -> list[GroupView]:
        """The groups with the fields that the page shows."""
        views: dict[str, list[FieldView]] = {group.name: [] for group in self.groups}
        for answer in answers:
            if answer.rules.visible:
                views[answer.field.group].append(self._view(answer, messages, linked))
        return [GroupView(group.name, group.title, group.folded, views[group.name]) for group in self.groups]

    def _view(self, answer: Answer, messages: Mapping[str, str], linked: Sequence[str]) -> FieldView:
        name = answer.field.name
        message = messages.get(name, "")
        is_choice = answer.rules.choices is not None and not (message or answer.message)
        given = answer.value if is_choice else answer.given  # a text stays as it is typed
        note = answer.note or (answer.rules.if_none if answer.rules.choices == () else "")
        return FieldView.of(answer.field, answer.rules, given, message, name in linked, note)

    def _summary(self, answers: Sequence[Answer], messages: Mapping[str, str]) -> list[Problem]:
        shown = {a.field.name for a in answers if a.rules.visible and a.field.widget != "hidden"}
        places = [group.name for group in self.groups]
        fields = sorted(self.fields.values(), key=lambda field: places.index(field.group))
        ordered = [field.name for field in fields if field.name in messages]
        ordered += [name for name in messages if name not in self.fields]
        return [self._problem(name, messages[name], name in shown) for name in ordered]

    def _problem(self, name: str, message: str, has_input: bool) -> Problem:
        label = "" if name == WHOLE_FORM else printable(self.label(name), 40)
        return Problem(name if has_input else "", label, printable(message))


def _in_order(fields: Mapping[str, Field], terms: Mapping[str, Rule]) -> list[str]:
    """The names of fields and terms, each after those that it looks at. Raises ValueError as Form does."""
    known = {*fields, *terms}
    graph: dict[str, set[str]] = {}
    for name, rule in terms.items():
        graph[name] = set(rule.names) - set(ABOUT_THE_REQUEST)
        _refuse_unknown(f"the term {name}", graph[name], known)
    for name, field in fields.items():
        for setting, seen in field.looks_at.items():
            _refuse_unknown(f"{name}: its {setting}", set(seen), known)
        graph[name] = set().union(*field.looks_at.values()) - (
            {name} if name in field.looks_at.get("must", ()) else set()
        )
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise ValueError(f"options look at each other in a circle: {cycle}") from None


def _refuse_unknown(who: str, seen: set[str], known: set[str]) -> None:
    if unknown := sorted(seen - known):
        close = difflib.get_close_matches(unknown[0], known, 1)
        meant = f" Did you mean {quoted(close[0])}?" if close else ""
        raise ValueError(f"{who} looks at {quoted(unknown[0])}, which is no field.{meant}")


def _shown_boxes(listed: object) -> frozenset[str] | None:
    return frozenset(listed.split(",")) if isinstance(listed, str) else None


def _gives_way(field: Field, rules: Rules, given: object) -> str:
    """A note that the default has replaced the value that was given; short, for it has one line of room."""
    was = printable(given, 40) if isinstance(given, str) else printable(str(given), 40)
    if rules.default is None:
        return f"{quoted(was)} isn't possible here."
    return f"Changed: {quoted(was)} isn't possible here."
