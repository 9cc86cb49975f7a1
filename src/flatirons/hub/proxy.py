"""The proxy as the hub uses it: routes that come back soon, and that end where a server's page is the hub's.

JupyterHub compares the proxy's routes with its servers when it also asks the proxy who was active. That is
seldom, because it costs database queries for each server. The comparison alone is cheap.

A route matches by prefix. So while a user's default server runs, its route /user/NAME/ catches the paths of a
named server that doesn't run, /user/NAME/SERVER/, and Jupyter answers them with a bare 404. Each such named
server therefore has a route to the hub, its *page*, whose handlers know why the server doesn't run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.ioloop import PeriodicCallback
from traitlets import Bool

from flatirons.spawners.jupyterhub import compat

SECONDS_BETWEEN_COMPARISONS = 20
SECONDS_BEFORE_REMINDER = 1

PAGE = "flatirons_page"
"""The key in the data of a route to the hub for a named server that doesn't run."""

HOST = "flatirons_host"
"""The key in the data of a route whose target has the name of a certificate: the host that it stands for."""

PATHS_OF_JUPYTER = {
    *(
        "api",
        "custom",
        "doc",
        "edit",
        "files",
        "hub",
        "kernelspecs",
        "lab",
        "login",
        "logout",
        "lsp",
        "metrics",
    ),
    *("nbconvert", "nbextensions", "notebooks", "proxy", "services", "static", "terminals", "tree", "view"),
}
"""First parts of paths that a default server needs itself; a named server of that name gets no page."""


def needs_page(user: Any, server_name: str) -> bool:
    """Would the user's default server answer for this named one while that doesn't run?"""
    return bool(server_name) and server_name not in PATHS_OF_JUPYTER and compat.is_active(user, "")


def pages(user: Any) -> Iterator[str]:
    """The names of the user's servers that don't run and need a page."""
    for name in compat.server_names(user) if compat.is_active(user, "") else ():
        if needs_page(user, name) and not compat.is_routed(user, name):
            yield name


