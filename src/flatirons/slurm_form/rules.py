"""The rules of the Slurm form: what each field offers, given the other choices and what Slurm has answered.

Rules look at other fields and at two terms of the form: `rights`, what the user may do on the chosen cluster,
and `bounds`, how much a job may ask for with the chosen partition, account, QOS and reservation. Both are
None in a form without Slurm's facts, and until a cluster has answered for the first time. Then the form
accepts anything and Slurm decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any, TypeAlias

from flatirons import units
from flatirons.forms import Choice, Gauge
from flatirons.forms.values import Listed
from flatirons.slurm.accounting import Qos
from flatirons.slurm.bounds import Bounds
from flatirons.slurm.cluster_model import Reservation
from flatirons.slurm.facts import Supply
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.offers import SlurmOffers

Name: TypeAlias = str | None
Count: TypeAlias = int | None
Choices: TypeAlias = Sequence[Choice] | None

MOST_GPUS_LISTED = 16
"""The most GPUs of one type of which every count is listed. Above that, only powers of two are."""


def rights(cluster: Name, facts: SlurmOffers | None) -> Rights | None:
    """The user's rights on the chosen cluster; None while they aren't known."""
    return facts.rights(cluster) if facts else None


def bounds(
    rights: Rights | None, partition: Name, account: Name, qos: Name, reservation: Name
) -> Bounds | None:
    """How much a job there may ask for; None while that isn't known."""
    if rights is None or not partition or partition not in rights.facts.partitions_by_name:
        return None
    return rights.bounds(partition, account or "", qos or "", reservation or "")


TERMS: Mapping[str, Callable[..., Any]] = {"rights": rights, "bounds": bounds}


# -- where


def clusters(known: Iterable[Choice]) -> Callable[..., list[Choice]]:
    """The clusters on which the user may run jobs, and those that haven't answered yet."""

    def choices(facts: SlurmOffers | None) -> list[Choice]:
        seen = [(each, rights(each.value, facts)) for each in known]
        return [each for each, found in seen if found is None or found.partitions]

    return choices


def is_known(rights: Rights | None) -> bool:
    """Whether Slurm's offer is known, so that the user has to choose from it."""
    return rights is not None


def partitions(rights: Rights | None) -> Choices:
    """The partitions in which the user may run a job, with what is free in them."""
    if rights is None:
        return None
    names, facts = tuple(each.name for each in rights.partitions), rights.facts
    return _once(facts.kept, names, lambda name: _partition(name, facts.supply.get(name)))


def default_partition(rights: Rights | None) -> Name:
    """Slurm's default partition if the user may use it, else the first."""
    return rights.default_partition if rights else None


def knows_accounts(rights: Rights | None) -> bool:
    """Whether Slurm accepts only accounts that it knows."""
    return rights is not None and rights.knows_accounts


def accounts(rights: Rights | None, partition: Name) -> Choices:
    """The accounts that the user may charge there, the default first."""
    if rights is None or not rights.knows_accounts:
        return None
    return _once(rights.kept, rights.accounts(partition or ""), Choice)


def _once(kept: dict[object, Any], names: tuple[str, ...], choice: Callable[[str], Choice]) -> Listed:
    """A choice for each name. It is cached, because many partitions offer the same names."""
    if names not in kept:
        kept[names] = Listed(map(choice, names))
    found: Listed = kept[names]
    return found


def default_account(rights: Rights | None, partition: Name) -> Name:
    """The user's default account if the partition admits it."""
    return next(iter(rights.accounts(partition or "")), None) if rights else None


def qos(rights: Rights | None, partition: Name, account: Name) -> Choices:
    """The QOS of the account that the partition admits, the default first."""
    names = rights.qos(partition or "", account or "") if rights else ()
    if rights is None or not (names or rights.knows_accounts):
        return None
    return [Choice(name, description=_limits(rights.facts.qos.get(name))) for name in names]


def default_qos(rights: Rights | None, partition: Name, account: Name) -> Name:
    """The QOS that Slurm takes for a job that names none."""
    if rights is None or not rights.knows_accounts:
        return None
    return next(iter(rights.qos(partition or "", account or "")), None)


def needs_qos(rights: Rights | None, partition: Name, account: Name) -> bool:
    """Whether the user has to choose one of the account's QOS."""
    return knows_accounts(rights) and bool(rights and rights.qos(partition or "", account or ""))


def reservations(rights: Rights | None, partition: Name, account: Name) -> Choices:
    """The current and future reservations that a job there may name."""
    if rights is None:
        return None
    found = rights.reservations(partition or "", account or "")
    return [Choice(each.name, description=_time_of(each)) for each in found]


def has_reservations(rights: Rights | None, partition: Name, account: Name) -> bool:
    """Whether there is a reservation to choose, or that isn't known."""
    return rights is None or bool(rights.reservations(partition or "", account or ""))


