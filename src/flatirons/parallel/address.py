"""The address under which other nodes reach this one."""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterator, Mapping

from flatirons.errors import FlatironsError


def of_this_node(environ: Mapping[str, str]) -> str:
    """This node's IPv4 address, never a loopback address.

    It is the address of the node's name, or else the one from which this node reaches the host that submitted
    the job: the name may resolve to a loopback address only (Debian writes 127.0.1.1 into /etc/hosts). Takes
    as long as the resolver takes. Raises FlatironsError.
    """
    for address in itertools.chain(_resolve_own_name(environ), _find_outgoing(environ)):
        if _is_ours(address):
            return address
    raise FlatironsError(
        "This node has no address that other nodes can reach: its name resolves to none of its addresses. "
        'Give the address yourself, such as Cluster(engines="flatirons", controller_ip="10.0.0.7").'
    )


def _resolve_own_name(environ: Mapping[str, str]) -> Iterator[str]:
    names = dict.fromkeys((environ.get("SLURMD_NODENAME", ""), socket.gethostname()))
    for name in filter(None, names):
        yield from _resolve(name)


def _resolve(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _find_outgoing(environ: Mapping[str, str]) -> Iterator[str]:
    """The local address of the route to the host that submitted the job; no packet is sent."""
    name = environ.get("SLURM_SUBMIT_HOST")
    for host in _resolve(name) if name else ():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            try:
                route.connect((host, 9))
            except OSError:
                continue
            yield str(route.getsockname()[0])


def _is_ours(address: str) -> bool:
    """Whether the address belongs to this node and is no loopback address."""
    if ipaddress.ip_address(address).is_loopback:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
