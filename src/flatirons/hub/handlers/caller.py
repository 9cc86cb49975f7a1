"""Who calls the hub: the address of the client behind the proxies that are trusted.

JupyterHub believes the X-Forwarded-For and X-Real-Ip headers of any client (tornado's xheaders), which is
good enough for a log. Here the headers count only if they come from this machine, where the proxy and perhaps
a web server run, from the machine of the proxy's API, or from JupyterHub.trusted_downstream_ips. Each proxy
appends to X-Forwarded-For the address from which it was called, so the header is read from its end, as long
as the addresses are trusted. A web server may set X-Forwarded-For, X-Real-Ip or both, and passes on unchanged
the one that it doesn't set. So behind a web server both headers must name the same client.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from flatirons.spawners.run.caller_check import Elsewhere, Unsettled
from flatirons.spawners.shared.host_names import Address, HostNames, parse_address
from flatirons.spawners.shared.node_addresses import Caller

LOOPBACK = parse_address("127.0.0.1")


async def caller_of(
    request: HTTPServerRequest, proxy_api: str, trusted_ips: Iterable[str], names: HostNames
) -> Caller:
    """The client that made the request; `proxy_api` is the URL of the proxy's API, "" if it has none."""
    peer, own = ends_of(request.connection)
    hops = [hop for line in request.headers.get_list("X-Forwarded-For") for hop in line.split(",")]
    trusted = {own, *_valid(trusted_ips)}
    if hops and not _is_trusted(peer, trusted):
        trusted |= await _addresses(proxy_api, names)
    caller = caller_behind(peer, hops, request.headers.get("X-Real-Ip", ""), trusted)
    return Caller(caller, is_here=caller.is_loopback or caller == own)


def ends_of(connection: Any) -> tuple[Address, Address]:
    """The addresses of both ends of a connection, the caller's first; both are local for a unix socket.

    Raises Unsettled if the connection is already closed.
    """
    opened = connection.stream.socket
    if opened is not None and opened.family == socket.AF_UNIX:
        return LOOPBACK, LOOPBACK
    try:
        return parse_address(opened.getpeername()[0]), parse_address(opened.getsockname()[0])
    except (OSError, AttributeError):
        raise Unsettled("the caller is gone") from None


def caller_behind(peer: Address, hops: Iterable[str], real_ip: str, trusted: Iterable[Address]) -> Address:
    """The nearest address that isn't trusted, or the farthest trusted one that the headers name.

    Raises Elsewhere if a web server in front of the proxy passes on two different answers.
    """
    passed, rest = [peer], list(hops)
    with contextlib.suppress(ValueError):  # the rest of a header that isn't an address is useless
        while rest and _is_trusted(passed[-1], trusted):
            passed.append(parse_address(rest.pop()))
    if len(passed) == 1 or not _is_trusted(passed[1], trusted):
        return passed[-1]  # there is no web server in front of the proxy
    other = next((each for each in _valid([real_ip]) if not _is_trusted(each, trusted)), passed[-1])
    if passed[-1] != other and not _is_trusted(passed[-1], trusted):
        detail = f"{passed[-1]} or {other}: X-Forwarded-For says one, X-Real-Ip the other"
        raise Elsewhere(detail, f"The hub refused a call for this server, which came from {detail}.")
    return other


def _is_trusted(caller: Address, trusted: Iterable[Address]) -> bool:
    return caller.is_loopback or caller in trusted


def _valid(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        with contextlib.suppress(ValueError):  # tornado ignores such texts, too
            yield parse_address(text)


async def _addresses(url: str, names: HostNames) -> frozenset[Address]:
    host = urlsplit(url).hostname
    with contextlib.suppress(socket.gaierror):  # a proxy without an address can't have made the call
        return await names.addresses(host) if host else frozenset()
    return frozenset()
