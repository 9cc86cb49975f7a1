"""Under which address other nodes reach this one."""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterator, Mapping

from flatirons.errors import FlatironsError


def of_this_node(environ: Mapping[str, str]) -> str:
    """This node's IPv4 address, never a loopback one: that of its name, else that of the way to Slurm.

    The name may resolve to a loopback address only: Debian writes 127.0.1.1 into /etc/hosts. Takes as long
    as the resolver takes. Raises FlatironsError.
    """
    for address in itertools.chain(_of_the_name(environ), _of_the_route(environ)):
        if _is_ours(address):
            return address
    raise FlatironsError(
        "This node has no address that other nodes could reach: its name resolves to none that is its own. "
        'Say which to use, such as Cluster(engines="flatirons", controller_ip="10.0.0.7").'
    )


def _of_the_name(environ: Mapping[str, str]) -> Iterator[str]:
    names = dict.fromkeys((environ.get("SLURMD_NODENAME", ""), socket.gethostname()))
    for name in filter(None, names):
        yield from _resolve(name)


def _resolve(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _of_the_route(environ: Mapping[str, str]) -> Iterator[str]:
    """Our end of the way to the host that the job was submitted from; nothing is sent."""
    name = environ.get("SLURM_SUBMIT_HOST")
    for host in _resolve(name) if name else ():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            try:
                way.connect((host, 9))
            except OSError:
                continue
            yield str(way.getsockname()[0])


def _is_ours(address: str) -> bool:
    """Whether the address is one of this node's, and not a loopback one."""
    if ipaddress.ip_address(address).is_loopback:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
