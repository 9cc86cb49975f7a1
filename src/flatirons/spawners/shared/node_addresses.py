"""Where this machine reaches the nodes of a cluster: by their names, else by what Slurm says of them.

A node's name in Slurm (NodeName) is not always a name of a machine. Slurm itself uses NodeHostName, the name
that the node gives itself, and NodeAddr, the name or address to which slurmctld connects. A node may have
addresses in several networks, and call from one that its name doesn't stand for. Source: slurm.conf(5).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cachetools import LRUCache

from flatirons.concurrency import SharedCall
from flatirons.slurm.client import SlurmClient
from flatirons.spawners.shared.host_names import MOST_NAMES, SECONDS_KEPT, Address, HostNames

SECONDS_BETWEEN_QUESTIONS = 10.0
"""How often Slurm is asked about one node at most: somebody with a stolen code may call again and again."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The address of a caller; `is_here`: the call comes from this machine."""

    address: Address
    is_here: bool

    def is_one_of(self, addresses: frozenset[Address]) -> bool:
        """Is the caller the machine with these addresses? A loopback address stands for this machine."""
        return self.address in addresses or (self.is_here and any(each.is_loopback for each in addresses))


@dataclass(frozen=True, slots=True)
class Place:
    """A host to connect to, and the addresses that it stands for here."""

    host: str
    addresses: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node, with the addresses that each of its names has here; names without an address are left out.

    `trouble` says why one of them can't be looked up for now.
    """

    name: str
    names: Mapping[str, frozenset[Address]] = field(default_factory=dict)
    trouble: str = ""

    @property
    def addresses(self) -> frozenset[Address]:
        """All that are known of the node."""
        return frozenset().union(*self.names.values())

    def place(self, caller: Caller | None) -> Place:
        """Where to connect to: the first name that stands for the caller's address, else the first name.

        A server listens on one address. If a name stands for several, somebody else on the node could listen
        on the same port of the others, and the proxy would choose any of them. So it is told one of them.
        """
        if not self.names:
            return Place(self.name)
        hosts = [host for host, found in self.names.items() if caller and caller.is_one_of(found)]
        host = (hosts or list(self.names))[0]
        several = sorted(self.names[host], key=lambda each: (each.version, int(each)))
        if len(several) < 2 or several[0].is_loopback:
            return Place(host, self.names[host])
        return Place(str(several[0]), frozenset(several[:1]))


class NodeAddresses:
    """Finds the addresses of a cluster's nodes. Slurm is asked only where a node's name isn't enough."""

    def __init__(self, client: SlurmClient, names: HostNames) -> None:
        self._client = client
        self._names = names
        self._questions: LRUCache[str, SharedCall[tuple[str, ...]]] = LRUCache(MOST_NAMES)

    async def find(self, name: str, *, anew: bool = False) -> KnownNode:
        """The node of this name. `anew`: all is looked up again, and Slurm is asked in any case.

        Raises SlurmError when Slurm has to be asked and doesn't answer.
        """
        node = await self._with(KnownNode(name), name, anew=anew)
        if anew or not node.names:
            for other in await self._slurms_names(name, anew=anew):
                node = await self._with(node, other, anew=anew)
        return node

    async def _with(self, node: KnownNode, name: str, *, anew: bool) -> KnownNode:
        try:
            found = await self._names.addresses(name, anew=anew)
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN:
                return node
            return replace(node, trouble=f"{name} can't be looked up: {error.strerror}")
        except UnicodeError:  # a name that DNS can't have, such as one with an empty or a very long part
            return node
        return replace(node, names={**node.names, name: found})

    async def _slurms_names(self, node: str, *, anew: bool) -> tuple[str, ...]:
        question = self._questions.setdefault(node, SharedCall(partial(self._client.node_addresses, node)))
        return await question.get(SECONDS_BETWEEN_QUESTIONS if anew else SECONDS_KEPT)
