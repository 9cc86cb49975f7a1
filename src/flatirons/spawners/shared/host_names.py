"""The addresses that names of machines have, as this machine looks them up."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from cachetools import LRUCache

from flatirons.concurrency import SharedCall

Address = IPv4Address | IPv6Address

SECONDS_KEPT = 300.0
"""How long a name's addresses are kept; a caller who doubts them looks them up again."""

MOST_NAMES = 20_000


def parse_address(text: str) -> Address:
    """The address; an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address.

    Raises ValueError for any other text.
    """
    found = ip_address(text.strip().partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def is_address(text: str) -> bool:
    """Is the text an address, rather than a name?"""
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


class HostNames:
    """The addresses of machines by name: looked up outside the event loop, once at a time, and kept."""

    def __init__(self) -> None:
        self._lookups: LRUCache[str, SharedCall[frozenset[Address]]] = LRUCache(MOST_NAMES)

    async def addresses(self, name: str, *, anew: bool = False) -> frozenset[Address]:
        """The name's addresses; `anew`: looked up again. Raises socket.gaierror when it has none here."""
        lookup = self._lookups.setdefault(name, SharedCall(partial(_look_up, name)))
        return await lookup.get(0.0 if anew else SECONDS_KEPT)


async def _look_up(name: str) -> frozenset[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return frozenset(parse_address(str(entry[0])) for *_, entry in found)
