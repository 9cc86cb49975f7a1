"""What a form asks the hub while somebody fills it in: {hub}/flatirons/form, estimate, static.

They answer to whoever may start the server that the form is for, and start nothing. `static/` holds the
package's own scripts, the same for everybody, and needs no log-in.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat
from tornado.web import HTTPError, StaticFileHandler, authenticated

from flatirons.forms.page import STATIC
from flatirons.slurm.estimate import Kind
from flatirons.spawners.form.hooks import ESTIMATE_PATH, FORM_PATH, STATIC_PATH, FormHooks
from flatirons.spawners.form.start_estimate import start_estimate
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.slurm import SlurmSpawner

A_YEAR = 365 * 24 * 3600


class FillingIn(BaseHandler):
    """What the two calls of a form share: whose form it is, and what it holds."""

    def spawner_and_hooks(self, user_name: str, server_name: str) -> tuple[Spawner, FormHooks]:
        """The spawner that the form is for; 404 for a user, a server or a form that there isn't."""
        user = compat.user_named(self, user_name)
        if user is None:
            raise HTTPError(404, "There is no such user")
        if not compat.has_server(user, server_name):  # the page made it, or it is deleted again
            raise HTTPError(404, "There is no such server")
        spawner = compat.spawner_of(user, server_name)
        hooks = FormHooks.of(spawner)
        if hooks is None:
            raise HTTPError(404, "This server has no form of this kind")
        return spawner, hooks

    def posted(self) -> dict[str, Any]:
        """The body's values by name; 400 for text that isn't UTF-8."""
        try:
            return {
                name: [value.decode("utf-8") for value in values]
                for name, values in self.request.body_arguments.items()
            }
        except UnicodeDecodeError:
            raise HTTPError(400, "The form isn't UTF-8 text") from None

    @authenticated
    async def post(self) -> None:
        """Answers for the server that the URL names, the caller's own default server when it names none."""
        user = self.get_query_argument("user", self.current_user.name)
        if not user:
            raise HTTPError(404, "There is no such user")
        await self._post(user, self.get_query_argument("server", ""))

    async def _post(self, user_name: str, server: str) -> None:
        raise NotImplementedError


class FormHandler(FillingIn):
    """POST form: the form as it stands after a change.

    A fragment for htmx, a page for a browser without JavaScript.
    """

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        is_fragment = self.request.headers.get("HX-Request") == "true"
        form = await hooks.changed(spawner, self.posted(), whole=not is_fragment)
        self.set_header("Cache-Control", "no-store")
        self.finish(form if is_fragment else await self._page(spawner, form))

    async def _page(self, spawner: Spawner, form: str) -> str:
        where = url_path_join(self.hub.base_url, "spawn", spawner.user.escaped_name, spawner.name)
        page: str = await self.render_template(
            "spawn.html",
            for_user=spawner.user,
            auth_state=await spawner.user.get_auth_state(),
            spawner_options_form=form,
            error_message="",
            html_error_message="",
            url=url_concat(where, {"_xsrf": self.xsrf_token.decode("ascii")}),
            spawner=spawner,
        )
        return page


class EstimateHandler(FillingIn):
    """POST estimate: when a job with these options would start.

    A fragment; empty when the options aren't complete, or nobody can tell.
    """

    @needs_scope("servers")
    async def _post(self, user_name: str, server: str) -> None:
        spawner, hooks = self.spawner_and_hooks(user_name, server)
        if not isinstance(spawner, SlurmSpawner):
            raise HTTPError(404, "This server is no job of Slurm's")
        found = await start_estimate(spawner, hooks, self.posted())
        self.set_header("Cache-Control", "no-store")
        if found and found.estimate.kind is Kind.TOO_OFTEN:
            self.set_header("HX-Trigger", "flatirons:again")
            self.set_status(204)  # what the page says stays until then
            return
        self.finish(await self.render_template("flatirons_estimate.html", found=found) if found else "")


class StaticHandler(StaticFileHandler):
    """GET static/FILE: a script of the form; its URL changes when it does."""

    def set_extra_headers(self, path: str) -> None:
        """Browsers may keep it."""
        self.set_header("Cache-Control", f"public, max-age={A_YEAR}, immutable")


handlers = [
    (f"/{FORM_PATH}", FormHandler),
    (f"/{ESTIMATE_PATH}", EstimateHandler),
    (f"/{STATIC_PATH}([A-Za-z.]+)", StaticHandler, {"path": str(STATIC)}),
]
