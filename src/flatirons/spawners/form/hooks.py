"""A form on any spawner, through JupyterHub's own hooks.

    hooks = FormHooks(form)
    c.Spawner.options_form = hooks.options_form
    c.Spawner.options_from_form = hooks.options_from_form
    c.Spawner.apply_user_options = hooks.apply_user_options

or `hooks.attach(c.Spawner)`. Nothing else is needed: JupyterHub's own `Spawner.options_from_query` calls
`options_from_form(data)` without a spawner, which tells a link from a posted form.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias
from urllib.parse import parse_qsl, urlencode
from weakref import WeakKeyDictionary

from jupyterhub.spawner import Spawner
from traitlets import TraitError

from flatirons.errors import OptionsRefused, printable
from flatirons.forms import Context, Form, Value
from flatirons.forms.form import FROM_LINK, LINKED, MOST_KEYS, WHOLE_FORM, Answer
from flatirons.forms.page import NO_PAGE_SETTINGS, Card, FormHtml, PageSettings
from flatirons.servers.report import Report, unread
from flatirons.spawners.form.preset_clicks import (
    AGAIN,
    USE,
    Click,
    card_in_use,
    card_to_start,
    cards,
    options_of_card,
    options_to_start,
    save_or_forget,
)
from flatirons.spawners.form.presets import Presets
from flatirons.spawners.form.requested_options import (
    FilledIn,
    RefusedOptions,
    RequestedOptions,
    log_refusals_at_info,
    requested,
    stored_before,
)
from flatirons.spawners.jupyterhub import compat, compat_handlers, compat_servers

__all__ = ["FilledIn", "FormHooks", "Options", "RefusedOptions"]

Options: TypeAlias = dict[str, Value | None]
Facts: TypeAlias = Callable[[Spawner, bool], Any]
"""Returns what the rules of a form may look at in addition to the values, for one spawner; sync or async. The
second argument says whether the facts are used to check a start (True), or are only shown. The result may
have an attribute `age`, a sentence for the user when the facts are old."""

FORM_PATH = "flatirons/form"
ESTIMATE_PATH = "flatirons/estimate"
BESIDE_PATH = "flatirons/beside"
STATIC_PATH = "flatirons/static/"
"""Where the hub serves what a form needs while somebody fills it in, below the hub's own URL."""

LONGEST_LINK = 8000

GONE = "These choices are gone. Choose again."
"""About a card that was deleted while a page still showed it."""


def is_served(spawner: Spawner) -> bool:
    """Whether this hub has the handlers of `flatirons.hub`."""
    return compat.serves(spawner, f"/{FORM_PATH}")


def still_linked(posted: Mapping[str, object], given: Mapping[str, object]) -> list[str]:
    """The names of the fields that still have the values of a link, which the page stores."""
    values = posted.get(FROM_LINK)
    text = str(values[0]) if isinstance(values, list) and values else ""
    try:
        filled = parse_qsl(text[:LONGEST_LINK], max_num_fields=MOST_KEYS)
    except ValueError:  # more fields than any form has
        return []
    return [name for name, value in filled if given.get(name) == value]


def last_options(spawner: Spawner) -> Mapping[str, Any]:
    """The options of the spawner's last start."""
    return spawner.user_options if isinstance(spawner.user_options, dict) else {}


def _for_server(made: FormHtml, spawner: Spawner) -> FormHtml:
    """The form's HTML, which says whose it is: JupyterHub's page may be given another spawner."""
    made.server = str(spawner.display_name or spawner.name) if spawner.name else ""
    return made


def _unread(spawner: Spawner) -> Report | None:
    """How the server ended, if it doesn't run and its user doesn't know yet."""
    report = unread(getattr(spawner, "reports", ()))
    return report if report and not spawner.active else None


