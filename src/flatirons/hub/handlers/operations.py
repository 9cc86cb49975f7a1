"""The state of the hub, for operators: {hub}/flatirons/operations, and as JSON below {hub}/api/."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.web import authenticated

from flatirons.hub.announcements import LONGEST, SETTING, Announcements, zone
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.metrics import RPCS
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry

OPERATIONS_PATH = "flatirons/operations"


def operations(handler: BaseHandler) -> dict[str, Any]:
    """The hub's clusters, its servers, the orphans that it found, newest first, and jobs of other hubs.

    `since` (seconds since 1970) is missing where servers aren't Slurm jobs.
    """
    registry = compat.settings_of_handler(handler).get(SETTINGS_KEY)
    if not isinstance(registry, Registry):
        return {"clusters": [], "servers": [], "orphans": [], "left_alone": []}
    return {
        "since": registry.began_at,
        "clusters": [_cluster(registry, name) for name in registry.clients],
        "servers": [_server(run) for run in registry.runs],
        "orphans": [asdict(orphan) for orphan in reversed(registry.orphans.found)],
        "left_alone": [asdict(job) for job in registry.orphans.left_alone],
    }


def _cluster(registry: Registry[ServerRun], name: str) -> dict[str, Any]:
    watcher, commands = registry.watchers.get(name), registry.metrics.commands(name)
    has_answer = watcher is not None and watcher.snapshot is not None
    error = watcher.last_error if watcher else None
    return {
        "name": name,
        "age_seconds": round(watcher.age, 1) if watcher and has_answer else None,
        "failures": watcher.failures if watcher else 0,
        "trouble": str(error.detail or error) if error else "",
        "commands": commands,
        "rpcs": sum(RPCS.get(command, 0) * count for command, count in commands.items()),
    }


def _server(run: ServerRun) -> dict[str, Any]:
    job = run.job
    return {
        "user": run.user,
        "server": run.spawner.name,
        "cluster": run.attempt.cluster,
        "job_id": run.attempt.job_id,
        "phase": run.phase,
        "state": job.state.value if job else "",
        "reason": job.reason if job else "",
        "node": run.attempt.host or (job.batch_host if job else ""),
        "waited_seconds": run.progress.waited,
    }


async def show_operations(
    handler: BaseHandler, *, typed: Mapping[str, str] | None = None, problem: str = ""
) -> None:
    """Answers with the page; `typed` is an announcement that wasn't stored, because of this `problem`."""
    store = handler.settings.get(SETTING)
    page = await handler.render_template(
        "flatirons_operations.html",
        now=time.time(),
        has_announcements=isinstance(store, Announcements),
        announcements=store.all() if isinstance(store, Announcements) else [],
        longest=LONGEST,
        zone=zone(),
        typed=typed or {"user": handler.get_query_argument("to", "")},
        problem=problem,
        **operations(handler),
    )
    handler.finish(page)


class OperationsPage(BaseHandler):
    """GET operations: the page."""

    @authenticated
    async def get(self) -> None:
        """Clusters, servers and orphans."""
        await self._get()

    @needs_scope("admin:servers")
    async def _get(self) -> None:
        await show_operations(self)


class OperationsApi(APIHandler):
    """GET operations: the same for programs."""

    @needs_scope("admin:servers")
    async def get(self) -> None:
        """What `operations` returns."""
        self.finish(operations(self))


handlers = [
    (f"/{OPERATIONS_PATH}", OperationsPage),
    (f"/api/{OPERATIONS_PATH}", OperationsApi),
]
