"""Who calls the hub: the address behind a request, past the proxies that can be believed.

JupyterHub takes anybody's X-Forwarded-For and X-Real-Ip for the truth (tornado's xheaders), enough for a log.
Here a header is believed only from this machine, where the proxy and a web server before it run; from the
machine of the proxy's API; and from JupyterHub.trusted_downstream_ips. The proxy adds at the end of
X-Forwarded-For whom it heard, so that it is read from there, as far as those go. A web server adds to it,
too, or sets X-Real-Ip, or both, and what it doesn't set it hands on from anybody: behind one, what both say
must be the same.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from flatirons.spawners.run.caller_check import Caller, Elsewhere, Unsettled
from flatirons.spawners.shared.host_names import Address, HostNames, parse_address

LOOPBACK = parse_address("127.0.0.1")


async def caller_of(
    request: HTTPServerRequest, proxy_api: str, trusted_ips: Iterable[str], names: HostNames
) -> Caller:
    """Who made the request; `proxy_api` is the URL of the proxy's API, "" where it has none."""
    peer, own = ends_of(request.connection)
    hops = [hop for line in request.headers.get_list("X-Forwarded-For") for hop in line.split(",")]
    believed = {own, *_valid(trusted_ips)}
    if hops and not _is_believed(peer, believed):
        believed |= await _addresses(proxy_api, names)
    caller = caller_behind(peer, hops, request.headers.get("X-Real-Ip", ""), believed)
    return Caller(caller, is_here=caller.is_loopback or caller == own)


def ends_of(connection: Any) -> tuple[Address, Address]:
    """The addresses of both ends of a connection, the caller's first; a socket that is a file is local.

    Raises Unsettled when it is closed by now.
    """
    opened = connection.stream.socket
    if opened is not None and opened.family == socket.AF_UNIX:
        return LOOPBACK, LOOPBACK
    try:
        return parse_address(opened.getpeername()[0]), parse_address(opened.getsockname()[0])
    except (OSError, AttributeError):
        raise Unsettled("the caller is gone") from None


def caller_behind(peer: Address, hops: Iterable[str], real_ip: str, believed: Iterable[Address]) -> Address:
    """The first, from this end, that isn't believed what it says of others, or says nothing of use.

    Raises Elsewhere when a web server before the proxy hands on two answers.
    """
    passed, rest = [peer], list(hops)
    with contextlib.suppress(ValueError):  # what isn't an address tells of nobody
        while rest and _is_believed(passed[-1], believed):
            passed.append(parse_address(rest.pop()))
    if len(passed) == 1 or not _is_believed(passed[1], believed):
        return passed[-1]  # no web server
    other = next((each for each in _valid([real_ip]) if not _is_believed(each, believed)), passed[-1])
    if passed[-1] != other and not _is_believed(passed[-1], believed):
        raise Elsewhere(f"{passed[-1]} or {other}: X-Forwarded-For says one, X-Real-Ip the other")
    return other


def _is_believed(caller: Address, believed: Iterable[Address]) -> bool:
    return caller.is_loopback or caller in believed


def _valid(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        with contextlib.suppress(ValueError):  # tornado, too, finds nobody by what isn't an address
            yield parse_address(text)


async def _addresses(url: str, names: HostNames) -> frozenset[Address]:
    host = urlsplit(url).hostname
    with contextlib.suppress(socket.gaierror):  # a proxy without an address can't have called
        return await names.addresses(host) if host else frozenset()
    return frozenset()
