"""Why servers ended, for their users: {hub}/flatirons/report/USER/SERVER, and as JSON below {hub}/api/."""

from __future__ import annotations

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.servers.report import Report
from flatirons.spawners.jupyterhub import compat


def reports_of(handler: BaseHandler, user_name: str, server_name: str) -> tuple[Spawner, list[Report]]:
    """A server and its reports, newest first; 404 if there is no such user or server."""
    user = compat.user_named(handler, user_name)
    if user is None or not compat.has_server(user, server_name):
        raise HTTPError(404, "There is no such server")
    spawner = compat.spawner_of(user, server_name)
    return spawner, list(getattr(spawner, "reports", ()))


class ReportPage(BaseHandler):
    """GET report: why a server's last runs ended, as a page."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """The newest report first, with a button that starts the server again."""
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
        """`{"reports": [...]}`, newest first, with the fields of `Report`."""
        _, reports = reports_of(self, user_name, server_name or "")
        self.finish({"reports": [report.as_dict() for report in reports]})


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    (f"/flatirons/report{_SERVER}", ReportPage),
    (f"/api/flatirons/report{_SERVER}", ReportApi),
]
