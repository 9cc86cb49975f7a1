"""A hub, its proxy and alice's servers in one tornado application on a real port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

TOKEN = "the-token-of-the-hub"
READY, PENDING, STOPPED = (
    {"ready": True, "pending": None},
    {"ready": False, "pending": "spawn"},
    {"ready": False, "pending": None},
)


class PlainServer(HTTPServer):
    """A server without the limits that a hub in this process sets for every HTTPServer."""


class FakeHub:
    """What the hub knows; tests change it. `requests` are those that came to the server."""

    def __init__(self) -> None:
        self.prefix = "/"
        self.token = TOKEN
        self.scopes = ["access:servers!server=alice/gpu", "read:servers!server=alice/gpu"]
        self.servers: dict[str, dict[str, Any]] = {"gpu": dict(READY)}
        self.requests: list[RequestHandler] = []
        self.connections: set[object] = set()
        self.socket_closed = asyncio.Event()
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{self.prefix}"

    @asynccontextmanager
    async def running(self, port: int = 0, **tls: Any) -> AsyncIterator[FakeHub]:
        server = PlainServer(self._application(), max_buffer_size=50_000_000, **tls)
        if port:
            server.listen(port, "127.0.0.1")
        else:
            sock, self.port = bind_unused_port()
            server.add_socket(sock)
        self.scheme = "https" if tls else "http"
        try:
            yield self
        finally:
            server.stop()
            await server.close_all_connections()

    def _application(self) -> Application:
        base, server = self.prefix, f"{self.prefix}user/alice/gpu"
        known = {"hub": self}
        return Application(
            [
                (f"{base}hub/api/user", Me, known),
                (f"{base}hub/api/users/([^/]+)", Somebody, known),
                (f"{server}/channels", Channels, known),
                (f"{server}/away", Away, known),
                (f"{server}/chunks", Chunks, known),
                (f"{server}/cut", Cut, known),
                (f"{server}/empty", Empty, known),
                (f"{server}/(.*)", Echo, known),
            ]
        )


class Asked(RequestHandler):
    """A request that must show the token."""

    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"token {self.hub.token}":
            raise HTTPError(403)


class Me(Asked):
    def get(self) -> None:
        self.finish({"name": "alice", "scopes": self.hub.scopes})


class Somebody(Asked):
    def get(self, name: str) -> None:
        url = f"{self.hub.prefix}user/{name}"
        models = {
            key: {**model, "url": f"{url}/{key}/" if key else f"{url}/"}
            for key, model in self.hub.servers.items()
        }
        self.finish({"name": name, "servers": models})


class OfServer(Asked):
    """A request to the server, which the hub answers while it doesn't run, and which records it."""

    def prepare(self) -> None:
        if not self.hub.servers["gpu"]["ready"]:
            raise HTTPError(503)
        super().prepare()
        self.hub.requests.append(self)
        self.hub.connections.add(id(self.request.connection.stream))


class Echo(OfServer):
    """Answers with the request, and with headers that a browser must not get."""

    def _answer(self, path: str) -> None:
        self.set_header("Set-Cookie", "_xsrf=of-the-server; Path=/")
        self.set_header("Strict-Transport-Security", "max-age=1")
        self.set_header("X-Method", self.request.method)
        self.set_header("X-Path", self.request.uri)
        self.finish(self.request.body)

    get = post = put = delete = patch = head = _answer


class Away(OfServer):
    """Leads where the query says."""

    def get(self) -> None:
        self.redirect(self.get_query_argument("to"))


class Chunks(OfServer):
    """Answers in chunks, as often as the query says."""

    async def get(self) -> None:
        for number in range(int(self.get_query_argument("count"))):
            self.write(f"{number}\n" * 100)
            await self.flush()


class Cut(OfServer):
    """Announces more than it sends, and closes the connection."""

    async def get(self) -> None:
        stream = self.detach()
        try:
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        except StreamClosedError:
            return
        stream.close()


class Empty(OfServer):
    def get(self) -> None:
        self.set_status(204)


class Channels(WebSocketHandler):
    """A kernel's websocket: sends back what it gets."""

    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"token {self.hub.token}":
            raise HTTPError(403)

    def get_compression_options(self) -> dict[str, Any]:
        return {}

    def open(self) -> None:
        self.write_message(json.dumps({"headers": sorted(self.request.headers), "uri": self.request.uri}))

    def on_message(self, message: str | bytes) -> None:
        if message == "close":
            self.close(4001, "as asked")
            return
        self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.hub.socket_closed.set()
