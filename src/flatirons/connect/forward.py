"""Forwards HTTP and websockets from a local port to a server behind a hub's proxy, with the token added.

`password` says who may use the port. What arrives goes to that one server. The token and the hub's cookies
never reach the local side.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from flatirons.connect.http_message import LONGEST_HEAD, Head, Malformed, Stream, copy_body, copy_rest
from flatirons.connect.password import LOOPBACK, NotForwarded, Password

SECONDS_TO_CONNECT = 20
ABOUT_THE_CONNECTION = (
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "upgrade",
)
ABOUT_THE_CALLER = ("host", "authorization", "cookie", "origin", "referer")
FOR_THE_BROWSER = ("set-cookie", "strict-transport-security", "location")
NOT_THERE = {424, 502, 503, 504}
"""Answers of a hub or a web server in place of a server that doesn't run."""
NO_RIGHTS = {401, 403}
"""Answers that may be about the token, or about what the server itself doesn't allow."""

Diagnose = Callable[[], Awaitable[str]]
"""Returns a sentence that says why the server can't be used, "" if nothing is known to be wrong."""


class Request(NamedTuple):
    """A request as it came and as it is passed on; `by_url`: the password was in its URL."""

    asked: Head
    sent: Head
    by_url: bool


class LocalPort:
    """A local port that leads to the server at `server_url`, which ends with a slash."""

    def __init__(self, server_url: str, token: str, diagnose: Diagnose) -> None:
        parts = urlsplit(server_url)
        self.password = Password()
        self._origin, self._path, self._netloc = f"{parts.scheme}://{parts.netloc}", parts.path, parts.netloc
        self._token = token
        self._diagnose = diagnose
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._remote_port = parts.port or (443 if self._tls else 80)

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Opens the port, 0 for any free one, and cuts all connections at the end; raises OSError."""
        serving: set[asyncio.Task[None]] = set()

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        server = await asyncio.start_server(serve, LOOPBACK, port, limit=LONGEST_HEAD)
        self.password.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    @property
    def url(self) -> str:
        """The server's URL on this machine, with the password."""
        return f"http://{LOOPBACK}:{self.password.port}{self._path}?token={self.password.text}"

    # -- one local connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local, remote = Stream(reader, writer), None
        try:
            with contextlib.suppress(OSError):  # one side cut the connection
                while head := await Head.read(reader):
                    by_url = self.password.check(head)
                    request = Request(head, self._rewritten(head), by_url)
                    remote = await self._opened(remote)
                    if not await self._exchange(request, local, remote):
                        break
        except NotForwarded as refused:
            await _answer(local, refused.status, refused.sentence)
        except Malformed as error:
            await _answer(local, 400, f"This isn't HTTP as it should be: {error}.")
        finally:
            for stream in filter(None, (local, remote)):
                stream.writer.close()

    async def _opened(self, remote: Stream | None) -> Stream:
        """The connection to the hub's proxy, a new one if the last was closed; raises NotForwarded."""
        if remote and remote.is_open:
            return remote
        if remote:
            remote.writer.close()
        try:
            async with asyncio.timeout(SECONDS_TO_CONNECT):
                opened = await asyncio.open_connection(
                    self._host, self._remote_port, ssl=self._tls, limit=LONGEST_HEAD
                )
        except OSError as error:  # also TimeoutError and ssl.SSLError
            sentence = await self._diagnose()
            raise NotForwarded(502, sentence or f"{self._origin} doesn't answer: {error}") from None
        return Stream(*opened)

    async def _exchange(self, request: Request, local: Stream, remote: Stream) -> bool:
        """Passes a request on and its answer back. Can both connections be used again?"""
        remote.writer.write(request.sent.encode())
        sending = asyncio.create_task(_send_body(request.asked.length(0), local, remote))
        try:
            answer = await _first_answer(local, remote)
            if answer is None:
                if sending.done():
                    sending.result()  # raises what ended it
                raise NotForwarded(502, "The hub's proxy closed the connection. Try again.")
            if answer.status == 101:
                local.writer.write(answer.encode())
                await _pump(local, remote)
                return False
            passed = await self._checked(answer, request.by_url)
            await _pass_answer(request, passed, local, remote)
            return sending.done() and _can_stay(request.asked, answer)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, Malformed):
                await sending

    async def _checked(self, answer: Head, by_url: bool) -> Head:
        """The answer as the local side gets it; raises NotForwarded if it came in place of the server's."""
        location = answer.one("location").removeprefix(self._origin)
        leads_away = answer.status // 100 == 3 and not self._is_below(location)
        if leads_away or answer.status in NOT_THERE | NO_RIGHTS:
            reason = await self._diagnose()
            if leads_away and not reason:
                reason = "The hub asks for a log-in, which works only in a browser."
            if reason and answer.status not in NO_RIGHTS:
                raise NotForwarded(503, reason)
        more = [("Location", location)] if location else []
        if by_url:
            more.append(("Set-Cookie", self.password.set_cookie))
        return Head(answer.first, answer.but(FOR_THE_BROWSER, *more))

    # -- what becomes of a request

    def _rewritten(self, head: Head) -> Head:
        """The request as the hub's proxy gets it; raises NotForwarded or Malformed."""
        method, target, version = head.first
        if version not in ("HTTP/1.1", "HTTP/1.0") or not target.startswith("/"):
            raise Malformed("a path and HTTP/1.1 are expected")
        path = self._remote_path(target.partition("?")[0])
        query = "&".join(pair for pair in head.query if not self.password.is_in(pair))
        upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket")) if head.is_upgrade else ()
        fields = head.but(
            (*ABOUT_THE_CONNECTION, *ABOUT_THE_CALLER),
            ("Host", self._netloc),
            ("Authorization", f"token {self._token}"),
            *upgrade,
        )
        return Head((method, f"{path}?{query}" if query else path, version), fields)

    def _remote_path(self, path: str) -> str:
        """The path below the server's; that of a client which doesn't know it is put there."""
        if any(unquote(part) == ".." for part in path.split("/")) or "\\" in path:
            raise NotForwarded(400, "A path must not lead upwards.")
        if f"{path}/" == self._path:
            return self._path
        return path if path.startswith(self._path) else f"{self._path}{path.lstrip('/')}"

    def _is_below(self, location: str) -> bool:
        """Does a redirect stay on the server? A relative one does."""
        if "://" in location or location.startswith("//"):
            return False
        return not location.startswith("/") or f"{location}/".startswith(self._path)


