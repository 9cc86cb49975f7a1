"""A whole hub inside the test's process, and a visitor who reads its pages."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from jupyterhub import app
from jupyterhub.httpclient import JupyterHubHTTPClient
from jupyterhub.proxy import Proxy
from jupyterhub.utils import random_port
from traitlets.config import Config

PATIENCE_S = 100
"""How long a start may take before JupyterHub answers without its end, or gives it up."""


class NoProxy(Proxy):  # type: ignore[misc]
    """A proxy that has all routes and no process."""

    should_start = False

    async def add_route(self, routespec: str, target: str, data: Any) -> None:
        self.routes = {**getattr(self, "routes", {}), routespec: {"target": target, "data": data}}

    async def delete_route(self, routespec: str) -> None:
        getattr(self, "routes", {}).pop(routespec, None)

    async def get_all_routes(self) -> dict[str, Any]:
        return dict(getattr(self, "routes", {}))


class JupyterHub(app.JupyterHub):  # type: ignore[misc]
    """A hub inside this process."""

    def init_signal(self) -> None:
        """Does nothing: pytest handles the signals."""


def configuration(**more: Any) -> Config:
    """A hub without a database on disk, which accepts any user and password, and runs no proxy."""
    port, config = random_port(), Config()
    config.JupyterHub.update(
        bind_url=f"http://127.0.0.1:{port}/",
        hub_bind_url=f"http://127.0.0.1:{port}",
        db_url="sqlite:///:memory:",
        cookie_secret=b"x" * 32,
        pid_file="",
        proxy_class=NoProxy,
        authenticator_class="dummy",
        log_level="ERROR",
        tornado_settings={"slow_spawn_timeout": PATIENCE_S},
        **more,
    )
    config.Authenticator.allow_all = True
    config.Spawner.start_timeout = config.Spawner.http_timeout = PATIENCE_S
    return config


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[JupyterHub]:
    """The hub, from its start to its end."""
    JupyterHubHTTPClient.clear_instance()  # of an earlier event loop; this hub would close that one
    hub = JupyterHub.instance(config=config)
    await hub.initialize([])
    await hub.start()
    try:
        yield hub
    finally:
        for callback in hub._periodic_callbacks.values():
            callback.stop()
        hub.metrics_collector.stop()
        await hub.cleanup()
        hub.http_server.stop()
        await JupyterHubHTTPClient.loop_instance().close()  # which remaining tasks may have opened again
        JupyterHub.clear_instance()


class Visitor:
    """Somebody with a browser without JavaScript, logged in."""

    def __init__(self, hub: JupyterHub, name: str) -> None:
        self.hub, self.name = hub, name
        url = hub.hub.bind_url.rstrip("/").removesuffix("/hub")
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE_S)

    @property
    def xsrf(self) -> str:
        return [cookie.value for cookie in self.http.cookies.jar if cookie.name == "_xsrf"][-1] or ""

    async def log_in(self) -> Visitor:
        await self.http.get("/hub/login")
        answer = await self.http.post(
            "/hub/login", data={"username": self.name, "password": "any", "_xsrf": self.xsrf}
        )
        assert answer.status_code == 302, answer.text
        await self.page()
        return self

    async def page(self, server: str = "", query: str = "") -> httpx.Response:
        return await self.http.get(f"/hub/spawn/{self.name}/{server}".rstrip("/") + query)

    async def post(self, body: Any, server: str = "", query: str = "") -> httpx.Response:
        path = f"/hub/spawn/{self.name}/{server}".rstrip("/") + query
        pairs = [*(body.items() if isinstance(body, dict) else body), ("_xsrf", self.xsrf)]
        return await self.http.post(path, files=[(key, (None, text)) for key, text in pairs])

    async def rest(self, body: Any, server: str = "") -> httpx.Response:
        where = f"servers/{server}" if server else "server"
        return await self.http.post(
            f"/hub/api/users/{self.name}/{where}",
            content=body if isinstance(body, bytes) else json.dumps(body),
            headers={"X-XSRFToken": self.xsrf},
        )

    def spawner(self, server: str = "") -> Any:
        return self.hub.users[self.name].spawners[server]

    def has_started_nothing(self) -> bool:
        return not any(spawner.active for spawner in self.hub.users[self.name].spawners.values())


def message(page: httpx.Response, option: str) -> str:
    found = re.search(rf'id="error-{option}"[^>]*>(.*?)</div>', page.text, re.DOTALL)
    return found[1] if found else ""


def value(page: httpx.Response, option: str) -> str:
    found = re.search(rf'<input[^>]*id="option-{option}"[^>]* value="([^"]*)"', page.text)
    return found[1] if found else ""


def selected(page: httpx.Response, option: str) -> str:
    inside = re.search(rf'<select[^>]*id="option-{option}".*?</select>', page.text, re.DOTALL)
    found = re.search(r'value="([^"]*)" selected', inside[0]) if inside else None
    return found[1] if found else ""
