"""How to reach a server from elsewhere: {hub}/flatirons/connect/USER/SERVER, and the tokens for that.

The page shows what to paste into an editor, a terminal or a script. A token belongs to the person who makes
it, reaches that one server, and expires. JupyterHub decides who may reach a server (`access:servers`) and who
may make tokens (`tokens`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.connect.archive import NAME, archive
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.jupyterhub.compat_tokens import make_token, revoke_token, tokens_with
from flatirons.spawners.run.server_status import server_status
from flatirons.spawners.slurm import SlurmSpawner
from flatirons.units import time_in_words

CONNECT_PATH, MAKE_PATH, REVOKE_PATH = (f"flatirons/connect{what}" for what in ("", "-token", "-revoke"))
DAY_S = 24 * 3600
LIFETIMES_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
ONCE_COOKIE, ONCE_S = "flatirons-new-token", 60
"""Carries the secret of a new token from the POST to the page that shows it."""
LONGEST_NOTE = 100
LOCAL_PORT = 8888
"""Where the ssh tunnel begins, on the user's own machine."""
SETTINGS_KEY = "flatirons_connect"
"""Under this name JupyterHub.tornado_settings holds the site's ConnectSettings."""


@dataclass(frozen=True, slots=True)
class ConnectSettings:
    """What a site says about connections from elsewhere; see `site.schema.ConnectSection`."""

    longest_token: int = LIFETIMES_S[-1]
    ssh_jump: str | None = None
    ssh_to_nodes: bool = False


class ConnectCall(BaseHandler):
    """What the page and the calls of its forms share."""

    @property
    def options(self) -> ConnectSettings:
        """What the site says."""
        found: ConnectSettings = self.settings.get(SETTINGS_KEY, ConnectSettings())
        return found

    @property
    def lifetimes(self) -> list[int]:
        """The lifetimes that the page offers, in seconds, the shortest first."""
        limits = (self.options.longest_token, self.settings.get("token_expires_in_max_seconds", 0))
        longest = min(filter(None, limits))
        return [each for each in LIFETIMES_S if each <= longest] or [longest]

    def server(self, user_name: str, server_name: str) -> Spawner:
        """The server; 404 if there is no such user or server."""
        user = compat.user_named(self, user_name)
        if user is None or not compat.has_server(user, server_name):
            raise HTTPError(404, "There is no such server")
        return compat.spawner_of(user, server_name)

    def scopes(self, spawner: Spawner) -> list[str]:
        """What a token may do: reach the server, and see whether it runs, if its maker may see that."""
        server = f"{spawner.user.name}/{spawner.name}"
        reading = f"read:servers!server={server}"
        return [f"access:servers!server={server}", *([reading] if self.has_scope(reading) else [])]

    def path(self, path: str, spawner: Spawner) -> str:
        """The URL path of a handler of this module for the server."""
        name = quote(spawner.name, safe="")
        return str(url_path_join(self.hub.base_url, path, spawner.user.escaped_name, name))


class ConnectPage(ConnectCall):
    """GET connect: the page."""

    @authenticated
    async def get(self, user_name: str, server_name: str = "") -> None:
        """Says how to reach the server, shows a token that was just made, and lists those that are alive."""
        await self._get(user_name, server_name or "")

    @needs_scope("access:servers")
    async def _get(self, user_name: str, server_name: str) -> None:
        spawner = self.server(user_name, server_name)
        self.set_header("Cache-Control", "no-store")
        page = await self.render_template(
            "flatirons_connect.html",
            **self._state(spawner),
            server_url=self._public(spawner.user.server_url(server_name)),
            archive_url=self._public(url_path_join(self.hub.base_url, "flatirons", NAME)),
            new_token=self._new_token(spawner),
            tokens=tokens_with(self.current_user, self.scopes(spawner)),
            lifetimes=[(each, time_in_words(each)) for each in self.lifetimes],
            ssh=self._ssh(spawner),
            xsrf=self.xsrf_token.decode("ascii"),
            make_url=self.path(MAKE_PATH, spawner),
            revoke_url=self.path(REVOKE_PATH, spawner),
        )
        self.finish(page)

    def _state(self, spawner: Spawner) -> dict[str, Any]:
        """Which server it is, and what it is doing."""
        user, name, status = spawner.user, quote(spawner.name, safe=""), server_status(spawner)
        left = status.left_seconds()
        return {
            "status": status,
            "left": "" if left is None else time_in_words(left),
            "for_user": user,
            "server_name": spawner.name,
            "title": status.title or spawner.name,
            "is_ready": spawner.ready,
            "is_pending": spawner.active and not spawner.ready,
            "spawn_url": url_path_join(self.hub.base_url, "spawn", user.escaped_name, name),
            "pending_url": url_path_join(self.hub.base_url, "spawn-pending", user.escaped_name, name),
        }

    def _new_token(self, spawner: Spawner) -> str:
        """The secret of the token that the caller has just made, only the first time; else "".

        The browser sends the cookie only to the page of the server that the token is for.
        """
        once = self.get_secure_cookie(ONCE_COOKIE, max_age_days=ONCE_S / DAY_S)
        if once:
            self.clear_cookie(ONCE_COOKIE, path=self.path(CONNECT_PATH, spawner))
        return once.decode("ascii") if once else ""

    def _public(self, url: str) -> str:
        """The whole URL, if it isn't one, as the caller's browser reached this page."""
        return url if "://" in url else f"{self.request.protocol}://{self.request.host}{url}"

    def _ssh(self, spawner: Spawner) -> dict[str, str]:
        """What the page says about ssh: only to the person as whom the server runs."""
        is_own = self.current_user.name == spawner.user.name
        if not (is_own and isinstance(spawner, SlurmSpawner) and spawner.run and spawner.ready):
            return {}
        path = urlsplit(spawner.user.server_url(spawner.name)).path
        return ssh_commands(self.options, spawner.user.name, spawner.run.attempt.host, spawner.url, path)