class FormHooks:
    """The hooks of one form; see the docstring of this module. One object serves all spawners."""

    # of all hooks, so that it is found behind a function of the site's that calls the check
    _accepted: ClassVar[WeakKeyDictionary[Spawner, tuple[Options, dict[str, Any]]]] = WeakKeyDictionary()

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
        self._configured: WeakKeyDictionary[Spawner, dict[str, Any]] = WeakKeyDictionary()
        log_refusals_at_info()
        compat_handlers.judge_before_storing(self.judge)
        compat_handlers.refuse_large_bodies()
        compat_handlers.keep_links(self.page_beside)

    @staticmethod
    def of(spawner: Spawner) -> FormHooks | None:
        """The hooks that are attached to a spawner."""
        hooks = getattr(spawner.options_form, "__self__", None)
        return hooks if isinstance(hooks, FormHooks) else None

    @classmethod
    def texts(cls, spawner: Spawner) -> dict[str, str]:
        """The options of the server's start as texts for a link to the form; {} without such a form."""
        hooks = cls.of(spawner)
        fields = hooks.form(spawner).fields if hooks else {}
        return {
            name: value
            if isinstance(value, str)
            else fields[name].write(value)  # text: as JupyterHub stored it
            for name, value in last_options(spawner).items()
            if name in fields and value is not None
        }

    @classmethod
    def page_beside(cls, spawner: Spawner, names: Iterable[str]) -> str:
        """The URL of the form while the server runs, if a link with these names asks for options; else ""."""
        hooks = cls.of(spawner)
        if hooks is None or not is_served(spawner):
            return ""
        fields = hooks.form(spawner).fields
        if not any(name.startswith(LINKED) or name in fields for name in names):
            return ""
        server = urlencode({"user": spawner.user.name, "server": spawner.name})
        return f"{spawner.hub.base_url}{BESIDE_PATH}?{server}"

    def __deepcopy__(self, memo: object) -> FormHooks:
        """Itself: for every spawner traitlets copies configured values, and with a method its object."""
        return self

    def attach(self, spawner: Any) -> None:
        """Sets the hooks on a spawner's section of the configuration, or on a spawner."""
        spawner.options_form = self.options_form
        spawner.options_from_form = self.options_from_form
        spawner.apply_user_options = self.apply_user_options

    def form(self, spawner: Spawner) -> Form:
        """The form that this spawner shows."""
        return self._form if isinstance(self._form, Form) else self._form(spawner)

    async def context(self, spawner: Spawner, *, fresh: bool = False) -> Context:
        """What the rules look at; `fresh`: as it is now, to check a start."""
        facts = self._facts(spawner, fresh) if self._facts is not None else None
        return Context(user=spawner.user.name, facts=await facts if inspect.isawaitable(facts) else facts)

    # -- the page

    async def form_of_link(self, spawner: Spawner, query: Mapping[str, object]) -> str:
        """The form, filled in by a link's query, as JupyterHub's page shows it."""
        requested.set(RequestedOptions(query, is_link=True))
        return await self.options_form(spawner)

    async def options_form(self, spawner: Spawner) -> str:
        """The form for the page: as posted, with messages; or filled in by a link; or as last started."""
        asked = requested.get()
        spawner = (asked and asked.spawner) or spawner  # for a refused POST JupyterHub asks the default one
        form, context = self.form(spawner), await self.context(spawner)
        page = await self._page_settings(form, spawner, context, with_cards=True)
        pressed = Click.of(asked.values).card if asked and not asked.is_link else ""
        render = partial(form.render, page=page, card_in_use=self._finder(spawner, pressed))
        if asked is None:
            options = await form.initial(last_options(spawner), context)
            made = await render(options, {}, context)
            made.ended = _unread(spawner)
        elif asked.is_link:
            given, _ = form.single(asked.values, from_page=False)
            messages = await self._messages_of_link(form, asked.values, context)
            linked = [name for name in given if name not in messages]
            notice = self._notice_of_link(form, linked, bool(messages))
            made = await render(given, messages, context, notice=notice, linked=linked)
        else:
            given, _ = form.single(asked.values)
            made = await render(given, asked.messages, context, from_page=asked.is_whole)
        return _for_server(made, spawner)

    async def start_cards(self, spawner: Spawner, last: Mapping[str, Any]) -> tuple[list[Card], bool]:
        """What starts a server by one click, for a page without the form: see `options_from_form`.

        `last` are the options of the user's last start. Also returns whether it is
        known what the user can have.
        """
        form, context = self.form(spawner), await self.context(spawner)
        found = await cards(self._presets, form, spawner.user.name, last, context)
        return found or [Card("defaults", "Defaults")], not getattr(context.facts, "age", "")

    def saved_names(self, user: str) -> tuple[str, ...]:
        """The names of the user's own presets."""
        return tuple(self._presets.saved(user))

    async def changed(self, spawner: Spawner, posted: Mapping[str, object], *, whole: bool) -> str:
        """The form after a change or a click on a preset. Fields that are still empty get no message.

        Unless `whole`, only what replaces the part of the page that changed.
        """
        form, context, user = self.form(spawner), await self.context(spawner), spawner.user.name
        given, _ = form.single(posted)
        click = Click.of(posted)
        if is_card := click.button == USE:
            given = options_of_card(self._presets, user, last_options(spawner), given, click.value)
        notice = await save_or_forget(self._presets, form, user, given, context, click)
        page = await self._page_settings(form, spawner, context, with_cards=whole or bool(notice))
        linked = [] if is_card else still_linked(posted, given)
        find = self._finder(spawner, click.card)
        render = partial(form.render, given, {}, context, from_page=not is_card, live=True, whole=whole)
        return _for_server(await render(notice=notice, linked=linked, page=page, card_in_use=find), spawner)

    def _finder(self, spawner: Spawner, pressed: str) -> Callable[[Sequence[Answer]], str]:
        """Finds the card that is in use by the answers of the form."""
        user, last = spawner.user.name, last_options(spawner)
        return lambda answers: card_in_use(self._presets, user, last, answers, pressed)

    async def _page_settings(
        self, form: Form, spawner: Spawner, context: Context, *, with_cards: bool
    ) -> PageSettings:
        if not is_served(spawner):
            return NO_PAGE_SETTINGS
        hub, user = spawner.hub.base_url, spawner.user.name
        server = urlencode({"user": user, "server": spawner.name})
        found = await cards(self._presets, form, user, last_options(spawner), context) if with_cards else None
        return PageSettings(
            form=f"{hub}{FORM_PATH}?{server}",
            estimate=f"{hub}{ESTIMATE_PATH}?{server}" if self._estimates else "",
            static=f"{hub}{STATIC_PATH}",
            link=f"{hub}spawn",
            cards=found,
            can_save=self._presets.folder is not None,
            age=getattr(context.facts, "age", ""),
        )

    async def _messages_of_link(
        self, form: Form, values: Mapping[str, object], context: Context
    ) -> Mapping[str, str]:
        try:
            await form.parse(values, context, from_page=False)
        except OptionsRefused as refused:
            messages = refused.messages.items()
            return {name: text for name, text in messages if name in values or name not in form.fields}
        return {}

    def _notice_of_link(self, form: Form, linked: list[str], has_problems: bool) -> str:
        if not linked:
            return ""
        names = ", ".join(form.label(name) for name in form.fields if name in linked)
        notice = f"Filled in from the link: {names}."
        return notice if has_problems else f"{notice} Nothing has been started."

    # -- the options

    def options_from_form(
        self, form_data: Mapping[str, object], spawner: Spawner | None = None
    ) -> Awaitable[Options]:
        """Typed options of a posted form; raises RefusedOptions. Without a spawner the data is a link's.

        A page without the form posts `preset_clicks.START` with the key of a card of `start_cards` instead.

        Not a coroutine function: the context variable must be set in the task of the request, and JupyterHub
        awaits a coroutine in another task.
        """
        if spawner is None:
            return self.options_from_query(form_data)
        key = card_to_start(form_data)
        values = form_data if key is None else self._options_to_start(spawner, key)
        asked = RequestedOptions(values or {}, is_link=False, is_whole=key is None, spawner=spawner)
        requested.set(asked)
        stored_before.set(compat.stored_options(spawner))
        if values is None:
            asked.messages = {WHOLE_FORM: GONE}
            raise RefusedOptions(OptionsRefused(asked.messages))
        return self._parsed(spawner, asked)

    def _options_to_start(self, spawner: Spawner, key: str) -> Mapping[str, object] | None:
        """The options of a card of `start_cards`, or of the server's last run with what would have helped."""
        user, reports = spawner.user, getattr(spawner, "reports", ())
        if key == AGAIN and reports:
            options: Mapping[str, object] | None = {**reports[0].options, **reports[0].fix}
        else:
            last = last_options(spawner) or compat_servers.newest_options(user)
            options = options_to_start(self._presets, user.name, last, "last" if key == AGAIN else key)
        fields = self.form(spawner).fields
        return None if options is None else {name: v for name, v in options.items() if name in fields}

    def options_from_query(self, query_data: Mapping[str, object]) -> Awaitable[Options]:
        """Never returns options: a link fills the form in and starts nothing. Raises FilledIn."""
        requested.set(RequestedOptions(query_data, is_link=True))
        raise FilledIn("the form is filled in from a link; nothing is started")

    @classmethod
    async def judge(cls, spawner: Spawner, user_options: Mapping[str, object] | None) -> None:
        """Raises RefusedOptions for options of REST, before JupyterHub stores them as the default.

        None stands for the options that are stored.
        """
        hooks = cls.of(spawner)
        if hooks is None:
            return
        stored_before.set(compat.stored_options(spawner))
        if user_options is None:
            return
        try:
            await hooks.form(spawner).check(user_options, await hooks.context(spawner, fresh=True))
        except OptionsRefused as refused:
            spawner.log.info("No server is started: %s", printable(refused.user))
            raise RefusedOptions(refused) from None

    async def apply_user_options(self, spawner: Spawner, user_options: Mapping[str, object]) -> None:
        """The last check, for form, database and REST: checks the options and sets the spawner's traits.

        `spawner.user_options` becomes the typed options. An option that is None gives its trait the
        configured value, also after an earlier start. Raises RefusedOptions; then the options that were
        stored before this start are the stored ones again.
        """
        form = self.form(spawner)
        try:
            options = await form.check(user_options, await self.context(spawner, fresh=True))
            self._set_traits(form, options, spawner)
        except OptionsRefused as refused:
            if (asked := requested.get()) is not None:
                asked.messages = refused.messages
            compat.restore_options(spawner, stored_before.get() or {})
            raise RefusedOptions(refused) from None
        spawner.user_options = options

    def put_back(self, spawner: Spawner, options: Options) -> None:
        """Sets options again that this spawner had, without another check."""
        form = self.form(spawner)
        self._set_traits(form, {**dict.fromkeys(form.fields), **options}, spawner)
        spawner.user_options = options

    @classmethod
    def accepted(cls, spawner: Spawner) -> tuple[Options, Mapping[str, Any]]:
        """The typed options that this process accepted, and the values that the spawner's traits got from
        them; both are empty if nothing was checked."""
        return cls._accepted.get(spawner, ({}, {}))

    async def _parsed(self, spawner: Spawner, asked: RequestedOptions) -> Options:
        try:
            form, context = self.form(spawner), await self.context(spawner, fresh=True)
            return await form.parse(asked.values, context, from_page=asked.is_whole)
        except OptionsRefused as refused:
            asked.messages = refused.messages
            raise RefusedOptions(refused) from None

    def _set_traits(self, form: Form, options: Options, spawner: Spawner) -> None:
        """Sets the spawner's traits; raises OptionsRefused for a value that a trait doesn't take."""
        configured = self._configured.setdefault(spawner, {})
        values: dict[str, Any] = {}
        for option in form.fields.values():
            trait = option.name if option.trait == "" else option.trait
            if trait is None or not spawner.has_trait(trait):
                continue
            before = configured.setdefault(trait, getattr(spawner, trait))
            value = options[option.name]
            try:
                setattr(spawner, trait, before if value is None else value)
            except TraitError as error:
                logging.getLogger(__name__).error("option %s, trait %s: %s", option.name, trait, error)
                raise OptionsRefused({option.name: "This server can't be given this value."}) from None
            values[trait] = getattr(spawner, trait)
        self._accepted[spawner] = options, values
