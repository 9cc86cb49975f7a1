"""What one user may combine on a cluster: partitions, accounts, QOS, reservations, and how much; pure.

None stands for what isn't known: associations where there is no accounting, or the user's groups. Then
nothing is refused for that reason here, and Slurm decides. Source: slurm.conf(5) (AllowAccounts and the
like), sacctmgr(1), scontrol(1) (reservations), resource_limits.html. tests/cluster/product/test_offers.py
compares the results with a real Slurm.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import Any

from flatirons.slurm.accounting import Association, Qos
from flatirons.slurm.bounds import Bounds
from flatirons.slurm.cluster_model import Configuration, Consumable, Node, Partition, Reservation
from flatirons.slurm.facts import ClusterFacts, Shape, shapes
from flatirons.slurm.model import JobSpec

NO_QOS = Qos("")
NO_ASSOCIATION = Association("", "", "")
ALLOWS_SUBACCOUNTS = (23, 2)
ANYWHERE = frozenset({"FLEX", "ANY_NODES"})
"""Flags of a reservation whose jobs may also use other nodes."""


class Rights:
    """One user's rights on one cluster, as of one snapshot. Each is computed when it is first asked for."""

    def __init__(
        self,
        facts: ClusterFacts,
        associations: Sequence[Association] | None,
        user: str,
        groups: frozenset[str] | None = None,
    ) -> None:
        self.facts = facts
        self.user = user
        self.groups = groups
        self._made_from = (user, groups, associations)
        enforced = facts.configuration.enforced
        self._enforces_qos = "qos" in enforced
        self._enforces_limits = "limits" in enforced
        self.knows_accounts = associations is not None and "associations" in enforced
        self.kept: dict[object, Any] = {}  # cache for values that other modules derive from these rights
        self._offered: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._bounds: dict[tuple[str, str, str, str], Bounds] = {}

    def renewed(
        self,
        facts: ClusterFacts,
        associations: Sequence[Association] | None,
        groups: frozenset[str] | None,
    ) -> Rights | None:
        """These rights as of another snapshot, with everything computed so far; None when they may differ."""
        made_from = (self.user, groups, associations)
        if self._made_from != made_from or self.facts.rules is not facts.rules:
            return None
        self._made_from = made_from  # equal, but identical objects compare faster next time
        if self.facts is facts:
            return self
        again = copy.copy(self)
        again.facts = facts
        return again

    @cached_property
    def _associations(self) -> list[Association]:
        """The associations on this cluster, the user's default account first."""
        here = self.facts.configuration.cluster_name
        mine = [each for each in self._made_from[2] or () if each.cluster == here]
        return sorted(mine, key=lambda each: (not each.is_default, each.account))

    @cached_property
    def _association_of(self) -> Mapping[tuple[str, str], Association]:
        """(account, partition) -> association; the partition is "" for an association with all of them."""
        found: dict[tuple[str, str], Association] = {}
        for each in self._associations:
            found.setdefault((each.account, each.partition), each)
        return found

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions in which a job of this user could start, in Slurm's order."""
        return tuple(each for each in self.facts.partitions if self._may_use(each))

    @property
    def default_partition(self) -> str:
        """Slurm's default partition if this user may use it, else the first usable one; "" for none."""
        names = [each.name for each in self.partitions]
        defaults = [each.name for each in self.partitions if each.is_default]
        return next(iter([*defaults, *names]), "")

    def accounts(self, partition: str) -> tuple[str, ...]:
        """The accounts that the user may charge there, the default first; none where any account will do."""
        return tuple(self._of(partition))

    def qos(self, partition: str, account: str) -> tuple[str, ...]:
        """The account's QOS that the partition admits, the default first; none where none is known."""
        if self.knows_accounts:
            return self._of(partition).get(account, ())
        there = self.facts.partitions_by_name.get(partition)
        is_admitted = there is not None and self._account_test(there)(account)
        return _admitted(there, tuple(self.facts.qos)) if there and is_admitted else ()

    def reservations(self, partition: str, account: str = "") -> tuple[Reservation, ...]:
        """The present and future reservations that a job there may name, with the account or with any."""
        there = self.facts.partitions_by_name.get(partition)
        if there is None:
            return ()
        known = list(self._of(partition)) if self.knows_accounts and not account else []
        return self._reservations(there, [account] if account else known)

    def bounds(self, partition: str, account: str, qos: str, reservation: str = "") -> Bounds:
        """How much a job with these choices may ask for."""
        key = (partition, account, qos, reservation)
        if key not in self._bounds:
            self._bounds[key] = self._compute_bounds(*key)
        return self._bounds[key]

    def countable(self, spec: JobSpec) -> JobSpec:
        """The job as Slurm counts it: without memory where that isn't allocated, and with its `cpu_step`."""
        bounds = self.bounds(spec.partition, spec.account, spec.qos, spec.reservation)
        spec = replace(spec, cpu_step=bounds.cpu_step)
        if self.facts.counts_memory(spec.partition):
            return spec
        return replace(spec, memory_mib=0, mem_per_cpu_mib=0)

    # -- who may

    def _may_use(self, partition: Partition) -> bool:
        if not partition.is_up or partition.is_root_only or not self._accepts_our_host(partition):
            return False
        if None not in (partition.allow_groups, self.groups) and not (
            set(partition.allow_groups or ()) & (self.groups or frozenset())
        ):
            return False
        if self.knows_accounts and next(self._accounts_of(partition), None) is None:
            return False
        return not partition.needs_reservation or bool(self.reservations(partition.name))

    def _accepts_our_host(self, partition: Partition) -> bool:
        """May jobs for the partition be submitted from here? Source: validate_alloc_node() in Slurm."""
        here, admitted = self.facts.submit_hosts, partition.alloc_nodes
        return admitted is None or not here or not here.isdisjoint(admitted)

    def _of(self, partition: str) -> Mapping[str, tuple[str, ...]]:
        """The QOS of each account that the partition admits."""
        if partition not in self._offered:
            there = self.facts.partitions_by_name.get(partition)
            self._offered[partition] = dict(self._accounts_of(there)) if there and self.knows_accounts else {}
        return self._offered[partition]

    def _accounts_of(self, partition: Partition) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The accounts that the partition admits, the user's default first, each with its QOS."""
        admits = self._account_test(partition)
        for each in self._associations:
            if each is not self._association(partition.name, each.account) or not admits(each.account):
                continue
            if partition.needs_reservation and not self._reservations(partition, [each.account]):
                continue
            names = self._with_default(each) if self._enforces_qos else tuple(self.facts.qos)
            admitted = _admitted(partition, names)
            if admitted or not self._enforces_qos:
                yield each.account, admitted

    def _with_default(self, association: Association) -> tuple[str, ...]:
        """The association's QOS, first the one that Slurm takes for a job that names none."""
        default = association.default_qos or "normal"
        first = [default] if default in association.qos else []
        return tuple(dict.fromkeys([*first, *association.qos]))

    def _account_test(self, partition: Partition) -> Callable[[str], bool]:
        """A test whether the partition's lists of accounts admit an account.

        Since 23.02 a list applies to the accounts below those that it names, too. Source: AllowAccounts in
        slurm.conf(5).
        """
        is_old = () < self.facts.configuration.version < ALLOWS_SUBACCOUNTS

        def names(account: str) -> tuple[str, ...]:
            return (account,) if is_old else self.facts.lineage(account)

        if partition.allow_accounts is not None:
            allowed = set(partition.allow_accounts)
            return lambda account: not allowed.isdisjoint(names(account))
        denied = set(partition.deny_accounts)
        return lambda account: not denied or denied.isdisjoint(names(account))

    def _reservations(self, partition: Partition, accounts: Sequence[str]) -> tuple[Reservation, ...]:
        everywhere = self.facts.reservations
        here = (each for each in everywhere if self._is_in(each, partition.name))
        return tuple(each for each in here if self._admits(each, accounts))

    def _admits(self, reservation: Reservation, accounts: Sequence[str]) -> bool:
        """Does the reservation admit this user with one of these accounts, or with an account above them?"""
        groups = sorted(self.groups) if self.groups is not None else list(reservation.groups)
        users = [name.casefold() for name in reservation.users]  # a directory may not tell A and a apart
        if not (_is_on(users, [self.user.casefold()]) and _is_on(reservation.groups, groups)):
            return False
        if "TIME_FLOAT" in reservation.flags:  # its start is always in the near future, so no job can use it
            return False
        if not (accounts or self.knows_accounts):
            return True
        return any(_is_on(reservation.accounts, self.facts.lineage(each)) for each in accounts)

    # -- how much

    def _compute_bounds(self, partition: str, account: str, qos: str, reservation: str) -> Bounds:
        there = self.facts.partitions_by_name.get(partition)
        if there is None:
            return Bounds(())
        there = _with_memory(there, self.facts.configuration)
        own = self._limits_of(qos)
        set_aside = self._set_aside(reservation)
        return Bounds(
            self._shapes(there, set_aside),
            default_minutes=there.default_minutes or there.max_minutes,
            most_nodes=None if "PartitionMaxNodes" in own.flags else there.max_nodes,
            fewest_nodes=1 if "PartitionMinNodes" in own.flags else there.min_nodes,
            default_memory_per_cpu_mib=there.default_memory_per_cpu_mib,
            default_memory_per_node_mib=there.default_memory_per_node_mib,
            max_memory_per_cpu_mib=there.max_memory_per_cpu_mib,
            counts_memory=self.facts.counts_memory(partition),
            **self._limits(there, account, own, set_aside),
        )

    def _limits(
        self, there: Partition, account: str, own: Qos, set_aside: Reservation | None
    ) -> dict[str, Any]:
        """What QOS and associations allow. The first that sets a limit counts, except for group limits.

        Source: acct_policy_validate() and acct_policy_job_runnable_post_select() in Slurm's acct_policy.c.
        """
        over = self._limits_of(there.qos)
        first, second = (own, over) if "OverPartQOS" in own.flags else (over, own)
        association = self._association(there.name, account) if self._enforces_limits else None
        both, last = (first, second), association or NO_ASSOCIATION
        time = _first([*(each.max_minutes for each in both), last.max_minutes])
        return {
            "max_minutes": _least(time, None if "PartitionTimeLimit" in own.flags else there.max_minutes),
            "per_job": _tightest(
                _first_of_each([*(each.max_tres_per_job for each in both), last.max_tres_per_job]),
                _first_of_each([each.max_tres_per_user for each in both]),
                _first_of_each([*(each.group_tres for each in both), self._group_tres(last, account)]),
                _size(set_aside),
            ),
            "per_node": _first_of_each([*(each.max_tres_per_node for each in both), last.max_tres_per_node]),
            "least": _first_of_each([each.min_tres_per_job for each in both]),
        }

    def _limits_of(self, qos: str) -> Qos:
        return self.facts.qos.get(qos, NO_QOS) if self._enforces_limits else NO_QOS

    def _group_tres(self, association: Association, account: str) -> dict[str, int]:
        """What the jobs of the association, of its account and of each account above it may use at a time."""
        names = self.facts.lineage(account) if self._enforces_limits else ()
        accounts = [self.facts.accounts[name] for name in names if name in self.facts.accounts]
        return _tightest(association.group_tres, *(each.group_tres for each in accounts))

    def _association(self, partition: str, account: str) -> Association | None:
        """The association that counts: one with this partition replaces the one without, including its QOS.

        Source: assoc_mgr_fill_in_assoc() in Slurm's assoc_mgr.c.
        """
        known = self._association_of
        return known.get((account, partition)) or known.get((account, ""))

    def _set_aside(self, reservation: str) -> Reservation | None:
        """The reservation, if a job that names it is restricted to its nodes."""
        named = (each for each in self.facts.reservations if each.name == reservation)
        return next((each for each in named if not each.flags & ANYWHERE), None)

    def _is_in(self, reservation: Reservation, partition: str) -> bool:
        """Could a job in the partition use nodes of the reservation?

        The reservation's own partition only says where its nodes were selected; by default it is the default
        partition. Source, also for the flags: job_test_resv() in Slurm's reservation.c.
        """
        if reservation.flags & ANYWHERE:
            return True
        if not reservation.node_names:
            return reservation.partition in ("", partition)
        there = {node.name for node in self.facts.nodes_of.get(partition, ())}
        return not there.isdisjoint(reservation.node_names)

    def _shapes(self, partition: Partition, set_aside: Reservation | None) -> tuple[Shape, ...]:
        """The shapes of the nodes, reduced to what a job in the partition may use of each."""
        found = self.facts.shapes_of.get(partition.name, ())
        if set_aside and set_aside.node_names:
            nodes = self.facts.nodes_of.get(partition.name, ())
            found = shapes(_reserved(node, set_aside) for node in nodes if node.name in set_aside.node_names)
        whole = partition.consumable or self.facts.configuration.consumable
        by_core = self.facts.configuration.has_one_task_per_core
        limited = (_limited(shape, partition, whole) for shape in found)
        return tuple(replace(each, task_step=each.cpus_per_core if by_core else 1) for each in limited)


