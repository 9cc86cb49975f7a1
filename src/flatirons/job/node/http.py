"""One HTTP request on a connection of its own: the import of `http.client` takes longer than the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flatirons.job.node.interpreter import socket

if TYPE_CHECKING:
    from typing import Any

SECONDS = 30  # for each step of a request


def post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """(status, body) of the answer. Ignores the proxy that the job's environment may name.

    Raises OSError when there is no connection, and ValueError for an answer that is cut off, or isn't HTTP.
    """
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    lines = [f"POST {slash}{path} HTTP/1.1", f"Host: {place}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    connection = connect(place, scheme == "https")
    try:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        return read_answer(connection)
    finally:
        connection.close()


def connect(place: str, is_encrypted: bool) -> socket.socket:
    """A connection to `place`: HOST, HOST:PORT or [ADDRESS]:PORT. Raises OSError, or ValueError."""
    host, port = place, "443" if is_encrypted else "80"
    if ":" in place and not place.endswith("]"):
        host, _, port = place.rpartition(":")
    host = host.strip("[]")
    problem = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in look_up(host, int(port)):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(SECONDS)
            connection.connect(address)
            return encrypted(connection, host) if is_encrypted else connection
        except OSError as error:
            connection.close()
            problem = error
    raise problem


def look_up(host: str, port: int | None) -> list[Any]:
    """What getaddrinfo finds for TCP. For a text it would import the tables of all scripts, not for bytes."""
    try:
        name = host.encode("ascii")
    except UnicodeEncodeError:
        name = host.encode("idna")
    return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)


def encrypted(connection: socket.socket, host: str) -> socket.socket:
    """The connection with TLS; raises OSError when the certificate isn't valid for the host."""
    import socket as with_layer
    import ssl

    whole = with_layer.socket(fileno=connection.detach())
    whole.settimeout(SECONDS)
    return ssl.create_default_context().wrap_socket(whole, server_hostname=host)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """(status, body) of the answer, which may end before the connection does."""
    text = b""
    while True:
        piece = connection.recv(65536)
        text += piece
        answer = parsed(text, is_over=not piece)
        if answer:
            return answer


def parsed(text: bytes, is_over: bool) -> tuple[int, bytes] | None:
    """(status, body) of an answer, None while something is missing; raises ValueError when it `is_over`."""
    head, blank, rest = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    body: bytes | None = None
    if blank and fields.get("transfer-encoding", "").lower() == "chunked":
        body = joined(rest)
    elif blank and "content-length" in fields:
        size = int(fields["content-length"])
        body = rest[:size] if len(rest) >= size else None
    elif blank and is_over:
        body = rest
    if body is not None:
        return int(first.split()[1]), body
    if is_over:
        raise ValueError("its answer was cut off")
    return None


def joined(chunks: bytes) -> bytes | None:
    """The body that was sent in these chunks (RFC 9112, 7.1), None while the last one is missing."""
    body = b""
    while True:
        size, line_end, chunks = chunks.partition(b"\r\n")
        if not line_end:
            return None
        length = int(size.partition(b";")[0], 16)
        if len(chunks) < length + 2:
            return None
        if not length:
            return body
        body += chunks[:length]
        chunks = chunks[length + 2 :]
