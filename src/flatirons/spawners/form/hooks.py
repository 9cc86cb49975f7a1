"""A form on any spawner, through JupyterHub's own hooks.

    hooks = FormHooks(form)
    c.Spawner.options_form = hooks.options_form
    c.Spawner.options_from_form = hooks.options_from_form
    c.Spawner.apply_user_options = hooks.apply_user_options

or `hooks.attach(c.Spawner)`. Nothing else is needed: JupyterHub's own `Spawner.options_from_query` calls
`options_from_form(data)` without a spawner, and so a link can be told from a posted form.

What a request asked for is remembered for that request only, in a context variable: JupyterHub answers a
refused POST for a *named* server with the form of the *default* server's spawner (handlers/pages.py, 6.1),
so the spawner is no place to keep it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode
from weakref import WeakKeyDictionary

from jupyterhub.spawner import Spawner, SpawnException
from traitlets import TraitError

from flatirons.errors import OptionsRefused, quoted
from flatirons.forms import Context, Form, Value
from flatirons.forms.form import FROM_LINK, MOST_KEYS
from flatirons.forms.page import NOTHING_AROUND, Around, Card
from flatirons.spawners.form.presets import Presets
from flatirons.spawners.jupyterhub import compat

Options: TypeAlias = dict[str, Value | None]
Facts: TypeAlias = Callable[[Spawner, bool], Any]
"""What the rules of a form may look at beside the values, for one spawner, sync or async; an attribute `age`
is a sentence on facts that are old. The second argument: whether they are to judge by, or else to show."""

FORM_PATH = "flatirons/form"
ESTIMATE_PATH = "flatirons/estimate"
STATIC_PATH = "flatirons/static/"
LONGEST_LINK = 8000
"""Where the hub serves what a form needs while somebody fills it in, below its own URL."""


def is_served(spawner: Spawner) -> bool:
    """Whether this hub has the handlers of `flatirons.hub`."""
    return compat.serves(spawner, f"/{FORM_PATH}")


def still_linked(posted: Mapping[str, object], given: Mapping[str, object]) -> list[str]:
    """The fields that hold what a link filled in, as the page remembers it."""
    values = posted.get(FROM_LINK)
    text = str(values[0]) if isinstance(values, list) and values else ""
    try:
        filled = parse_qsl(text[:LONGEST_LINK], max_num_fields=MOST_KEYS)
    except ValueError:  # more of them than there are options
        return []
    return [name for name, value in filled if given.get(name) == value]


def _options_of(spawner: Spawner) -> Mapping[str, Any]:
    """The options of the spawner's last start."""
    return spawner.user_options if isinstance(spawner.user_options, dict) else {}


@dataclass(frozen=True, slots=True)
class Act:
    """What a click asks for beside the change of a field: `kind` is the button's name."""

    kind: str = ""
    key: str = ""
    name: str = ""

    @classmethod
    def of(cls, posted: Mapping[str, object]) -> Act:
        """The first button that was pressed, if one was."""
        texts = {key: str(values[0]) for key, values in posted.items() if isinstance(values, list) and values}
        kind = next((key for key in ("_preset", "_forget_preset", "_save_preset") if key in texts), "")
        return cls(kind, texts.get(kind, ""), " ".join(texts.get("_preset_name", "").split()))


@dataclass(slots=True)
class Asked:
    """What this request asked for, in its own words, and what was wrong with it."""

    values: Mapping[str, object]
    is_link: bool
    messages: Mapping[str, str] = field(default_factory=dict)


_asked: ContextVar[Asked | None] = ContextVar("flatirons_asked", default=None)


class RefusedOptions(SpawnException):
    """Options that can't be taken; the text names each with its sentence. It is empty where a page with the
    form is the answer: there the form says it."""

    def __init__(self, refused: OptionsRefused) -> None:
        super().__init__(refused.user, reason="options")

    @property
    def jupyterhub_message(self) -> str:
        """The text for JupyterHub's pages and REST answers."""
        return "" if _asked.get() is not None else str(self.message)


class FilledIn(Exception):
    """No error: how `options_from_query` tells JupyterHub to show the form instead of starting a server.

    JupyterHub prints these two texts in a red box when they aren't empty; the form has a gentler one.
    """

    jupyterhub_message = ""
    jupyterhub_html_message = ""