def by_certificate(target: str, data: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Target and data of a server's route, with the name in its certificate for its host.

    Only proxy_routes.cjs understands them. A server of an older version has no such name.
    """
    url = urlsplit(target)
    if not name or url.scheme != "https":
        return target, data
    return f"https://{name}:{url.port}", {**data, HOST: url.hostname}


def by_host(route: dict[str, Any]) -> dict[str, Any]:
    """The route as JupyterHub knows it: its target has the server's host."""
    host = route.get("data", {}).get(HOST, "")
    if not host:
        return route
    url = urlsplit(route["target"])
    shown = f"[{host}]" if ":" in host else host
    return {**route, "target": f"{url.scheme}://{shown}:{url.port}"}


class WatchedProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, whose routes are compared often, from the hub's first comparison on."""

    checks_servers = Bool(
        False,
        config=True,
        help="Whether the proxy runs with `--storage-backend=proxy_routes.cjs`. Then it accepts, for the "
        "route of a server, only the certificate of that very server.",
    )

    _comparisons: PeriodicCallback | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pages: set[str] = set()  # the pages among the proxy's routes, as far as is known
        self._removed: set[str] = set()  # routes that the proxy hasn't any more
        self._adding: set[asyncio.Task[None]] = set()
        self._servers: dict[str, tuple[str, str]] = {}  # the user and the server that a route is for

    # -- servers that come and go

    async def add_route(self, routespec: str, target: str, data: Any) -> None:
        """Adds a route. With that of a default server come the pages of its user's other servers."""
        owner, name = data.get("user"), data.get("server_name", "")
        user = compat.user_of_hub(self.app, owner) if owner else None
        if user is not None and self.checks_servers:
            target, data = by_certificate(target, data, getattr(user.spawners[name], "certificate_name", ""))
        self._removed.discard(routespec)
        await super().add_route(routespec, target, data)
        self._pages.discard(routespec)
        if user is None:
            return
        self._servers[routespec] = (owner, name)
        spawner = user.spawners[name]
        if getattr(spawner, "has_ended", False):  # a SlurmSpawner knows that before JupyterHub does
            await self.delete_route(routespec)
        elif not name:
            await asyncio.gather(*(self._add_page(user, other) for other in pages(user)))

    async def delete_route(self, routespec: str) -> None:
        """Removes a route. If the server is one that needs a page, that takes its place in one step."""
        owner, name = self._servers.get(routespec, ("", ""))
        user = compat.user_of_hub(self.app, owner) if name else None
        if user is not None and needs_page(user, name):
            await self._add_page(user, name)
        else:
            await self._forget_route(routespec)

    async def _forget_route(self, routespec: str) -> None:
        self._servers.pop(routespec, None)
        self._pages.discard(routespec)
        if (
            routespec not in self._removed
        ):  # else the proxy would answer 404, which JupyterHub logs as an error
            await super().delete_route(routespec)
            self._removed.add(routespec)

    def add_page(self, user: Any, server_name: str) -> None:
        """Lets the hub answer for a named server that doesn't run, if the default server would otherwise.

        Nobody has to wait for it: if the proxy doesn't answer, the next comparison adds the page.
        """
        if needs_page(user, server_name):
            adding = asyncio.ensure_future(self._try_to_add_page(user, server_name))
            self._adding.add(adding)
            adding.add_done_callback(self._adding.discard)

    async def _try_to_add_page(self, user: Any, server_name: str) -> None:
        with contextlib.suppress(TimeoutError):
            await self._add_page(user, server_name)

    async def _add_page(self, user: Any, server_name: str) -> None:
        routespec = compat.route_of(user, server_name)
        self._servers[routespec] = (user.name, server_name)
        self._removed.discard(routespec)
        await super().add_route(routespec, self.hub.host, {PAGE: True})
        self._pages.add(routespec)

    # -- the comparison

    async def get_all_routes(self) -> Any:
        """The proxy's routes without pages. If it doesn't answer soon, the log says how to start it.

        JupyterHub asks for them first when it starts. Without a proxy it would only log that it retries, and
        end with a traceback.
        """
        loop = asyncio.get_running_loop()
        reminder = loop.call_later(SECONDS_BEFORE_REMINDER, self._log_how_to_start)
        try:
            routes = await super().get_all_routes()
            self._removed -= routes.keys()
        finally:
            reminder.cancel()
        self._pages = {path for path, route in routes.items() if PAGE in route.get("data", {})}
        others = {path: by_host(route) for path, route in routes.items() if path not in self._pages}
        self._servers |= {
            path: (route["data"]["user"], route["data"].get("server_name", ""))
            for path, route in others.items()
            if "user" in route.get("data", {})
        }
        return others

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compares all routes with all servers and services, and corrects those that differ."""
        await super().check_routes(user_dict, service_dict, routes)
        await self._check_pages(list(user_dict.values()))
        if self._comparisons is None:
            compare = partial(self.compare, user_dict, service_dict)
            self._comparisons = PeriodicCallback(compare, 1000 * SECONDS_BETWEEN_COMPARISONS)
            self._comparisons.start()

    async def _check_pages(self, users: list[Any]) -> None:
        wanted = {compat.route_of(user, name): (user, name) for user in users for name in pages(user)}
        routed = {
            compat.route_of(user, name)
            for user in users
            for name in list(user.spawners)
            if compat.is_routed(user, name)
        }
        await asyncio.gather(
            *(self._add_page(*server) for route, server in wanted.items() if route not in self._pages),
            *(self._forget_route(route) for route in self._pages - wanted.keys() - routed),
        )

    async def compare(self, user_dict: Any, service_dict: Any) -> None:
        """Calls `check_routes`, and ignores a proxy that doesn't answer: the next comparison is soon."""
        with contextlib.suppress(TimeoutError):
            await self.check_routes(user_dict, service_dict)

    def _log_how_to_start(self) -> None:
        if not self.should_start:  # else the hub starts it, and says so
            command = "`systemctl start flatirons-proxy` or `flatirons proxy`"
            self.log.error(
                "The proxy doesn't answer at %s. If it isn't running, start it: %s", self.api_url, command
            )