def ssh_commands(
    options: ConnectSettings, account: str, node: str, server_url: str, path: str
) -> dict[str, str]:
    """The commands for a shell on the node and for a tunnel, and the server's URL at its near end.

    Those that the site doesn't offer are "". `server_url` is where the server listens: with TLS it answers
    only the proxy, so that a tunnel is useless.
    """
    if not options.ssh_jump:
        return {}
    listens = urlsplit(server_url)
    login, there = (f"{shlex.quote(account)}@{host}" for host in (options.ssh_jump, node))
    through = f"-J {login} {there}" if options.ssh_to_nodes else login
    tunnel = f"ssh -N -L {LOCAL_PORT}:{listens.netloc} {through}"
    return {
        "shell": f"ssh {through}" if options.ssh_to_nodes else "",
        "tunnel": "" if listens.scheme == "https" else tunnel,
        "url": f"http://127.0.0.1:{LOCAL_PORT}{path}",
    }


class MakeToken(ConnectCall):
    """POST connect-token: makes a token, and leads back to the page, which shows it once."""

    @authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Takes `seconds`, one of the lifetimes that the page offers, and `note`, what the token is for."""
        await self._post(user_name, server_name or "")

    @needs_scope("access:servers")
    async def _post(self, user_name: str, server_name: str) -> None:
        await self._make(self.current_user.name, self.server(user_name, server_name))

    @needs_scope("tokens")
    async def _make(self, user_name: str, spawner: Spawner) -> None:
        """Makes a token of the caller, whose name is `user_name`."""
        seconds = self.get_body_argument("seconds", str(self.lifetimes[0]))
        if seconds not in map(str, self.lifetimes):
            raise HTTPError(400, "Choose one of the lifetimes that the page offers")
        note = self.get_body_argument("note", "")[:LONGEST_NOTE]
        secret = make_token(self.current_user, self.scopes(spawner), note, int(seconds))
        page = self.path(CONNECT_PATH, spawner)
        is_secure = self.request.protocol == "https"
        self.set_secure_cookie(
            ONCE_COOKIE, secret, expires_days=None, max_age=ONCE_S, path=page, httponly=True, secure=is_secure
        )
        self.redirect(f"{page}#token")


class RevokeToken(ConnectCall):
    """POST connect-revoke: revokes a token that was made on the page."""

    @authenticated
    async def post(self, user_name: str, server_name: str = "") -> None:
        """Takes `key`, the token's; does nothing if there is no such token any more."""
        await self._post(user_name, server_name or "")

    @needs_scope("access:servers")
    async def _post(self, user_name: str, server_name: str) -> None:
        await self._revoke(self.current_user.name, self.server(user_name, server_name))

    @needs_scope("tokens")
    async def _revoke(self, user_name: str, spawner: Spawner) -> None:
        """Revokes a token of the caller, whose name is `user_name`."""
        revoke_token(self.current_user, self.scopes(spawner), self.get_body_argument("key", ""))
        self.redirect(f"{self.path(CONNECT_PATH, spawner)}#tokens")


class Archive(BaseHandler):
    """GET flatirons-connect.pyz: the command `flatirons connect` as one file, for everybody."""

    def get(self) -> None:
        """A file for Python; the browser saves it."""
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f'attachment; filename="{NAME}"')
        self.finish(archive())


_SERVER = "/(?P<user_name>[^/]+)(?:/(?P<server_name>[^/]*))?"
handlers = [
    (f"/{CONNECT_PATH}{_SERVER}", ConnectPage),
    (f"/{MAKE_PATH}{_SERVER}", MakeToken),
    (f"/{REVOKE_PATH}{_SERVER}", RevokeToken),
    (f"/flatirons/{NAME}", Archive),
]
