"""What a cluster offers at one moment: partitions, nodes, reservations, QOS, waiting jobs; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property, lru_cache
from math import ceil
from typing import Any

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.accounting import Account, Qos
from flatirons.slurm.cluster_model import Configuration, Node, Partition, Reservation
from flatirons.slurm.hostlist import expanded
from flatirons.slurm.model import Cluster


@dataclass(frozen=True, slots=True)
class Shape:
    """What each of `count` equal nodes has; GPUs are by type, "" for those without a type.

    Slurm allocates CPUs in multiples of `cpu_step`, and to each task in multiples of `task_step`.
    """

    cpus: int
    memory_mib: int
    gpus: tuple[tuple[str, int], ...]
    count: int = 1
    cpus_per_core: int = 1
    cpus_per_socket: int = 0
    cpu_step: int = 1
    task_step: int = 1

    def tasks(self, cpus: int) -> int:
        """The most tasks of so many CPUs on all of these nodes."""
        return self.cpus // (ceil(cpus / self.task_step) * self.task_step) * self.count

    def gpus_of(self, kind: str) -> int:
        """The number of GPUs of a type that each node has; with "" those of any type."""
        return sum(count for name, count in self.gpus if kind in ("", name))


@dataclass(frozen=True, slots=True)
class Supply:
    """What is free in a partition now. `gpus` holds (free, total) by type; free is None where nobody says."""

    idle_nodes: int = 0
    total_nodes: int = 0
    free_cpus: int = 0
    total_cpus: int = 0
    gpus: Mapping[str, tuple[int | None, int]] = field(default_factory=dict)
    waiting: int = 0


UNKNOWN_MEMORY_MIB = 1
"""What a node seems to have whose memory isn't in slurm.conf."""

RULES = ("configuration", "partitions", "reservations", "qos", "accounts", "shapes_of", "submit_hosts")
"""The parts of a snapshot that decide who may use what, and how much."""