def needs_reservation(rights: Rights | None, partition: Name) -> bool:
    """Whether the partition accepts no job without a reservation."""
    there = rights.facts.partitions_by_name.get(partition or "") if rights else None
    return bool(there and there.needs_reservation)


# -- in what


def environments(
    known: Iterable[Choice], fits: Mapping[str, Mapping[str, Any]]
) -> Callable[..., list[Choice]]:
    """The environments that fit. `fits` has the settings `clusters`, `partitions`, `needs_gpu` of each."""

    def choices(cluster: Name, partition: Name, bounds: Bounds | None) -> list[Choice]:
        has_gpus = bounds is None or bool(bounds.gpu_types())
        return [each for each in known if _fits(fits[each.value], cluster, partition, has_gpus)]

    return choices


def _fits(settings: Mapping[str, Any], cluster: Name, partition: Name, has_gpus: bool) -> bool:
    places = ((settings.get("clusters"), cluster), (settings.get("partitions"), partition))
    is_here = all(not names or name is None or name in names for names, name in places)
    return is_here and (has_gpus or not settings.get("needs_gpu"))


# -- how much


def gpus(needing: frozenset[str]) -> Callable[..., Choices]:
    """No GPUs, and each count of each type on one node. Environments in `needing` need at least one."""

    def choices(bounds: Bounds | None, environment: Name) -> Choices:
        if bounds is None:
            return None
        return _gpu_choices(bounds.gpu_types(), max(bounds.least_gpus, int(environment in needing)))

    return choices


def has_gpus(bounds: Bounds | None) -> bool:
    """Whether there are GPUs to choose, or that isn't known."""
    return bounds is None or bool(bounds.gpu_types())


def knows_bounds(bounds: Bounds | None) -> bool:
    """Whether it is known how much a job may ask for."""
    return bounds is not None


def default_gpus(bounds: Bounds | None) -> Name:
    """ "0", explicitly, where the GPUs are known."""
    return None if bounds is None else "0"


def _gpu_choices(types: Mapping[str, int], least: int) -> list[Choice]:
    found = [] if least else [Choice("0", "None")]
    one_kind = len([kind for kind in types if kind]) == 1
    for kind, most in types.items():
        if kind or not one_kind:
            found += [_gpu_choice(kind, count) for count in _counts(max(least, 1), most)]
    return found


def _gpu_choice(kind: str, count: int) -> Choice:
    value = f"{kind}:{count}" if kind else str(count)
    return Choice(value, f"{count} × {kind}" if kind else f"{count} of any type")


def _counts(least: int, most: int) -> Iterable[int]:
    listed = range(least, most + 1)
    if most <= MOST_GPUS_LISTED:
        return listed
    return (count for count in listed if count & (count - 1) == 0 or count == most)


def max_nodes(bounds: Bounds | None, gpus: Name) -> Count:
    """The most nodes of one job."""
    return bounds.max_nodes(gpus) if bounds else None


def min_nodes(bounds: Bounds | None) -> int:
    """The fewest nodes of one job."""
    return bounds.min_nodes() if bounds else 1


def demanded_nodes(bounds: Bounds | None) -> Count:
    """The fewest nodes, if a job that names no number would get too few."""
    return least if (least := min_nodes(bounds)) > 1 else None


def demands_nodes(bounds: Bounds | None) -> bool:
    """Whether the user has to give a number."""
    return demanded_nodes(bounds) is not None


def max_ntasks(bounds: Bounds | None, gpus: Name, nodes: Count) -> Count:
    """The most tasks with one core each."""
    return bounds.max_ntasks(nodes, gpus) if bounds else None


def min_ntasks(nodes: Count) -> int:
    """One on each node: Slurm allocates no node without a task."""
    return nodes or 1


def max_cpus(bounds: Bounds | None, gpus: Name, nodes: Count, ntasks: Count) -> Count:
    """The most cores for each task."""
    return bounds.max_cpus(nodes, ntasks, gpus) if bounds else None


def min_cpus(bounds: Bounds | None, nodes: Count, ntasks: Count) -> int:
    """The fewest cores for each task."""
    return bounds.min_cpus(nodes, ntasks) if bounds else 1


def demanded_cpus(bounds: Bounds | None, nodes: Count, ntasks: Count) -> Count:
    """The fewest cores, if a job that names no number would get too few."""
    return least if (least := min_cpus(bounds, nodes, ntasks)) > 1 else None


def demands_cpus(bounds: Bounds | None, nodes: Count, ntasks: Count) -> bool:
    """Whether the user has to give a number."""
    return demanded_cpus(bounds, nodes, ntasks) is not None


