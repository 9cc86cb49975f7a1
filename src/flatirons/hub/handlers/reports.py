"""What became of servers, for their users and for operators: {hub}/flatirons/report/USER/SERVER and
{hub}/flatirons/operations; the same as JSON below {hub}/api/."""

from __future__ import annotations

import time
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.servers.report import Report
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.metrics import RPCS
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry


def reports_of(handler: BaseHandler, user_name: str, server_name: str) -> tuple[Spawner, list[Report]]:
    """A server and its reports, newest first; 404 for a user or a server that there isn't."""
    user = compat.user_named(handler, user_name)
    if user is None or not compat.has_server(user, server_name):
        raise HTTPError(404, "There is no such server")
    spawner = compat.spawner_of(user, server_name)
    return spawner, list(getattr(spawner, "reports", ()))


class ReportPage(BaseHandler):
    """GET report: why a server's last runs ended, as a page."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """The newest first, with the way to start again."""
        await self._get(user_name, server_name or "")

    @needs_scope("read:servers")
    async def _get(self, user_name: str, server: str) -> None:
        spawner, reports = reports_of(self, user_name, server)
        page = await self.render_template(
            "flatirons_report.html",
            for_user=spawner.user,
            server_name=server,
            reports=reports,
            spawn_url=url_path_join(self.hub.base_url, "spawn", spawner.user.escaped_name, server),
        )
        self.finish(page)


class ReportApi(APIHandler):
    """GET report: the same for programs."""

    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        """`{"reports": [...]}`, newest first, each as `Report` has it."""
        _, reports = reports_of(self, user_name, server_name or "")
        self.finish({"reports": [report.as_dict() for report in reports]})


def operations(registry: Registry[ServerRun] | None) -> dict[str, Any]:
    """What goes on in this hub: clusters, servers, orphans."""
    if registry is None:
        return {"clusters": [], "servers": [], "orphans": []}
    return {
        "since": registry.began_at,
        "clusters": [_cluster(registry, name) for name in registry.clients],
        "servers": [_server(run) for run in registry.runs],
        "orphans": [
            {name: getattr(each, name) for name in ("at", "cluster", "job_id", "user", "outcome")}
            for each in reversed(registry.orphans.found)
        ],
    }


def _cluster(registry: Registry[ServerRun], name: str) -> dict[str, Any]:
    watcher, commands = registry.watchers.get(name), registry.metrics.commands(name)
    answered = watcher is not None and watcher.snapshot is not None
    return {
        "name": name,
        "age_seconds": round(watcher.age, 1) if watcher and answered else None,
        "failures": watcher.failures if watcher else 0,
        "trouble": str(watcher.last_error.detail or watcher.last_error)
        if watcher and watcher.last_error
        else "",
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


class Operations:
    """Finds the registry of this hub."""

    @property
    def registry(self) -> Registry[ServerRun] | None:
        """None where no server was ever looked at."""
        registry = compat.settings_of_handler(self).get(SETTINGS_KEY)
        return registry if isinstance(registry, Registry) else None


class OperationsPage(Operations, BaseHandler):
    """GET operations: for operators, as a page."""

    @authenticated
    async def get(self) -> None:
        """Clusters, servers and orphans."""
        await self._get()

    @needs_scope("admin:servers")
    async def _get(self) -> None:
        page = await self.render_template(
            "flatirons_operations.html", now=time.time(), **operations(self.registry)
        )
        self.finish(page)


class OperationsApi(Operations, APIHandler):
    """GET operations: for operators' programs."""

    @needs_scope("admin:servers")
    async def get(self) -> None:
        """As `operations` gives it."""
        self.finish(operations(self.registry))


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    (f"/flatirons/report{_SERVER}", ReportPage),
    (f"/api/flatirons/report{_SERVER}", ReportApi),
    ("/flatirons/operations", OperationsPage),
    ("/api/flatirons/operations", OperationsApi),
]
