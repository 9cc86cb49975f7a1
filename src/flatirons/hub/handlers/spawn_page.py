"""JupyterHub's page with the form, which also says what to do with its choices while the server runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from urllib.parse import quote

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat

from flatirons.spawners.form.hooks import BESIDE_PATH
from flatirons.spawners.jupyterhub import compat


@dataclass(frozen=True, slots=True)
class Beside:
    """A server that isn't stopped, and how the choices of its form can be started nevertheless.

    `url` leads to the server or to its progress. `can_add`: the user may start another server, for which
    `name` is proposed; `message` says what is wrong with it.
    """

    server: str
    url: str
    is_starting: bool
    is_stopping: bool
    can_add: bool
    name: str
    message: str = ""

    @classmethod
    async def of(cls, handler: BaseHandler, spawner: Spawner, name: str, message: str) -> Beside:
        """What the page says of this server."""
        user, pages = spawner.user, url_path_join(handler.hub.base_url, "spawn-pending")
        asked = handler.get_query_argument("next", "")
        running = handler.get_next_url(user) if asked else user.server_url(spawner.name)
        pending = url_path_join(pages, user.escaped_name, spawner.name)
        free = free_name(spawner)
        return cls(
            spawner.name,
            running if spawner.ready else pending,
            compat.is_start_pending(spawner),
            compat.is_stop_pending(spawner),
            compat.has_server(user, free) or await compat.may_add_server(handler, user),
            name or free,
            message,
        )


def free_name(spawner: Spawner) -> str:
    """A name for one more server of the user: "server-2", or the next one that doesn't run."""
    names = (f"server-{number}" for number in count(2))
    return next(name for name in names if not compat.is_active(spawner.user, name))


async def spawn_page(
    handler: BaseHandler, spawner: Spawner, form: str, *, name: str = "", message: str = ""
) -> str:
    """The page with this form; `name` and `message` are about the name of another server."""
    where = url_path_join(handler.hub.base_url, "spawn", spawner.user.escaped_name, quote(spawner.name))
    beside = None
    if spawner.active:
        beside = await Beside.of(handler, spawner, name, message)
        query = {"user": spawner.user.name, "server": spawner.name}
        if following := handler.get_query_argument("next", ""):
            query["next"] = following
        where = url_concat(url_path_join(handler.hub.base_url, BESIDE_PATH, "start"), query)
    page: str = await handler.render_template(
        "spawn.html",
        for_user=spawner.user,
        auth_state=await spawner.user.get_auth_state(),
        spawner_options_form=form,
        error_message="",
        html_error_message="",
        url=url_concat(where, {"_xsrf": handler.xsrf_token.decode("ascii")}),
        spawner=spawner,
        beside=beside,
    )
    return page