@dataclass(frozen=True)
class ClusterFacts:
    """A snapshot of a cluster, taken at `taken_at` in monotonic seconds. Derived values are computed once.

    `submit_hosts` are the names of the machine that submits jobs; without any, they aren't known.
    """

    configuration: Configuration
    partitions: tuple[Partition, ...] = ()
    nodes: tuple[Node, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    qos: Mapping[str, Qos] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    taken_at: float = 0.0
    accounts: Mapping[str, Account] = field(default_factory=dict)
    submit_hosts: frozenset[str] = frozenset()
    rules: object = field(default_factory=object, compare=False, repr=False)
    """The same object in snapshots with equal RULES: what was derived from them still holds."""

    kept: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)
    """Cache for values that other modules derive from this snapshot."""

    def keep_rules_of(self, before: ClusterFacts) -> None:
        """Takes over `rules` from an earlier snapshot if the RULES of both are equal."""
        if all(getattr(self, name) == getattr(before, name) for name in RULES):
            object.__setattr__(self, "rules", before.rules)

    def lineage(self, account: str) -> tuple[str, ...]:
        """The account and the accounts above it, as far as they are known."""
        found: dict[str, None] = {}
        while account and account not in found:
            found[account] = None
            account = self.accounts[account].parent if account in self.accounts else ""
        return tuple(found)

    @cached_property
    def partitions_by_name(self) -> Mapping[str, Partition]:
        """The partitions by name."""
        return {each.name: each for each in self.partitions}

    @cached_property
    def nodes_of(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes of each partition, as far as the partition names them, too.

        A node that isn't named may be quoted in the comment of another.
        """
        found: dict[str, list[Node]] = {}
        named = {each.name: _names(each.nodes) for each in self.partitions if each.nodes}
        for node in self.nodes:
            for name in node.partitions:
                names = named.get(name)
                if names is None or node.name in names:
                    found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def shapes_of(self) -> Mapping[str, tuple[Shape, ...]]:
        """The shapes of each partition's nodes, including nodes that are down: a job may wait for them."""
        shape_of = {node.name: _shape(node) for node in self.nodes}  # a node may be in many partitions
        return {
            name: _counted(shape_of[node.name] for node in nodes) for name, nodes in self.nodes_of.items()
        }

    def counts_memory(self, partition: str) -> bool:
        """Does Slurm allocate memory in the partition? With "" in the cluster's default partition.

        It doesn't where memory isn't a consumable resource, and where nobody told it how much the nodes have:
        RealMemory is 1 by default. Source: SelectTypeParameters and RealMemory in slurm.conf(5).
        """
        defaults = (each for each in self.partitions if each.is_default)
        there = self.partitions_by_name.get(partition) if partition else next(defaults, None)
        if there is None:
            return self.configuration.counts_memory
        own, nodes = there.counts_memory, self.nodes_of.get(there.name, ())
        is_known = not nodes or any(node.memory_mib > UNKNOWN_MEMORY_MIB for node in nodes)
        return is_known and (self.configuration.counts_memory if own is None else own)

    @cached_property
    def named_groups(self) -> frozenset[str]:
        """The groups that partitions and reservations name."""
        partitions = (name for each in self.partitions for name in each.allow_groups or ())
        reservations = (name.removeprefix("-") for each in self.reservations for name in each.groups)
        return frozenset([*partitions, *reservations])

    def described(self, cluster: Cluster) -> Cluster:
        """The cluster, for programs that submit jobs without asking Slurm what it counts."""
        names = ["", *(each.name for each in self.partitions)]
        without = [name for name in names if not self.counts_memory(name)]
        return replace(cluster, spelling=cluster.spelling.without_memory_in(without))

    @cached_property
    def supply(self) -> Mapping[str, Supply]:
        """What is free in each partition."""
        return {
            each.name: _supply(self.nodes_of.get(each.name, ()), self.waiting.get(each.name, 0))
            for each in self.partitions
        }


@lru_cache(maxsize=1000)
def _names(nodes: str) -> frozenset[str] | None:
    """The names in a partition's list of nodes, which seldom changes; None for a list that can't be read."""
    try:
        return frozenset(expanded(nodes))
    except SlurmUnreachable:
        return None


def shapes(nodes: Iterable[Node]) -> tuple[Shape, ...]:
    """The shapes of the nodes, largest first."""
    return _counted(map(_shape, nodes))


def _counted(equal: Iterable[Shape]) -> tuple[Shape, ...]:
    found = Counter(equal)
    in_order = sorted(found.items(), key=lambda each: astuple(each[0]), reverse=True)
    return tuple(replace(shape, count=count) for shape, count in in_order)


def _shape(node: Node) -> Shape:
    gpus = tuple(sorted(node.gpus.items()))
    topology = {"cpus_per_core": node.cpus_per_core, "cpus_per_socket": node.cpus_per_socket}
    return Shape(node.cpus, node.memory_mib, gpus, **topology)


def _supply(nodes: Iterable[Node], waiting: int) -> Supply:
    idle = total = free_cpus = total_cpus = 0
    gpus: dict[str, tuple[int | None, int]] = {}
    for node in nodes:
        total += 1
        total_cpus += node.cpus
        idle += node.is_usable and node.state == "IDLE"
        free_cpus += max(node.cpus - node.cpus_in_use, 0) if node.is_usable else 0
        for kind, count in node.gpus.items():
            so_far, there = gpus.get(kind, (0, 0))
            free = _free_gpus(node, kind)
            gpus[kind] = (None if so_far is None or free is None else so_far + free, there + count)
    return Supply(idle, total, free_cpus, total_cpus, gpus, waiting)


def _free_gpus(node: Node, kind: str) -> int | None:
    """How many GPUs of a type are free on the node; None where Slurm doesn't say."""
    if not node.is_usable:
        return 0
    return None if kind in node.gpus_not_counted else max(node.gpus[kind] - node.gpus_in_use.get(kind, 0), 0)