def _reserved(node: Node, reservation: Reservation) -> Node:
    """The node, with as many CPUs as the reservation has there."""
    cores = reservation.node_cores.get(node.name)
    return node if cores is None else replace(node, cpus=min(node.cpus, cores * node.cpus_per_core))


def _limited(shape: Shape, partition: Partition, whole: Consumable) -> Shape:
    """What a job in the partition may use of the node, if Slurm allocates `whole` cores or sockets."""
    steps = {Consumable.CORE: shape.cpus_per_core, Consumable.SOCKET: shape.cpus_per_socket}
    step = max(min(steps.get(whole, 1), shape.cpus), 1)
    most = _least(shape.cpus, partition.max_cpus_per_node, _on_sockets(shape, partition)) or 0
    memory = _least(shape.memory_mib, partition.max_memory_per_node_mib) or 0
    return replace(shape, cpus=most // step * step, memory_mib=memory, cpu_step=step)


def _on_sockets(shape: Shape, partition: Partition) -> int | None:
    """The most CPUs of a node where the partition limits those of each socket."""
    if partition.max_cpus_per_socket is None or not shape.cpus_per_socket:
        return None
    return ceil(shape.cpus / shape.cpus_per_socket) * partition.max_cpus_per_socket


def _size(reservation: Reservation | None) -> dict[str, int]:
    if reservation is None:
        return {}
    cpus = 0 if reservation.node_cores else reservation.cpus
    sizes = {"cpu": cpus, "node": reservation.total_nodes}
    return {name: count for name, count in sizes.items() if count}


def _is_on(names: Sequence[str], mine: Sequence[str]) -> bool:
    """Does a list of a reservation admit one of these? "-name" excludes one; an empty list admits all."""
    denied = {name[1:] for name in names if name.startswith("-")}
    if denied:
        return not denied & set(mine)
    return not names or bool(set(names) & set(mine))


def _first(limits: Sequence[int | None]) -> int | None:
    return next((limit for limit in limits if limit is not None), None)


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _first_of_each(places: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The first limit that is set for each TRES: that one counts in Slurm."""
    return {name: limit for place in reversed(places) for name, limit in place.items()}


def _tightest(*places: Mapping[str, int]) -> dict[str, int]:
    """The tightest limit for each TRES: all of them apply."""
    found: dict[str, int] = {}
    for place in places:
        for name, limit in place.items():
            found[name] = min(limit, found.get(name, limit))
    return found


def _admitted(partition: Partition, names: Sequence[str]) -> tuple[str, ...]:
    """The QOS among these that the partition's lists admit."""
    if partition.allow_qos is not None:
        return tuple(name for name in names if name in partition.allow_qos)
    return tuple(name for name in names if name not in partition.deny_qos)


def _with_memory(partition: Partition, configuration: Configuration) -> Partition:
    """The partition, with the cluster's memory settings where it has none of its own.

    Source: _valid_pn_min_mem() and _validate_job_desc() in Slurm's job_mgr.c.
    """
    default = (partition.default_memory_per_cpu_mib, partition.default_memory_per_node_mib)
    most = (partition.max_memory_per_cpu_mib, partition.max_memory_per_node_mib)
    if default == (None, None):
        default = (configuration.default_memory_per_cpu_mib, configuration.default_memory_per_node_mib)
    if most == (None, None):
        most = (configuration.max_memory_per_cpu_mib, configuration.max_memory_per_node_mib)
    return replace(
        partition,
        default_memory_per_cpu_mib=default[0],
        default_memory_per_node_mib=default[1],
        max_memory_per_cpu_mib=most[0],
        max_memory_per_node_mib=most[1],
    )
