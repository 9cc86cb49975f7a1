"""Where this machine reaches the nodes of a cluster: by their names, else by what Slurm says of them.

A node's name in Slurm (NodeName) is not always a name of a machine. Slurm itself uses NodeHostName, the name
that the node gives itself, and NodeAddr, the name or address to which slurmctld connects. A node may have
addresses in several networks, and call from one that its name doesn't stand for. Source: slurm.conf(5).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from functools import partial

from cachetools import LRUCache

from flatirons.concurrency import SharedCall
from flatirons.slurm.client import SlurmClient
from flatirons.spawners.shared.host_names import MOST_NAMES, SECONDS_KEPT, Address, HostNames

SECONDS_BETWEEN_QUESTIONS = 10.0
"""How often Slurm is asked about one node at most: somebody with a stolen code may call again and again."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node: the name or address to connect to, the addresses of that, and all that are known of the node.

    `host` is the name in Slurm if nothing is known. `trouble` says why a name can't be looked up for now.
    """

    host: str
    listening: frozenset[Address] = frozenset()
    addresses: frozenset[Address] = frozenset()
    trouble: str = ""


class NodeAddresses:
    """Finds the addresses of a cluster's nodes. Slurm is asked only where a node's name isn't enough."""

    def __init__(self, client: SlurmClient, names: HostNames) -> None:
        self._client = client
        self._names = names
        self._questions: LRUCache[str, SharedCall[tuple[str, ...]]] = LRUCache(MOST_NAMES)

    async def find(self, node: str, *, anew: bool = False) -> Place:
        """The node's place. `anew`: all is looked up again, and Slurm is asked in any case.

        Raises SlurmError when Slurm has to be asked and doesn't answer.
        """
        place = await self._add(Place(""), node, anew=anew)
        if anew or not place.addresses:
            for name in await self._slurms_names(node, anew=anew):
                place = await self._add(place, name, anew=anew)
        return _pinned(place) if place.host else Place(node, trouble=place.trouble)

    async def _add(self, place: Place, name: str, *, anew: bool) -> Place:
        try:
            found = await self._names.addresses(name, anew=anew)
        except socket.gaierror as error:
            is_temporary = error.errno == socket.EAI_AGAIN
            trouble = f"{name} can't be looked up: {error.strerror}" if is_temporary else place.trouble
            return Place(place.host, place.listening, place.addresses, trouble)
        except UnicodeError:  # a name that DNS can't have, such as one with an empty or a very long part
            return place
        host, listening = (place.host, place.listening) if place.host else (name, found)
        return Place(host, listening, place.addresses | found, place.trouble)

    async def _slurms_names(self, node: str, *, anew: bool) -> tuple[str, ...]:
        question = self._questions.setdefault(node, SharedCall(partial(self._client.node_addresses, node)))
        return await question.get(SECONDS_BETWEEN_QUESTIONS if anew else SECONDS_KEPT)


def _pinned(place: Place) -> Place:
    """The place by one address, if its name has several.

    A server listens on one address. Another user on the node could listen on the same port of the others, and
    the proxy would choose any of them.
    """
    several = sorted(place.listening, key=lambda each: (each.version, int(each)))
    if len(several) < 2 or several[0].is_loopback:
        return place
    return replace(place, host=str(several[0]), listening=frozenset(several[:1]))