async def _send_body(length: int | None, local: Stream, remote: Stream) -> None:
    """Passes on a request's body. If it is cut there is no answer to wait for: the other side is cut, too."""
    try:
        await copy_body(local.reader, remote.writer, length)
    except (OSError, Malformed):
        remote.writer.transport.abort()
        raise


async def _first_answer(local: Stream, remote: Stream) -> Head | None:
    """The head of the answer, None if there is none; passes on what comes before, such as 100 Continue."""
    while True:
        answer = await Head.read(remote.reader)
        if answer is None or answer.status >= 200 or answer.status == 101:
            return answer
        local.writer.write(answer.encode())


async def _pass_answer(request: Request, answer: Head, local: Stream, remote: Stream) -> None:
    length = answer.body_length_of_answer(request.asked.first[0])
    local.writer.write(answer.encode())
    try:
        await copy_body(remote.reader, local.writer, length)
    except Malformed as error:  # too late for another answer
        raise ConnectionResetError(str(error)) from None
    await local.writer.drain()


async def _answer(local: Stream, status: int, sentence: str) -> None:
    """Answers a local request with a text, and says that the connection ends."""
    body = f"{sentence}\n".encode()
    fields = (
        *(("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))),
        *(("Cache-Control", "no-store"), ("Connection", "close")),
    )
    with contextlib.suppress(OSError):
        local.writer.write(Head(("HTTP/1.1", str(status), "Not forwarded"), fields).encode() + body)
        await local.writer.drain()


def _can_stay(asked: Head, answer: Head) -> bool:
    """Do both sides keep their connections after this answer?"""
    is_newest = asked.first[2] == "HTTP/1.1" and answer.first[0] == "HTTP/1.1"
    wants_end = "close" in asked.tokens("connection") | answer.tokens("connection")
    return is_newest and not wants_end and answer.length(-1) != -1


async def _pump(local: Stream, remote: Stream) -> None:
    """Copies in both directions until one side closes."""
    ways = [
        asyncio.create_task(copy_rest(local.reader, remote.writer)),
        asyncio.create_task(copy_rest(remote.reader, local.writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await way
