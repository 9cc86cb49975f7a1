"""What a cluster consists of, as frozen values: its partitions, nodes, reservations, configuration; no I/O.

Zero, the empty text and None mean what they do in `model`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class Consumable(enum.Enum):
    """What Slurm allocates whole. Source: SelectTypeParameters in slurm.conf(5)."""

    CPU = "cpu"
    CORE = "core"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Partition:
    """What a partition offers and whom it admits; None where it sets no limit or admits everyone.

    `gpus` counts its GPUs by type, those without a type under "". `alloc_nodes` are the hosts from which it
    accepts jobs. `consumable` is what it allocates whole, `counts_memory` whether it allocates memory; both
    are None for what the cluster says.
    """

    name: str
    is_up: bool
    is_default: bool = False
    is_hidden: bool = False
    nodes: str = ""
    total_nodes: int = 0
    total_cpus: int = 0
    gpus: Mapping[str, int] = field(default_factory=dict)
    default_minutes: int | None = None
    max_minutes: int | None = None
    max_nodes: int | None = None
    max_cpus_per_node: int | None = None
    max_memory_per_node_mib: int | None = None
    allow_accounts: tuple[str, ...] | None = None
    deny_accounts: tuple[str, ...] = ()
    allow_qos: tuple[str, ...] | None = None
    deny_qos: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] | None = None
    qos: str = ""
    needs_reservation: bool = False
    is_root_only: bool = False
    min_nodes: int = 0
    default_memory_per_cpu_mib: int | None = None
    default_memory_per_node_mib: int | None = None
    max_memory_per_cpu_mib: int | None = None
    alloc_nodes: tuple[str, ...] | None = None
    max_cpus_per_socket: int | None = None
    consumable: Consumable | None = None
    counts_memory: bool | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node: what jobs may have of it, and how much of that is in use.

    Its cores and memory are less than those of the hardware where some are set apart for the system
    (CoreSpecCount, MemSpecLimit in slurm.conf). `state` is its base state, `flags` the rest. A core has
    `cpus_per_core` CPUs, its threads; a socket has `cpus_per_socket`, 0 where that isn't known. GPUs are by
    type, those without a type under "". Slurm doesn't say how many of the types in `gpus_not_counted` are in
    use.
    """

    name: str
    state: str
    flags: frozenset[str] = frozenset()
    partitions: tuple[str, ...] = ()
    cpus: int = 0
    cpus_in_use: int = 0
    memory_mib: int = 0
    memory_in_use_mib: int = 0
    gpus: Mapping[str, int] = field(default_factory=dict)
    gpus_in_use: Mapping[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    gpus_not_counted: frozenset[str] = frozenset()
    cpus_per_core: int = 1
    cpus_per_socket: int = 0

    @property
    def is_usable(self) -> bool:
        """Could a job that fits start there now? No when the node is down, drained or under maintenance."""
        return self.state in ("IDLE", "MIXED") and not self.flags & _UNUSABLE


_UNUSABLE = frozenset(
    {"DRAIN", "MAINTENANCE", "MAINT", "NOT_RESPONDING", "FAIL", "INVALID_REG", "POWERING_DOWN"}
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of slurm.conf that matter to users. Memory is for partitions without such settings.

    `cluster_name` is the name in the accounting database. `enforced` holds the words of
    AccountingStorageEnforce, and those that they imply (`associations`, `limits`, `qos`). `version` is for
    example (24, 11, 5). `slurm_user_uid` is the uid of SlurmUser, as whom slurmctld runs. `counts_memory`:
    does Slurm allocate memory, or only cores or whole nodes?
    """

    cluster_name: str
    enforced: frozenset[str] = frozenset()
    default_memory_per_cpu_mib: int | None = None
    default_memory_per_node_mib: int | None = None
    max_memory_per_cpu_mib: int | None = None
    max_memory_per_node_mib: int | None = None
    version: tuple[int, ...] = ()
    consumable: Consumable = Consumable.CPU
    has_one_task_per_core: bool = False
    slurm_user_uid: int | None = None
    counts_memory: bool = True


@dataclass(frozen=True, slots=True)
class Reservation:
    """Nodes that are set aside for some users, for a time.

    `node_cores` says how many cores, on each node of which only some are set aside.
    """

    name: str
    is_active: bool
    start: datetime | None = None
    end: datetime | None = None
    nodes: str = ""
    partition: str = ""
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    total_nodes: int = 0
    cpus: int = 0
    node_names: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    node_cores: Mapping[str, int] = field(default_factory=dict)
