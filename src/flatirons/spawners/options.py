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
from weakref import WeakKeyDictionary

from jupyterhub.spawner import Spawner, SpawnException
from traitlets import TraitError

from flatirons.errors import OptionsRefused
from flatirons.forms import Context, Form, Value

Options: TypeAlias = dict[str, Value | None]
Facts: TypeAlias = Callable[[Spawner], Any]
"""What the rules of a form may look at beside the values, for one spawner; sync or async."""


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

    def __init__(self, form: Form | Callable[[Spawner], Form], facts: Facts | None = None) -> None:
        self._form = form
        self._facts = facts
        logging.getLogger("JupyterHub").addFilter(_users_business)
        self._untouched: WeakKeyDictionary[Spawner, dict[str, Any]] = WeakKeyDictionary()

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
        form, context, asked = self.form(spawner), await self._context(spawner), _asked.get()
        if asked is None:
            options = spawner.user_options if isinstance(spawner.user_options, dict) else {}
            return await form.render(await form.initial(options, context), {}, context)
        given, _ = form.single(asked.values)
        if not asked.is_link:
            return await form.render(given, asked.messages, context, from_page=True)
        messages = await self._wrong_in_link(form, asked.values, context)
        linked = [name for name in given if name not in messages]
        return await form.render(
            given, messages, context, notice=self._notice(form, linked, bool(messages)), linked=linked
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
            options = await form.check(user_options, await self._context(spawner))
            self._land(form, options, spawner)
        except OptionsRefused as refused:
            if (asked := _asked.get()) is not None:
                asked.messages = refused.messages
            raise RefusedOptions(refused) from None
        spawner.user_options = options

    async def _options(self, spawner: Spawner, asked: Asked) -> Options:
        try:
            return await self.form(spawner).parse(asked.values, await self._context(spawner))
        except OptionsRefused as refused:
            asked.messages = refused.messages
            raise RefusedOptions(refused) from None

    async def _context(self, spawner: Spawner) -> Context:
        facts = self._facts(spawner) if self._facts is not None else None
        return Context(user=spawner.user.name, facts=await facts if inspect.isawaitable(facts) else facts)

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

    def _land(self, form: Form, options: Options, spawner: Spawner) -> None:
        untouched = self._untouched.setdefault(spawner, {})
        for option in form.fields.values():
            trait = option.trait or option.name
            if not spawner.has_trait(trait):
                continue
            before = untouched.setdefault(trait, getattr(spawner, trait))
            value = options[option.name]
            try:
                setattr(spawner, trait, before if value is None else value)
            except TraitError as error:
                logging.getLogger(__name__).error("option %s, trait %s: %s", option.name, trait, error)
                raise OptionsRefused({option.name: "This server can't be given this value."}) from None
