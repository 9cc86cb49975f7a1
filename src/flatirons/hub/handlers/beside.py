"""The form while its server runs: {hub}/flatirons/beside, and beside/start for its buttons.

A link with options leads here then (see `compat_handlers.keep_links`). The choices can start another server,
or the same one again. Both end in JupyterHub's own page, which gets the same body and checks it as always.
"""

from __future__ import annotations

from urllib.parse import quote

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat
from tornado.web import HTTPError, authenticated

from flatirons.errors import quoted
from flatirons.forms.form import LINKED
from flatirons.hub.handlers.form import FormCall, FormPage
from flatirons.hub.handlers.spawn_page import spawn_page
from flatirons.spawners.form.hooks import BESIDE_PATH, FormHooks
from flatirons.spawners.form.requested_options import RefusedOptions
from flatirons.spawners.jupyterhub import compat

NO_OPTIONS = {"user", "server", "next", "display_name", "_xsrf"}
"""Arguments of a link that are JupyterHub's or ours."""

SAME_BODY = 307
"""The status with which a browser posts the same body to another URL."""


class BesidePage(FormPage):
    """GET beside: the form, filled in by a link."""

    @authenticated
    async def get(self) -> None:
        """Shows the form for the server in the query, or else for the caller's default server."""
        user = self.get_query_argument("user", self.current_user.name)
        await self._get(user, self.get_query_argument("server", ""))

    @needs_scope("servers")
    async def _get(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        options = self._options_of_link()
        if not spawner.active:
            again = [(f"{LINKED}{name}", text) for name, texts in options.items() for text in texts]
            self.redirect(url_concat(url_of_form(self, spawner, server), again))
            return
        form = await hooks.form_of_link(spawner, options)
        self.finish(await spawn_page(self, spawner, form))

    def _options_of_link(self) -> dict[str, list[str]]:
        """The options of the link's query, as JupyterHub reads it; 400 if it isn't UTF-8."""
        try:
            given = {
                name: [value.decode("utf-8") for value in values]
                for name, values in self.request.query_arguments.items()
                if name not in NO_OPTIONS
            }
        except UnicodeDecodeError:
            raise HTTPError(400, "The link isn't UTF-8 text") from None
        prefixed = {name.removeprefix(LINKED): v for name, v in given.items() if name.startswith(LINKED)}
        return prefixed or given


class BesideStart(FormCall):
    """POST beside/start: starts another server with the choices, or this one again."""

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        posted = self.posted()
        name = str(posted["_server_name"][0]).strip() if "_server_name" in posted else None
        wants_same = posted.get("_start") == ["restart"]
        try:
            await hooks.options_from_form(posted, spawner)
        except RefusedOptions:
            await self._show_again(spawner, hooks, name or "")
            return
        problem = "" if wants_same else await self._problem_of_name(spawner, name)
        if wants_same and spawner.active and not compat.is_start_pending(spawner):
            await compat.stop_server(self, spawner)
        if wants_same and spawner.active:
            problem = "This server starts or can't be stopped at the moment. Try again in a minute."
        if problem:
            await self._show_again(spawner, hooks, name or "", problem)
            return
        self.redirect(url_of_form(self, spawner, server if wants_same else name or ""), status=SAME_BODY)

    async def _show_again(self, spawner: Spawner, hooks: FormHooks, name: str, problem: str = "") -> None:
        self.set_status(400)
        form = await hooks.options_form(spawner)
        self.finish(await spawn_page(self, spawner, form, name=name, message=problem))

    async def _problem_of_name(self, spawner: Spawner, name: str | None) -> str:
        """What is wrong with the name for another server; None: the page had no input for it."""
        user = spawner.user
        if name is None:
            return "Press the button below to start the server again with these choices."
        if not name:
            return "Give the other server a name."
        if compat.is_active(user, name):
            return f"The server {quoted(name)} runs already."
        if compat.has_server(user, name):
            return ""
        if not compat.is_server_name(name):
            return "A name has at most 30 lower-case letters, digits and single hyphens, such as gpu-2."
        if not await compat.may_add_server(self, user):
            return "You have as many servers as you may have. Give the name of one of them that doesn't run."
        return ""


def url_of_form(handler: BaseHandler, spawner: Spawner, server: str) -> str:
    """JupyterHub's page for a start, which then leads where the link says."""
    where = url_path_join(handler.hub.base_url, "spawn", spawner.user.escaped_name, quote(server))
    query = {"_xsrf": handler.xsrf_token.decode("ascii")} if handler.request.method == "POST" else {}
    if following := handler.get_query_argument("next", ""):
        query["next"] = following
    return str(url_concat(where, query))


handlers = [(f"/{BESIDE_PATH}", BesidePage), (f"/{BESIDE_PATH}/start", BesideStart)]
