"""All servers of a user, running or not, and how a form ends one, by names that JupyterHub doesn't document.

What `compat` says holds here, too; tests/hub/test_home.py fails when a name has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.slugs import safe_slug
from jupyterhub.spawner import Spawner
from jupyterhub.user import User

from flatirons.spawners.jupyterhub import compat


def live_spawner(user: User, server_name: str) -> Spawner | None:
    """The spawner of a server if JupyterHub has needed it; None for one that doesn't run, mostly."""
    return user.spawners.get(server_name)


def stored_state(user: User, server_name: str) -> Mapping[str, Any]:
    """What the spawner of a server has stored; empty for a server that never ran."""
    row = user.orm_spawners.get(server_name)
    return (row.state if row else None) or {}


def display_name(user: User, server_name: str) -> str:
    """What the user called a server; "" for one without another name."""
    row = user.orm_spawners.get(server_name)
    return str((row.display_name if row else None) or "")


def newest_options(user: User) -> dict[str, Any]:
    """The options of the server that was active last of all that were ever started; {} if none was."""
    started = [row for row in user.orm_spawners.values() if row.user_options]
    newest = max(started, key=lambda row: (row.last_activity is not None, row.last_activity), default=None)
    return dict(newest.user_options) if newest else {}


def slug(text: str) -> str:
    """The name of a server that a user calls `text`; the text itself if JupyterHub accepts it as a name."""
    return text if compat.is_server_name(text) else str(safe_slug(text))


def add_server(user: User, server_name: str, title: str) -> Spawner:
    """The spawner of a server; makes the server if there is none of this name."""
    return user.get_or_create_spawner(server_name, title)


async def named_server_limit(handler: BaseHandler) -> int:
    """How many named servers the user who called may have; 0 or less: as many as they like."""
    return int(await handler.get_current_user_named_server_limit())


def has_page(settings: Mapping[str, Any], path: str) -> bool:
    """Does one of the hub's `extra_handlers` serve URLs below this path?"""
    found = getattr(settings.get("app"), "extra_handlers", ())
    return any(str(handler[0]).startswith(f"{path}/") for handler in found)


def hub_path(settings: Mapping[str, Any]) -> str:
    """The path of the hub's own pages, with a slash at its end."""
    return str(settings["hub"].base_url)


class ServerEndHandler(UserServerAPIHandler):
    """JupyterHub's handler of DELETE for a server, for forms: it cancels a start, or stops the server.

    It shows errors as pages. JupyterHub compares the form's XSRF token. Needless once JupyterHub has a URL
    for forms that stops a server.
    """

    SUPPORTED_METHODS = ("POST",)
    write_error: Callable[..., None] = BaseHandler.write_error
    removes = False
    """Whether the server is deleted, too."""

    def get_content_type(self) -> str:
        """That of pages."""
        return "text/html"

    def check_post_content_type(self) -> bool:
        """True: forms aren't JSON."""
        return True

    def get_json_body(self) -> dict[str, bool]:
        """What a program would send."""
        return {"remove": self.removes}
