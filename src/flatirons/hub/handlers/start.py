"""The page of a start: its buttons, what would start sooner, and the stream that keeps it up to date.

JupyterHub's own handler of {hub}/spawn-pending renders the page itself. It posts to {hub}/flatirons/start,
and follows {hub}/api/flatirons/start. Both are for those who may start the server, or see it.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated

from flatirons.errors import FlatironsError
from flatirons.servers.start_page import StartPage
from flatirons.spawners.form.waiting_change import NOT_WAITING, WaitingServer
from flatirons.spawners.jupyterhub import compat, compat_starts
from flatirons.spawners.slurm import SlurmSpawner

ALIVE_SECONDS = 5.0
"""After this time without news the stream sends the time; without it pending.js takes the hub for away."""

LIFETIME_SECONDS = 300.0
"""After this time the page opens another stream, which a session that has ended doesn't get."""

NOT_CANCELLED = "The hub can't cancel this at the moment. Please try again in some seconds."

OPTION = "option."
"""What the names of the options in a form of the page begin with."""


class StartHandler(BaseHandler):
    """GET start: the page. POST start: one of its buttons, named in `do`."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """Leads to JupyterHub's page, also those who load the answer of a POST again."""
        await self._get(user_name, server_name or "")

    @needs_scope("servers")
    async def _get(self, user_name: str, server: str) -> None:
        self.redirect(page_of(self, user_name, server))

    @authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """`cancel`, `options` (cancel, then the form), `change` (the waiting job) or `anew` (a new job)."""
        await self._post(user_name, server_name or "")

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner = spawner_named(self, user_name, server)
        do = self.get_body_argument("do", "")
        if do in ("cancel", "options"):
            await self._cancel(spawner, wants_form=do == "options")
        elif do in ("change", "anew") and isinstance(spawner, SlurmSpawner):
            await self._change(spawner, is_anew=do == "anew")
        else:
            raise HTTPError(400, "do: the name of one of the page's buttons is needed")

    async def _cancel(self, spawner: Spawner, *, wants_form: bool) -> None:
        if not await compat_starts.cancel_start(self, spawner):
            await self._show(spawner, NOT_CANCELLED)
            return
        form = with_next(self, url_of(self, "spawn", spawner.user.name, spawner.name))
        leads_to = form if wants_form else url_path_join(self.hub.base_url, "home")
        self.redirect(leads_to, status=303)

    async def _change(self, spawner: SlurmSpawner, *, is_anew: bool) -> None:
        given = {
            name.removeprefix(OPTION): self.get_body_argument(name)
            for name in self.request.body_arguments
            if name.startswith(OPTION)
        }
        waiting = await WaitingServer.of(spawner, fresh=True)
        try:
            if waiting is None:
                raise FlatironsError(NOT_WAITING)
            await (self._start_anew(waiting, given) if is_anew else waiting.change(given))
        except FlatironsError as error:
            self.log.info("The job of %s isn't changed: %s", compat.log_name(spawner), error.detail or error)
            await self._show(spawner, error.user)
        else:
            self.redirect(page_of(self, spawner.user.name, spawner.name), status=303)

    async def _start_anew(self, waiting: WaitingServer, given: dict[str, str]) -> None:
        """Cancels the waiting job and submits another, whose options were checked first."""
        options = await waiting.checked(given)
        user, name = waiting.spawner.user, waiting.spawner.name
        if not await compat_starts.cancel_start(self, waiting.spawner):
            raise FlatironsError(NOT_CANCELLED)
        await compat_starts.start_again(self, compat.spawner_of(user, name), options)

    async def _show(self, spawner: Spawner, problem: str) -> None:
        """The page again, with what is wrong; that of a server that doesn't wait any more leads on."""
        if not compat.is_start_pending(spawner):
            self.redirect(page_of(self, spawner.user.name, spawner.name), status=303)
            return
        self.set_status(409)
        page = await self.render_template(
            "spawn_pending.html", user=spawner.user, spawner=spawner, progress_url="", problem=problem
        )
        self.finish(page)


class SoonerHandler(BaseHandler):
    """GET start/sooner: a fragment with changes that would let the job start sooner; empty without any."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """204 if Slurm can't be asked yet: the page asks again in some seconds."""
        await self._get(user_name, server_name or "")

    @needs_scope("servers")
    async def _get(self, user_name: str, server: str) -> None:
        spawner = spawner_named(self, user_name, server)
        waiting = await WaitingServer.of(spawner) if isinstance(spawner, SlurmSpawner) else None
        self.set_header("Cache-Control", "no-store")
        try:
            changes = await waiting.changes() if waiting else None
        except FlatironsError:  # the job began to run meanwhile
            changes = None
        if changes and changes.is_early:
            self.set_status(204)
            return
        action = url_of(self, "flatirons/start", user_name, server)
        values = {"changes": changes, "action": action, "next": self.get_query_argument("next", "")}
        self.finish(await self.render_template("flatirons_sooner.html", **values) if changes else "")


