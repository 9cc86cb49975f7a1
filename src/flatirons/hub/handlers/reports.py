"""Why servers ended, for their users: {hub}/flatirons/report/USER/SERVER, and as JSON below {hub}/api/.

Whoever may start the server can dismiss its reports, which takes them off Home: a form posts to the page's
own URL, a program sends DELETE. With `job`, only the report of that job and older ones are dismissed.
"""

from __future__ import annotations

from urllib.parse import quote

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.servers.report import Report
from flatirons.spawners.jupyterhub import compat

MOST_DIGITS = 18
"""Of the number of a job."""


def reports_of(handler: BaseHandler, user_name: str, server_name: str) -> tuple[Spawner, list[Report]]:
    """A server and its reports, newest first; 404 if there is no such user or server."""
    user = compat.user_named(handler, user_name)
    if user is None or not compat.has_server(user, server_name):
        raise HTTPError(404, "There is no such server")
    spawner = compat.spawner_of(user, server_name)
    return spawner, list(getattr(spawner, "reports", ()))


async def dismiss(handler: BaseHandler, user_name: str, server_name: str) -> None:
    """Dismisses what the request names; 404 as for `reports_of`, 400 for a `job` that isn't a number."""
    job = handler.get_argument("job", "")
    if job and not (job.isascii() and job.isdecimal() and len(job) <= MOST_DIGITS):
        raise HTTPError(400, "job: the number of a job is needed")
    spawner, reports = reports_of(handler, user_name, server_name)
    if reports:
        await spawner.dismiss_reports(int(job) if job else None)


class ReportPage(BaseHandler):
    """GET report: why a server's last runs ended, as a page. POST: dismisses them."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """The newest report first, with a button that starts the server again."""
        await self._get(user_name, server_name or "")

    @needs_scope("read:servers")
    async def _get(self, user_name: str, server: str) -> None:
        spawner, reports = reports_of(self, user_name, server)
        user, hub = spawner.user, self.hub.base_url
        path = url_path_join(user.escaped_name, quote(server, safe=""))
        may_start = self.has_scope(f"servers!server={user.name}/{server}")
        page = await self.render_template(
            "flatirons_report.html",
            for_user=user,
            server_title=(spawner.display_name or server) if server else "",
            reports=reports,
            is_active=spawner.active,
            server_url=user.server_url(server) if spawner.ready else f"{hub}spawn-pending/{path}",
            server={
                "spawn": f"{hub}spawn/{path}",
                "report": f"{hub}flatirons/report/{path}",
                "xsrf": self.xsrf_token.decode("ascii"),
                "can_start": may_start and not spawner.active,
            },
        )
        self.finish(page)

    @authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Dismisses the reports, and leads to `next` of the form, or to Home."""
        await self._post(user_name, server_name or "")

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        await dismiss(self, user_name, server)
        home = url_path_join(self.hub.base_url, "home")
        self.redirect(self.get_next_url(self.current_user, default=home), status=303)


class ReportApi(APIHandler):
    """GET report: the same for programs. DELETE: dismisses the reports, which GET still returns."""

    @needs_scope("read:servers")
    async def get(self, user_name: str, server_name: str = "") -> None:
        """`{"reports": [...]}`, newest first, with the fields of `Report`."""
        _, reports = reports_of(self, user_name, server_name or "")
        self.finish({"reports": [report.as_dict() for report in reports]})

    @needs_scope("servers")
    async def delete(self, user_name: str, server_name: str = "") -> None:
        """204."""
        await dismiss(self, user_name, server_name or "")
        self.set_status(204)


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    (f"/flatirons/report{_SERVER}", ReportPage),
    (f"/api/flatirons/report{_SERVER}", ReportApi),
]
