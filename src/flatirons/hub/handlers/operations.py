"""The state of the hub, for operators: {hub}/flatirons/operations, and as JSON below {hub}/api/.

Opening the page asks Slurm nothing. Its buttons do what JupyterHub's REST API does, with the same scopes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.web import HTTPError, authenticated

from flatirons.hub.announcements import LONGEST, SETTING, Announcements, zone
from flatirons.hub.handlers.previous_page import previous_page
from flatirons.hub.operations import overview
from flatirons.hub.operations.rows import ServerFilter, Table, rows_of
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.units import time_in_words

OPERATIONS_PATH = "flatirons/operations"
NOTHING: Mapping[str, Any] = {"clusters": [], "servers": [], "orphans": [], "left_alone": [], "failures": []}
"""What a hub has whose servers aren't Slurm jobs."""


def registry_of(handler: BaseHandler) -> Registry[ServerRun] | None:
    """What the servers of the hub share; None where they aren't Slurm jobs."""
    registry = compat.settings_of_handler(handler).get(SETTINGS_KEY)
    return registry if isinstance(registry, Registry) else None


async def show_operations(
    handler: BaseHandler, *, typed: Mapping[str, str] | None = None, problem: str = ""
) -> None:
    """Answers with the page; `typed` is an announcement that wasn't stored, because of this `problem`."""
    registry, store = registry_of(handler), handler.settings.get(SETTING)
    query = {name: handler.get_query_argument(name, "") for name in handler.request.query_arguments}
    shown: dict[str, Any] = dict(NOTHING)
    if registry:
        shown = {
            "since": registry.began_at,
            "clusters": overview.clusters(registry),
            "charts": overview.charts(registry),
            "failures": overview.failures(registry.metrics.history),
            "orphans": list(reversed(registry.orphans.found)),
            "left_alone": registry.orphans.left_alone,
        }
    page = await handler.render_template(
        "flatirons_operations.html",
        now=time.time(),
        words=time_in_words,
        may_open=handler.has_scope("access:servers"),
        may_stop=handler.has_scope("delete:servers"),
        table=Table.of(rows_of(registry.runs) if registry else [], ServerFilter.of(query)),
        has_announcements=isinstance(store, Announcements),
        announcements=store.all() if isinstance(store, Announcements) else [],
        longest=LONGEST,
        zone=zone(),
        typed=typed or {"user": handler.get_query_argument("to", "")},
        problem=problem,
        **shown,
    )
    handler.finish(page)


class OperationsPage(BaseHandler):
    """GET operations: the page."""

    @authenticated
    async def get(self) -> None:
        """The servers that the query asks for, clusters, failures, orphans and announcements."""
        await self._get()

    @needs_scope("admin:servers")
    async def _get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        await show_operations(self)


class OperationsApi(APIHandler):
    """GET operations: the same for programs."""

    @needs_scope("admin:servers")
    async def get(self) -> None:
        """What `overview.as_json` returns, and all announcements.

        `since` and `history` are missing where servers aren't Slurm jobs.
        """
        registry, store = registry_of(self), self.settings.get(SETTING)
        announcements = store.all() if isinstance(store, Announcements) else []
        known = overview.as_json(registry) if registry else NOTHING
        self.finish({**known, "announcements": [asdict(each) for each in announcements]})


class StopServer(BaseHandler):
    """POST operations/stop: a button in the table of servers."""

    @authenticated
    async def post(self) -> None:
        """Stops the server in the body, or cancels its start, and leads back to the page."""
        await self._post(self.get_body_argument("user"), self.get_body_argument("server", ""))

    @needs_scope("delete:servers")
    async def _post(self, user_name: str, server_name: str) -> None:
        user = compat.user_named(self, user_name)
        if user is None or not compat.has_server(user, server_name):
            raise HTTPError(404, "There is no such server")
        spawner = compat.spawner_of(user, server_name)
        self.log.info("%s stops %s", self.current_user.name, compat.log_name(spawner))
        if not await compat.end_server(self, spawner):
            raise HTTPError(409, "This server can't be stopped at the moment. Try again in a minute.")
        self.redirect(previous_page(self, OPERATIONS_PATH))


handlers = [
    (f"/{OPERATIONS_PATH}", OperationsPage),
    (f"/{OPERATIONS_PATH}/stop", StopServer),
    (f"/api/{OPERATIONS_PATH}", OperationsApi),
]
