"""A user of the hub: logs in, posts the form, reads pages, as a browser without JavaScript would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx

from tests.waiting import LIMIT_S, eventually


class Person:
    """One log-in session; `name` is also the password in the virtual cluster."""

    def __init__(self, hub_url: str, name: str) -> None:
        self.name = name
        self.http = httpx.Client(base_url=hub_url, follow_redirects=True, timeout=LIMIT_S)

    def log_in(self) -> Person:
        """Logs in through the page; fails the test when the hub doesn't let us."""
        self.http.get("/hub/login")
        answer = self.http.post("/hub/login", data=self._xsrf({"username": self.name, "password": self.name}))
        assert answer.status_code == 200 and "/login" not in answer.url.path, f"no log-in: {answer}"
        return self

    def _xsrf(self, fields: dict[str, Any]) -> dict[str, Any]:
        cookies = [cookie for cookie in self.http.cookies.jar if cookie.name == "_xsrf"]
        hub = [cookie.value for cookie in cookies if cookie.path.startswith("/hub")]
        return {**fields, "_xsrf": hub[-1] if hub else ""}

    def rest(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A REST call with the session's cookies."""
        token = self._xsrf({})["_xsrf"]
        return self.http.request(method, f"/hub/api{path}", json=body, headers={"X-XSRFToken": token})

    def form(self, server: str = "") -> httpx.Response:
        """The page with the form."""
        return self.http.get(f"/hub/spawn/{self.name}/{server}".rstrip("/"))

    def post_form(self, server: str = "", **options: Any) -> httpx.Response:
        """What the hub answers to the form, redirects not followed."""
        path = f"/hub/spawn/{self.name}/{server}".rstrip("/")
        return self.http.post(path, data=self._xsrf(options), follow_redirects=False)

    def server(self, server: str = "") -> dict[str, Any] | None:
        """The server's model, None when there is none."""
        return self.servers().get(server)

    def servers(self) -> dict[str, dict[str, Any]]:
        """Models of all servers by name, stopped ones too."""
        answer = self.rest("GET", f"/users/{self.name}?include_stopped_servers=true").raise_for_status()
        found: dict[str, dict[str, Any]] = answer.json()["servers"]
        return found

    def path(self, server: str = "") -> str:
        """The REST path of a server."""
        return f"/users/{self.name}/servers/{server}" if server else f"/users/{self.name}/server"

    def start(self, server: str = "", **options: Any) -> httpx.Response:
        """Starts a server by REST."""
        return self.rest("POST", self.path(server), options)

    def wait_ready(self, server: str = "", seconds: float = LIMIT_S) -> dict[str, Any]:
        """The server's model once it is ready; fails with its progress when it isn't in time."""

        def ready() -> dict[str, Any] | None:
            model = self.server(server)
            return model if model and model["ready"] else None

        try:
            return eventually(ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"{server or 'default'} never ready: {self.events(server)}") from error

    def stop(self, server: str = "", seconds: float = LIMIT_S) -> None:
        """Stops the server and waits until it is gone."""
        answer = self.rest("DELETE", self.path(server))
        assert answer.status_code in (202, 204), answer.text
        eventually(lambda: not (self.server(server) or {}).get("pending"), seconds)
        eventually(lambda: not (self.server(server) or {}).get("ready"), seconds)

    def forget_named(self) -> None:
        """Removes the named servers that other tests left, because a user may have only a few."""
        for server in filter(None, self.servers()):
            self.rest("DELETE", self.path(server), {"remove": True})
        eventually(lambda: not any(self.servers()), 60)

    def progress(self, server: str = "") -> Iterator[dict[str, Any]]:
        """The events of a start, until its end."""
        with self.http.stream("GET", f"/hub/api{self.path(server)}/progress", timeout=2 * LIMIT_S) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    yield event
                    if event.get("ready") or event.get("failed"):
                        return

    def events(self, server: str = "") -> list[dict[str, Any]]:
        """All events of a start, waiting for its end."""
        return list(self.progress(server))

    def ask_server(self, path: str, server: str = "") -> httpx.Response:
        """A GET to the notebook server itself, through the proxy; its page does OAuth, its API doesn't."""
        prefix = f"/user/{self.name}/{server}".rstrip("/")
        self.http.get(f"{prefix}/")
        return self.http.get(f"{prefix}/{path}")

    def message_of(self, page: httpx.Response, option: str) -> str:
        """The message next to an option on the page; "" if there is none."""
        found = re.search(rf'id="error-{option}"[^>]*>(.*?)</', page.text, re.DOTALL)
        return found.group(1).strip() if found else ""
