"""A user's servers: {hub}/flatirons/servers/..., and as JSON below {hub}/api/.

`new` starts one more server, `stop` and `delete` are JupyterHub's DELETE for forms, and `events` sends to a
page the cards that changed. JupyterHub's own Home shows the cards first; see `hub.pages.home`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.errors import quoted
from flatirons.hub.pages.home import name_for, start_choices
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.preset_clicks import START
from flatirons.spawners.jupyterhub import compat, compat_servers
from flatirons.spawners.run.server_status import statuses

PATIENCE_SECONDS = 2.0
"""How long a form waits for the end of a server before it leads to Home, which shows the rest."""


PATIENCE_OF_FORM_SECONDS = 10.0
"""The same where the form comes next, which needs a server that has stopped."""

LONGEST_TITLE = 255
"""JupyterHub's own limit for what a server is called."""

SAME_BODY = 307
"""The status with which a browser posts the same body to another URL."""


class ServerNew(BaseHandler):
    """POST new: starts a server with the choices of a card, or leads to the form for it.

    Without a name it is the default server, unless that runs. JupyterHub's own page gets the same body, and
    has it checked as any other.
    """

    @authenticated
    async def post(self) -> None:
        """Leads to the page of the start, to the form, or back with what is wrong with the name."""
        await self._post(self.current_user.name)

    @needs_scope("servers")
    async def _post(self, user_name: str) -> None:
        user: Any = self.current_user
        title = " ".join(self.get_body_argument("name", "").split())
        choice = self.get_body_argument(START, "")
        name = ""
        if title or compat.is_active(user, ""):
            name, title = name_for(user, title, choice, await start_choices(user))
            if problem := await self._problem_of(user, name, title):
                await self._show_again(problem, title)
                return
            compat_servers.add_server(user, name, title)
        form = url_path_join(self.hub.base_url, "spawn", user.escaped_name, quote(name))
        has_form = FormHooks.of(compat.spawner_of(user, "")) is not None
        self.redirect(form, status=SAME_BODY if choice and has_form else 303)

    async def _problem_of(self, user: Any, name: str, title: str) -> str:
        """Why there can't be one more server of this name, "" if there can."""
        if compat.is_active(user, name):
            return f"The server {quoted(title)} runs already."
        if len(title) > LONGEST_TITLE:
            return f"A name has at most {LONGEST_TITLE} characters."
        if not compat.has_server(user, name) and not await compat.may_add_server(self, user):
            return "You have as many named servers as you may have."
        return ""

    async def _show_again(self, problem: str, title: str) -> None:
        self.set_status(400)
        limit = await compat_servers.named_server_limit(self)
        page = await self.render_template(
            "home.html", named_server_limit_per_user=limit, problem=problem, typed=title
        )
        self.finish(page)


class ServerStop(compat_servers.ServerEndHandler):
    """POST stop: cancels a start, or stops the server. With `then=form` it leads to the form afterwards."""

    async def post(self, user_name: str, server_name: str = "") -> None:
        """Leads to Home when the server has stopped, or after some seconds."""
        wants_form = self.get_body_argument("then", "") == "form"
        ending = asyncio.ensure_future(self.delete(user_name, server_name or ""))
        patience = PATIENCE_OF_FORM_SECONDS if wants_form else PATIENCE_SECONDS
        done, _ = await asyncio.wait([ending], timeout=patience)
        for each in done:
            each.result()
        where = "home"
        if wants_form and done:
            where = url_path_join("spawn", quote(user_name, safe=""), quote(server_name or "", safe=""))
        self.redirect(url_path_join(self.hub.base_url, where), status=303)


class ServerDelete(ServerStop):
    """POST delete: deletes a named server, and stops it first if it runs."""

    removes = True


class ServersApi(APIHandler):
    """GET servers: all servers of a user for programs, whether or not they run."""

    async def get(self, user_name: str | None = None) -> None:
        """`{"user": NAME, "now": seconds since 1970, "servers": [...]}`; without a name, the caller's own."""
        await self._get(user_name or (self.current_user.name if self.current_user else ""))

    @needs_scope("read:servers")
    async def _get(self, user_name: str) -> None:
        user: Any = compat.user_named(self, user_name)
        if user is None:
            raise HTTPError(404, "There is no such user")
        servers = [{**each.as_dict(), "url": user.server_url(each.name)} for each in statuses(user)]
        self.finish({"user": user_name, "now": time.time(), "servers": servers})


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    ("/api/flatirons/servers", ServersApi),
    ("/api/flatirons/servers/(?P<user_name>[^/]+)", ServersApi),
    ("/flatirons/servers/new", ServerNew),
    (f"/flatirons/servers/stop{_SERVER}", ServerStop),
    (f"/flatirons/servers/delete{_SERVER}", ServerDelete),
]