class UsersBusiness(logging.Filter):
    """Makes one line at INFO of the tracebacks that JupyterHub logs for what is no error of the hub."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SpawnException | FilledIn):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "No server is started: %s", (getattr(error, "message", error),)
            record.exc_info = None
        return True


_users_business = UsersBusiness()


class FormHooks:
    """The hooks of one form; see this module's docstring. One object serves all spawners."""

    def __init__(
        self,
        form: Form | Callable[[Spawner], Form],
        facts: Facts | None = None,
        *,
        presets: Presets | None = None,
        estimates: bool = False,
    ) -> None:
        """`estimates`: the hub answers how long a job would wait; see flatirons.hub.handlers.form."""
        self._form = form
        self._facts = facts
        self._presets = presets or Presets()
        self._estimates = estimates
        logging.getLogger("JupyterHub").addFilter(_users_business)
        self._untouched: WeakKeyDictionary[Spawner, dict[str, Any]] = WeakKeyDictionary()
        self._accepted: WeakKeyDictionary[Spawner, tuple[Options, dict[str, Any]]] = WeakKeyDictionary()

    @staticmethod
    def of(spawner: Spawner) -> FormHooks | None:
        """The hooks that are attached to a spawner."""
        hooks = getattr(spawner.options_form, "__self__", None)
        return hooks if isinstance(hooks, FormHooks) else None

    @classmethod
    def texts(cls, spawner: Spawner) -> dict[str, str]:
        """What the server was started with, as a link to the form would say it; none without such a form."""
        hooks = cls.of(spawner)
        fields = hooks.form(spawner).fields if hooks else {}
        return {
            name: value
            if isinstance(value, str)
            else fields[name].write(value)  # text: as JupyterHub stored it
            for name, value in _options_of(spawner).items()
            if name in fields and value is not None
        }

    def __deepcopy__(self, memo: object) -> FormHooks:
        """Itself: traitlets copies configured values, and a method's object with it, for every spawner."""
        return self

    def attach(self, spawner: Any) -> None:
        """Set the hooks on a spawner's section of the configuration, or on a spawner."""
        spawner.options_form = self.options_form
        spawner.options_from_form = self.options_from_form
        spawner.apply_user_options = self.apply_user_options

    def form(self, spawner: Spawner) -> Form:
        """The form that this spawner shows."""
        return self._form if isinstance(self._form, Form) else self._form(spawner)

    async def options_form(self, spawner: Spawner) -> str:
        """The page's form: as posted, with messages; filled in by a link; or as at the last start."""
        form, context, asked = self.form(spawner), await self.context(spawner), _asked.get()
        around = await self._around(form, spawner, context, with_cards=True)
        if asked is None:
            options = await form.initial(_options_of(spawner), context)
            return await form.render(options, {}, context, around=around)
        given, _ = form.single(asked.values, from_page=not asked.is_link)
        if not asked.is_link:
            return await form.render(given, asked.messages, context, from_page=True, around=around)
        messages = await self._wrong_in_link(form, asked.values, context)
        linked = [name for name in given if name not in messages]
        notice = self._notice(form, linked, bool(messages))
        return await form.render(given, messages, context, notice=notice, linked=linked, around=around)

    async def changed(self, spawner: Spawner, posted: Mapping[str, object], *, whole: bool) -> str:
        """The form as it stands after a change, or a click on a preset, without a verdict on what is still
        to be typed. Not `whole`: what takes the place of the page's part that changed."""
        form, context = self.form(spawner), await self.context(spawner)
        given, _ = form.single(posted)
        act = Act.of(posted)
        if act.kind == "_preset":
            given = self._begun(spawner, given, act.key)
        notice = await self._kept(form, spawner, given, context, act)
        around = await self._around(form, spawner, context, with_cards=whole or bool(notice))
        is_page = act.kind != "_preset"
        linked = still_linked(posted, given) if is_page else []
        return await form.render(
            given,
            {},
            context,
            from_page=is_page,
            live=True,
            notice=notice,
            linked=linked,
            around=around,
            whole=whole,
        )

    def options_from_form(
        self, form_data: Mapping[str, object], spawner: Spawner | None = None
    ) -> Awaitable[Options]:
        """Typed options of a posted form; raises RefusedOptions. Without a spawner: a link's, see below.

        Not a coroutine function: what it remembers must be set in the request's own task, and JupyterHub
        awaits a coroutine in another.
        """
        if spawner is None:
            return self.options_from_query(form_data)
        asked = Asked(form_data, is_link=False)
        _asked.set(asked)
        return self._options(spawner, asked)

    def options_from_query(self, query_data: Mapping[str, object]) -> Awaitable[Options]:
        """Never gives options: a link fills the form in and starts nothing. Raises FilledIn."""
        _asked.set(Asked(query_data, is_link=True))
        raise FilledIn("the form is filled in from a link; nothing is started")

    async def apply_user_options(self, spawner: Spawner, user_options: Mapping[str, object]) -> None:
        """The gate for form, database and REST: options are checked again, then land on the spawner's traits.

        `spawner.user_options` becomes the typed options. An option that is None, and one that was set at an
        earlier start, leaves its trait as it was configured. Raises RefusedOptions.
        """
        form = self.form(spawner)
        try:
            options = await form.check(user_options, await self.context(spawner, fresh=True))
            self._set_traits(form, options, spawner)
        except OptionsRefused as refused:
            if (asked := _asked.get()) is not None:
                asked.messages = refused.messages
            raise RefusedOptions(refused) from None
        spawner.user_options = options

    async def _options(self, spawner: Spawner, asked: Asked) -> Options:
        try:
            return await self.form(spawner).parse(asked.values, await self.context(spawner, fresh=True))
        except OptionsRefused as refused:
            asked.messages = refused.messages
            raise RefusedOptions(refused) from None

    async def context(self, spawner: Spawner, *, fresh: bool = False) -> Context:
        """What the rules look at; `fresh`: as it is now, to judge by."""
        facts = self._facts(spawner, fresh) if self._facts is not None else None
        return Context(user=spawner.user.name, facts=await facts if inspect.isawaitable(facts) else facts)

    async def _around(self, form: Form, spawner: Spawner, context: Context, *, with_cards: bool) -> Around:
        if not is_served(spawner):
            return NOTHING_AROUND
        hub = spawner.hub.base_url
        server = urlencode({"user": spawner.user.name, "server": spawner.name})
        return Around(
            form=f"{hub}{FORM_PATH}?{server}",
            estimate=f"{hub}{ESTIMATE_PATH}?{server}" if self._estimates else "",
            static=f"{hub}{STATIC_PATH}",
            link=f"{hub}spawn",
            cards=await self._cards(form, spawner, context) if with_cards else None,
            may_save=self._presets.folder is not None,
            age=getattr(context.facts, "age", ""),
        )

    async def _cards(self, form: Form, spawner: Spawner, context: Context) -> list[Card]:
        cards = [Card("last", "Same as last time")] if _options_of(spawner) else []
        for name, preset in self._presets.site.items():
            answers = await form.answers(preset.options, context)
            if not any(answer.message for answer in answers if answer.field.name in preset.options):
                cards.append(Card(f"site:{name}", preset.title, preset.description))
        own = self._presets.own(spawner.user.name)
        cards += [Card(f"own:{name}", name, is_own=True) for name in own]
        return [*cards, Card("defaults", "Defaults")] if cards else []

    def _begun(self, spawner: Spawner, given: Mapping[str, object], key: str) -> dict[str, object]:
        """What a preset makes of what was chosen: a site's leaves alone what no preset of the site sets."""
        kind, _, name = key.partition(":")
        if kind == "site" and name in self._presets.site:
            others = {option: value for option, value in given.items() if option not in self._presets.names}
            return {**others, **self._presets.site[name].options}
        if kind == "own" and name in (own := self._presets.own(spawner.user.name)):
            return dict(own[name].options)
        if kind == "last":
            return dict(_options_of(spawner))
        return {} if kind == "defaults" else dict(given)

    async def _kept(
        self, form: Form, spawner: Spawner, given: Mapping[str, object], context: Context, act: Act
    ) -> str:
        """Saves or forgets what the user wants to; a sentence on what was done, "" when it wasn't asked."""
        user = spawner.user.name
        if act.kind == "_forget_preset":
            name = act.key.removeprefix("own:")
            return self._presets.forget(user, name) or f"{quoted(name)} is forgotten."
        if act.kind == "_save_preset":
            answers = await form.answers(given, context, from_page=True)
            if wrong := [form.label(a.field.name) for a in answers if a.message]:
                return f"Not saved: {', '.join(wrong)} can't be taken like this."
            options = {a.field.name: a.value for a in answers if not a.rules.is_fixed}
            return self._presets.save(user, act.name, options) or f"Saved as {quoted(act.name)}."
        return ""

    async def _wrong_in_link(
        self, form: Form, values: Mapping[str, object], context: Context
    ) -> Mapping[str, str]:
        try:
            await form.parse(values, context, from_page=False)
        except OptionsRefused as refused:
            return {
                name: text
                for name, text in refused.messages.items()
                if name in values or name not in form.fields
            }
        return {}

    def _notice(self, form: Form, linked: list[str], has_problems: bool) -> str:
        if not linked:
            return ""
        names = ", ".join(form.label(name) for name in form.fields if name in linked)
        said = f"Filled in from the link: {names}."
        return said if has_problems else f"{said} Nothing has been started."

    def accepted(self, spawner: Spawner) -> tuple[Options, Mapping[str, Any]]:
        """The typed options that the gate accepted in this process, and the values that it gave the spawner's
        traits by them."""
        return self._accepted.get(spawner, ({}, {}))

    def _set_traits(self, form: Form, options: Options, spawner: Spawner) -> None:
        """Sets the spawner's traits by these options; raises OptionsRefused for a value that a trait refuses.
        None leaves a trait as it was configured."""
        untouched = self._untouched.setdefault(spawner, {})
        values: dict[str, Any] = {}
        for option in form.fields.values():
            trait = option.name if option.trait == "" else option.trait
            if trait is None or not spawner.has_trait(trait):
                continue
            before = untouched.setdefault(trait, getattr(spawner, trait))
            value = options[option.name]
            try:
                setattr(spawner, trait, before if value is None else value)
            except TraitError as error:
                logging.getLogger(__name__).error("option %s, trait %s: %s", option.name, trait, error)
                raise OptionsRefused({option.name: "This server can't be given this value."}) from None
            values[trait] = getattr(spawner, trait)
        self._accepted[spawner] = options, values