class StartEvents(APIHandler):
    """GET start as a stream of server-sent events, each a JSON object, until the start has ended.

    All have "now", in seconds since 1970, and "html", what the page shows, if that has changed. The last one
    also has {"ready": true, "url": where the page leads} or {"ended": true}.
    """

    def initialize(self) -> None:
        """Notes when the connection is closed."""
        super().initialize()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def get_content_type(self) -> str:
        """That of server-sent events."""
        return "text/event-stream"

    def on_connection_close(self) -> None:
        """Ends the stream."""
        if not self._closed.done():
            self._closed.set_result(None)

    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        """404 if there is no such server, or if it isn't a Slurm job."""
        spawner = spawner_named(self, user_name, server_name or "")
        if not isinstance(spawner, SlurmSpawner):
            raise HTTPError(404, "This server is not a Slurm job")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep events back
        try:
            await self._send_all(spawner)
        except StreamClosedError:
            return

    async def _send_all(self, spawner: SlurmSpawner) -> None:
        user, name, seen = spawner.user, spawner.name, None
        ends_at = time.monotonic() + LIFETIME_SECONDS
        while not self._closed.done() and time.monotonic() < ends_at:
            spawner = compat.spawner_of(user, name)  # JupyterHub forgets one that has stopped
            change = asyncio.ensure_future(spawner.registry.changes.next(user.name))
            page = spawner.start_page(counts=False)
            now_seen = (page.without_time, spawner.ready, spawner.active)
            event = await self._event(spawner, page) if now_seen != seen else {}
            seen = now_seen
            self.write(f"data: {json.dumps({**event, 'now': time.time()})}\n\n")
            await self.flush()
            if "ready" in event or "ended" in event:
                change.cancel()
                return
            start = compat_starts.start_of(spawner)
            ends: set[asyncio.Future[Any]] = {change, self._closed, *([start] if start else [])}
            await asyncio.wait(ends, timeout=ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()

    async def _event(self, spawner: SlurmSpawner, page: StartPage) -> dict[str, Any]:
        """What is to be shown."""
        viewer, user = self.current_user, spawner.user
        html = await self.render_template(
            "flatirons_start_fragment.html",
            page=page,
            is_own=getattr(viewer, "name", "") == user.name,
            spawn_url=url_of(self, "spawn", user.name, spawner.name),
            report_url=url_of(self, "flatirons/report", user.name, spawner.name),
        )
        if spawner.ready:
            return {"html": html, "ready": True, "url": destination(self, spawner)}
        return {"html": html} if spawner.active else {"html": html, "ended": True}


def spawner_named(handler: BaseHandler, user_name: str, server: str) -> Spawner:
    """The spawner of a server; 404 if there is no such user or server."""
    user = compat.user_named(handler, user_name)
    if user is None or not compat.has_server(user, server):
        raise HTTPError(404, "There is no such server")
    return compat.spawner_of(user, server)


def url_of(handler: BaseHandler, page: str, user_name: str, server: str) -> str:
    """The URL of one of the hub's pages for this server."""
    return str(url_path_join(handler.hub.base_url, page, quote(user_name), quote(server)))


def page_of(handler: BaseHandler, user_name: str, server: str) -> str:
    """The URL of the page of this server's start, which leads where the request says in `next`."""
    return with_next(handler, url_of(handler, "spawn-pending", user_name, server))


def with_next(handler: BaseHandler, url: str) -> str:
    """The URL with the request's `next`."""
    following = handler.get_argument("next", "")
    return str(url_concat(url, {"next": following})) if following else url


def destination(handler: BaseHandler, spawner: Spawner) -> str:
    """Where the page of a start leads when the server is ready: to the server, and in it to `next`."""
    user, own = spawner.user, spawner.user.server_url(spawner.name)
    following = str(handler.get_next_url(user, default=own))
    others = [user.server_url(name) for name in compat.server_names(user) if name != spawner.name]
    is_default_of_viewer = not spawner.name and getattr(handler.current_user, "name", "") == user.name
    redirects = [url_path_join(handler.hub.base_url, "user-redirect/")] if is_default_of_viewer else []
    return following if is_within(following, own, others, handler.hub.base_url, redirects) else str(own)


def is_within(url: str, own: str, others: list[str], hub: str, more: list[str]) -> bool:
    """Is the path of this URL below `own` and not below one of `others`, or below one of `more`?

    The hub answers the same paths below `hub`, for a server that isn't up.
    """
    path = unquote(urlsplit(url).path) + "/"
    if any(path.startswith(each) for each in more):
        return True
    base = hub.removesuffix("hub/")
    path = base + path.removeprefix(hub) if path.startswith(f"{hub}user/") else path
    found = max((each for each in (own, *others) if path.startswith(unquote(each))), key=len, default="")
    return found == own


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    (f"/flatirons/start{_SERVER}", StartHandler),
    (f"/flatirons/sooner{_SERVER}", SoonerHandler),
    (f"/api/flatirons/start{_SERVER}", StartEvents),
]