def takes_memory(without: frozenset[str]) -> Callable[..., bool]:
    """Whether a job may ask for memory: not on clusters `without`, nor where Slurm doesn't allocate it."""

    def applies(cluster: Name, bounds: Bounds | None) -> bool:
        return cluster not in without and (bounds is None or bounds.counts_memory)

    return applies


def spelled(usual: str, named: Mapping[str, Sequence[str]]) -> str | Callable[..., str]:
    """The options of sbatch for a resource: the usual one, or those that the chosen cluster takes."""

    def flag(cluster: Name) -> str:
        return " ".join(named.get(cluster or "", (usual,)))

    return flag if named else usual


def min_memory(bounds: Bounds | None, nodes: Count) -> int:
    """The least memory on each node, MiB."""
    return bounds.min_memory_mib(nodes) if bounds else 1


def demanded_memory(bounds: Bounds | None, gpus: Name, nodes: Count, ntasks: Count, cpus: Count) -> Count:
    """The amount nearest to the partition's default, if that default is too little or too much here, MiB."""
    if bounds is None:
        return None
    least, most = bounds.min_memory_mib(nodes), bounds.max_memory_mib(nodes, ntasks, cpus, gpus)
    given = bounds.default_memory_mib(nodes, ntasks, cpus)
    if given is None:
        return least if least > 1 else None
    return None if least <= given <= most else max(least, min(given, most))


def demands_memory(bounds: Bounds | None, gpus: Name, nodes: Count, ntasks: Count, cpus: Count) -> bool:
    """Whether the user has to give an amount."""
    return demanded_memory(bounds, gpus, nodes, ntasks, cpus) is not None


def max_memory(bounds: Bounds | None, gpus: Name, nodes: Count, ntasks: Count, cpus: Count) -> Count:
    """The most memory on each node, MiB."""
    return bounds.max_memory_mib(nodes, ntasks, cpus, gpus) if bounds else None


def max_mem_per_cpu(bounds: Bounds | None, gpus: Name, nodes: Count, ntasks: Count, cpus: Count) -> Count:
    """The most memory for each core, MiB: that of a node, shared by the job's cores on it."""
    if bounds is None:
        return None
    cores = ceil((ntasks or nodes or 1) / (nodes or 1)) * (cpus or 1)
    allocated = ceil(cores / bounds.cpu_step) * bounds.cpu_step
    return max(bounds.max_memory_mib(nodes, ntasks, cpus, gpus) // allocated, 1)


def nothing_for_memory(bounds: Bounds | None, nodes: Count, ntasks: Count, cpus: Count) -> str:
    """What an empty input means."""
    mib = bounds.default_memory_mib(nodes, ntasks, cpus) if bounds else None
    return units.memory(mib) if mib else "The partition's default"


def max_runtime(bounds: Bounds | None) -> Count:
    """The longest run time, minutes."""
    return bounds.max_minutes if bounds else None


def demanded_runtime(bounds: Bounds | None) -> Count:
    """The longest run time, if the default run time is longer: Slurm would refuse such a job."""
    if bounds is None or bounds.max_minutes is None:
        return None
    is_too_long = bounds.default_minutes is None or bounds.default_minutes > bounds.max_minutes
    return bounds.max_minutes if is_too_long else None


def demands_runtime(bounds: Bounds | None) -> bool:
    """Whether the user has to give a run time."""
    return demanded_runtime(bounds) is not None


def nothing_for_runtime(bounds: Bounds | None) -> str:
    """What an empty input means."""
    minutes = bounds.default_minutes if bounds else None
    return units.clock(minutes) if minutes else "The partition's default"


# -- in words


def _partition(name: str, supply: Supply | None) -> Choice:
    if supply is None:
        return Choice(name)
    nodes = "node" if supply.total_nodes == 1 else "nodes"
    free = f"{supply.idle_nodes} of {supply.total_nodes} {nodes} idle"
    return Choice(name, description=free, gauges=_gauges(supply))


def _gauges(supply: Supply) -> tuple[Gauge, ...]:
    gpus = (
        Gauge(f"{kind} GPUs".strip(), free, total)
        for kind, (free, total) in sorted(supply.gpus.items())
        if free is not None
    )
    return (
        Gauge(
            "node idle" if supply.total_nodes == 1 else "nodes idle", supply.idle_nodes, supply.total_nodes
        ),
        Gauge("CPUs free", supply.free_cpus, supply.total_cpus),
        *gpus,
        Gauge("job waiting" if supply.waiting == 1 else "jobs waiting", supply.waiting),
    )


def _limits(qos: Qos | None) -> str:
    return f"up to {units.clock(qos.max_minutes)}" if qos and qos.max_minutes else ""


def _time_of(reservation: Reservation) -> str:
    if reservation.is_active:
        return f"now, until {reservation.end:%d %B %H:%M} UTC" if reservation.end else "now"
    return f"from {reservation.start:%d %B %H:%M} UTC" if reservation.start else ""
