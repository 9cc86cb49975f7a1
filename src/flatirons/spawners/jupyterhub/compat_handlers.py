"""What Flatirons changes in JupyterHub's own handling of requests, which has no hook for it (6.1).

Like `compat`, it uses names that JupyterHub doesn't document; tests/hub/test_request_bodies.py and
tests/hub/test_spawn_page.py fail when one is gone. Three changes:

- JupyterHub's REST handlers store the options of a body, as the default for later starts, before any hook of
  the spawner sees them. `judge_before_storing` has them judged first. Needless once JupyterHub calls
  `apply_user_options` before it commits.
- Tornado reads bodies of up to 100 MB into memory, and it and JupyterHub parse them, which stops the hub for
  seconds: the time grows with the size, and with the number of values even more. `refuse_large_bodies`
  answers 413 instead, and discards the body as it comes in.
- JupyterHub's page with the form leads to the server while that runs, and drops the options of a link.
  `keep_links` leads to a page that shows them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import HTTPError

from flatirons.errors import quoted
from flatirons.spawners.jupyterhub import compat

LARGEST_BODY = 4 << 20
MOST_PARTS = 100_000
TOO_LARGE = (
    "This request is too large: a body may have at most 4 MiB and 100,000 values. "
    "Nothing was stored or started."
)
LONGEST_DISPLAY_NAME = 255
"""JupyterHub's own limit, which it doesn't apply to a server that exists."""

Judge: TypeAlias = Callable[[Spawner, Mapping[str, Any] | None], Awaitable[None]]
"""Raises an error that JupyterHub answers with, for options that a start of this server wouldn't take. None
stands for the options that are stored."""


def judge_before_storing(judge: Judge) -> None:
    """Calls `judge` before JupyterHub's REST handlers store options; once however often this is called."""
    if getattr(UserServerAPIHandler, "is_judged", False):
        return
    UserServerAPIHandler.is_judged = True
    for method in ("post", "put", "patch"):
        setattr(UserServerAPIHandler, method, _judged(getattr(UserServerAPIHandler, method), judge))


def _judged(original: Callable[..., Awaitable[None]], judge: Judge) -> Callable[..., Awaitable[None]]:
    """The handler's method, after a judgement for those who may start the server."""

    @needs_scope("start:servers")
    @functools.wraps(original, updated=())
    async def method(self: UserServerAPIHandler, user_name: str, server_name: str = "") -> None:
        user = compat.user_named(self, user_name)
        if user is not None:
            options = _options(self.request.body, self.request.method)
            known = server_name if compat.has_server(user, server_name) else ""  # it has the same form
            await judge(compat.spawner_of(user, known), options)
        await original(self, user_name, server_name)

    judged: Callable[..., Awaitable[None]] = method
    return judged


def _options(body: bytes, method: str) -> Mapping[str, Any] | None:
    """The options in a body as JupyterHub's handler reads them, None without any.

    Raises HTTPError for keys that are repeated. What JupyterHub refuses itself is left to it.
    """
    try:
        found = json.loads(body.strip().decode("utf-8", "replace"), object_pairs_hook=_once) if body else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found:
        return None
    name = found.get("display_name")
    if isinstance(name, str) and len(name) > LONGEST_DISPLAY_NAME:
        raise HTTPError(400, f"display_name: at most {LONGEST_DISPLAY_NAME} characters, not {len(name):,}.")
    if method == "PATCH" or {"display_name", "user_options"} & found.keys():
        found = found.get("user_options")
    if not isinstance(found, dict):
        return None
    return found if found or method == "POST" else None  # the others start nothing with {}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise HTTPError(400, f"{quoted(name)} is given more than once: give each key one value.")
        found[name] = value
    return found


def keep_links(page_for: Callable[[Spawner, Iterable[str]], str]) -> None:
    """Sends those who open a link to the form, while the server runs, to the URL that `page_for` returns.

    It gets the names in the link's query; where it returns "", JupyterHub's own answer remains. Does so once,
    however often this is called.
    """
    if getattr(SpawnHandler, "keeps_links", False):
        return
    SpawnHandler.keeps_links = True
    original = SpawnHandler._get

    @needs_scope("servers")
    async def _get(self: SpawnHandler, user_name: str, server_name: str, display_name: str) -> None:
        user = compat.user_named(self, user_name)
        if user is not None and compat.is_active(user, server_name):
            page = page_for(compat.spawner_of(user, server_name), self.request.query_arguments)
            if page:
                path, _, own = page.partition("?")
                self.redirect(f"{path}?{self.request.query}&{own}")  # of two arguments the last one counts
                return
        await original(self, user_name, server_name, display_name)

    SpawnHandler._get = _get


def refuse_large_bodies() -> None:
    """Lets the HTTP servers that this process makes from now on refuse what is above the two limits."""
    HTTPServer.configure(BoundedServer)


class BoundedServer(HTTPServer):
    """An HTTP server that discards what is too large."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Takes a request's parts as they come in."""
        return BoundedRequest(super().start_request(server_conn, request_conn), request_conn)


class BoundedRequest(HTTPMessageDelegate):
    """Passes a request on while it isn't too large; reads one that is to its end, and answers 413.

    A client that still writes wouldn't see an answer after which the connection is closed.
    """

    def __init__(self, inner: HTTPMessageDelegate, connection: HTTPConnection) -> None:
        self.inner: HTTPMessageDelegate | None = inner
        self.connection = connection
        self.size = 0
        self.parts = 0
        self.marks: tuple[bytes, ...] = ()  # what stands between the values of the body

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Refuses a body that is announced as too large."""
        announced = headers.get("Content-Length", "")
        if announced.isascii() and announced.isdecimal() and int(announced) > LARGEST_BODY:
            self.inner = None
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            self.marks = (b"&",)
        elif kind != "multipart/form-data":  # there tornado itself counts
            self.marks = (b"[", b"{", b",")
        return self.inner.headers_received(start_line, headers) if self.inner else None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Refuses a body that becomes too large."""
        self.size += len(chunk)
        self.parts += sum(map(chunk.count, self.marks))
        if self.inner and (self.size > LARGEST_BODY or self.parts > MOST_PARTS):
            self.inner.on_connection_close()
            self.inner = None
        return self.inner.data_received(chunk) if self.inner else None

    def finish(self) -> None:
        """Answers, if the request was refused."""
        if self.inner:
            self.inner.finish()
            return
        text = json.dumps({"status": 413, "message": TOO_LARGE}).encode()
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(text))})
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 413, "Request Entity Too Large"), headers, text
        )
        self.connection.finish()

    def on_connection_close(self) -> None:
        """Ends what waits for the request."""
        if self.inner:
            self.inner.on_connection_close()
