"""What a form needs from the hub while a user fills it in: {hub}/flatirons/form, estimate and static/.

The first two serve those who may start the server that the form is for, and start nothing. `static/` serves
the package's own scripts to everybody, without a log-in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from tornado.web import HTTPError, StaticFileHandler, authenticated

from flatirons.forms.page import STATIC
from flatirons.hub.handlers.spawn_page import spawn_page
from flatirons.slurm.estimate import Kind
from flatirons.spawners.form.hooks import ESTIMATE_PATH, FORM_PATH, STATIC_PATH, FormHooks
from flatirons.spawners.form.start_estimate import start_estimate
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.slurm import SlurmSpawner

PAGES = Path(__file__).parent.parent / "static"
"""The scripts and the stylesheet of the hub's pages."""


class FormPage(BaseHandler):
    """What all that is about a form shares: whose form it is, and which values it holds."""

    def spawner_and_hooks(self, user_name: str, server_name: str) -> tuple[Spawner, FormHooks]:
        """The spawner that the form is for, and its hooks; 404 if there is no such user, server or form."""
        user = compat.user_named(self, user_name)
        if user is None:
            raise HTTPError(404, "There is no such user")
        if not compat.has_server(user, server_name):  # opening the page created it; it was deleted since
            raise HTTPError(404, "There is no such server")
        spawner = compat.spawner_of(user, server_name)
        hooks = FormHooks.of(spawner)
        if hooks is None:
            raise HTTPError(404, "This server has no form of this kind")
        return spawner, hooks

    def posted(self) -> dict[str, Any]:
        """The values in the body, by name; 400 if they aren't UTF-8."""
        try:
            return {
                name: [value.decode("utf-8") for value in values]
                for name, values in self.request.body_arguments.items()
            }
        except UnicodeDecodeError:
            raise HTTPError(400, "The form isn't UTF-8 text") from None


class FormCall(FormPage):
    """A call with the values of a form."""

    @authenticated
    async def post(self) -> None:
        """Answers for the server in the query, or else for the caller's default server."""
        user = self.get_query_argument("user", self.current_user.name)
        if not user:
            raise HTTPError(404, "There is no such user")
        await self._post(user, self.get_query_argument("server", ""))

    async def _post(self, user_name: str, server: str) -> None:
        raise NotImplementedError


class FormHandler(FormCall):
    """POST form: the form after a change, as a fragment for htmx or a page without JavaScript."""

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        is_fragment = self.request.headers.get("HX-Request") == "true"
        form = await hooks.changed(spawner, self.posted(), whole=not is_fragment)
        self.set_header("Cache-Control", "no-store")
        self.finish(form if is_fragment else await spawn_page(self, spawner, form))


class EstimateHandler(FormCall):
    """POST estimate: a fragment that says when a job with these options would start.

    It is empty if the options aren't complete or Slurm gives no estimate.
    """

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        if not isinstance(spawner, SlurmSpawner):
            raise HTTPError(404, "This server is not a Slurm job")
        found = await start_estimate(spawner, hooks, self.posted())
        self.set_header("Cache-Control", "no-store")
        if found and found.estimate.kind is Kind.TOO_OFTEN:
            self.set_header("HX-Trigger", "flatirons:again")
            self.set_status(204)  # the page keeps what it shows until then
            return
        self.finish(await self.render_template("flatirons_estimate.html", found=found) if found else "")


class StaticHandler(StaticFileHandler):
    """GET static/FILE or pages/FILE: a script or stylesheet; with `v`, its URL changes with its content."""

    def set_extra_headers(self, path: str) -> None:
        """Lets browsers keep the file if its URL changes with its content."""
        lasting = "public, max-age=31536000, immutable" if "v" in self.request.query_arguments else "no-cache"
        self.set_header("Cache-Control", lasting)


handlers = [
    (f"/{FORM_PATH}", FormHandler),
    (f"/{ESTIMATE_PATH}", EstimateHandler),
    (f"/{STATIC_PATH}([A-Za-z.]+)", StaticHandler, {"path": str(STATIC)}),
    ("/flatirons/pages/([A-Za-z_.]+)", StaticHandler, {"path": str(PAGES)}),
]
