"""Turns fields, rules and messages into HTML. The template engine escapes everything."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup, escape

from flatirons.errors import Refusal, printable
from flatirons.forms.field import Field, is_empty
from flatirons.forms.fields import Integer, Number
from flatirons.forms.values import Choice, Gauge, Listed, Rules

MOST_AT_A_GLANCE = 12
SHORT = 16
"""How many characters of a choice fit into half the width of a phone."""

ROOM = Path(__file__).parent
STATIC = ROOM / "static"


@dataclass(frozen=True, slots=True)
class Card:
    """Options that one click chooses: a preset of the site, the user's own, or those of the last start."""

    key: str
    title: str
    description: str = ""
    is_saved: bool = False


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page shows around the fields.

    `form`, `estimate`, `static` and `link` are URLs of the hub, "" for a part that the page doesn't have:
    `form` re-renders the form as it is posted, `estimate` says when such a job would start, `static` has the
    files of static/, and `link` is the page that a link to these choices opens. `age` is a sentence for the
    user when the facts are old. With `cards` None, the page keeps the cards that it shows. `card` is the key
    of the one whose options the form has. `left_out` are the labels of fields that the link leaves out
    because of mistakes. `dead_end` says why nothing can be started.
    """

    form: str = ""
    estimate: str = ""
    static: str = ""
    link: str = ""
    cards: Sequence[Card] | None = None
    card: str = ""
    can_save: bool = False
    age: str = ""
    left_out: tuple[str, ...] = ()
    dead_end: str = ""


NO_PAGE_SETTINGS = PageSettings()


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field as the page shows it."""

    field: Field
    rules: Rules
    text: str
    message: str
    is_linked: bool = False
    note: str = ""

    @classmethod
    def of(
        cls, field: Field, rules: Rules, given: object, message: str, is_linked: bool = False, note: str = ""
    ) -> FieldView:
        """The field with the text of what was given, readable or not."""
        return cls(field, rules, text_of(field, given), printable(message), is_linked, note)

    @property
    def label(self) -> str:
        return self.field.label or self.field.name

    @property
    def own_html(self) -> Markup | None:
        """The operator's own HTML for this field, which isn't escaped."""
        html = self.field.own_html()
        return None if html is None else Markup(html)

    @property
    def widget(self) -> str:
        return "select" if self._is_chosen and self.field.widget == "text" else self.field.widget

    @property
    def _is_chosen(self) -> bool:
        return self.rules.choices is not None

    @property
    def choices(self) -> tuple[Choice, ...]:
        return self.rules.choices or ()

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """The gauges of the field, and those of the chosen value."""
        chosen = self.chosen
        return self.rules.gauges + next((c.gauges for c in self.choices if c.value == chosen), ())

    @property
    def gauge_rows(self) -> int:
        """How many rows of two the gauges need, whatever is chosen."""
        most = max((len(choice.gauges) for choice in self.choices), default=0)
        return -(-(len(self.rules.gauges) + most) // 2)

    @property
    def limits(self) -> str:
        """The largest value that can be typed, as a sentence."""
        if self._is_chosen or not self.maximum:
            return ""
        return f"At most {self.maximum}."

    @property
    def unit(self) -> str:
        return self.field.unit if isinstance(self.field, Integer | Number) else ""

    @property
    def is_whole(self) -> bool:
        return isinstance(self.field, Integer)

    @property
    def is_short(self) -> bool:
        """Whether the field fits into half the width of a phone."""
        longest = max((len(c.label or c.value) + len(c.description) for c in self.choices), default=0)
        return self.field.short and longest <= SHORT

    @property
    def ticked(self) -> str:
        """The value that a ticked box posts."""
        return getattr(self.field, "on", "") or "on"

    @property
    def is_checked(self) -> bool:
        return self._read(self.text) == (getattr(self.field, "on", "") or True)

    @property
    def is_long(self) -> bool:
        """Whether there are so many choices that the list needs a search."""
        return len(self.choices) > MOST_AT_A_GLANCE and not self.is_short

    @property
    def minimum(self) -> str:
        return "" if self.rules.minimum is None else self.field.write(self.rules.minimum)

    @property
    def maximum(self) -> str:
        return "" if self.rules.maximum is None else self.field.write(self.rules.maximum)

    @property
    def described_by(self) -> str:
        """The ids of the elements that say more about this input."""
        texts = [("gauges", self.gauges), ("help", self.rules.help or self.limits)]
        texts += [("note", self.note), ("error", self.message)]
        return " ".join(f"{kind}-{self.field.name}" for kind, text in texts if text)

    @property
    def chosen(self) -> str:
        """The value of the selected choice, "" when none is selected."""
        values = [choice.value for choice in self.choices]
        if self.text in values:
            return self.text
        given = self._read(self.text)
        return next((value for value in values if given is not None and self._read(value) == given), "")

    @property
    def options(self) -> Markup:
        """The choices as the inside of a <select>, under their headings."""
        chosen, html, heading = self.chosen, [], ""
        for choice, (before, after) in zip(self.choices, _options(self.choices), strict=True):
            if choice.group != heading:
                html.append("</optgroup>" if heading else "")
                html.append(f'<optgroup label="{escape(choice.group)}">' if choice.group else "")
                heading = choice.group
            html.append(f"{before} selected{after}" if chosen and choice.value == chosen else before + after)
        html.append("</optgroup>" if heading else "")
        return Markup("\n".join(html))

    def _read(self, text: str) -> object:
        try:
            return None if is_empty(text) else self.field.read(text)
        except Refusal:
            return text


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group of fields as the page shows it."""

    name: str
    title: str
    folded: bool
    fields: list[FieldView]

    @property
    def is_open(self) -> bool:
        return not self.folded or any(view.message or view.note or view.is_linked for view in self.fields)


@dataclass(frozen=True, slots=True)
class Problem:
    """A line of the summary; `name` is the field that it links to, "" for none."""

    name: str
    label: str
    message: str


class FormHtml(Markup):
    """The HTML of a form, with what the page around it says.

    `can_start`: whether its user can start anything. `server`: the name of the server that it is for, as
    users see it, "" for the default server. `ended`: the report of how that server ended, if its user
    doesn't know yet.
    """

    can_start: bool = True
    server: str = ""
    ended: object = None


def _options(choices: Sequence[Choice]) -> Sequence[tuple[str, str]]:
    """Each choice as an <option>: the text before and after the place of `selected`."""
    if not isinstance(choices, Listed):
        return [_option(choice) for choice in choices]
    if "options" not in choices.kept:
        choices.kept["options"] = [_option(choice) for choice in choices]
    kept: Sequence[tuple[str, str]] = choices.kept["options"]
    return kept


def _option(choice: Choice) -> tuple[str, str]:
    text = escape(choice.label or choice.value)
    description = f" — {escape(choice.description)}" if choice.description else ""
    return f'<option value="{escape(choice.value)}"', f">{text}{description}</option>"


def text_of(field: Field, given: object) -> str:
    """The text that an input shows for a text or a typed value. It is printable; this never raises."""
    if given is None:
        return ""
    if isinstance(given, str):
        return printable(given)
    try:
        return field.write(field.read(given))
    except Refusal:
        return printable(str(given), 40)


def render_page(
    groups: Sequence[GroupView],
    problems: Sequence[Problem],
    notice: str,
    page: PageSettings = NO_PAGE_SETTINGS,
    *,
    whole: bool = True,
) -> FormHtml:
    """The HTML inside JupyterHub's <form>. Unless `whole`, only what replaces `#flatirons-form`."""
    every = [view for group in groups for view in group.fields]
    boxes = [view.field.name for view in every if view.widget == "checkbox"]
    html = _template().render(
        groups=groups,
        problems=problems,
        notice=printable(notice),
        page=page,
        boxes=",".join(boxes),
        linked=urlencode({view.field.name: view.text for view in every if view.is_linked}),
        whole=whole,
        version=version(),
    )
    made = FormHtml(html)
    made.can_start = not page.dead_end
    return made


@functools.cache
def version() -> str:
    """A text that changes with the files in static/, so that browsers can cache them for ever."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([ROOM / "templates", STATIC]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # else each rendering looks at the time of each file
    )
    return environment.get_template("form.html")
