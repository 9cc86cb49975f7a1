"""What Flatirons offers a user, as jobs to check with Slurm: within bounds, beyond, elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cluster.layout import GROUPS
from flatirons.slurm.bounds import Bounds, parsed
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.cluster_cache import ClusterCache
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.model import JobSpec
from flatirons.slurm.rights import Rights

USERS = ("alice", "bob", "carol", "dave")
PATIENCE = {"max_age": 0.0, "patience": 20.0}


@dataclass(frozen=True)
class Place:
    """A combination of choices, which may be invalid; empty for a choice that isn't made."""

    partition: str
    account: str
    qos: str
    reservation: str = ""


@dataclass(frozen=True)
class Ask:
    """A job to check with Slurm, and what is special about it in one or two words."""

    place: Place
    what: str
    spec: JobSpec

    def __str__(self) -> str:
        spec, place = self.spec, self.place
        where = f"{place.partition} {place.account} {place.qos} {place.reservation or '-'}"
        gpus = f"{spec.gpu_type}:{spec.gpus}"
        size = (spec.nodes, spec.ntasks, spec.cpus, spec.memory_mib, gpus, spec.runtime_minutes)
        return f"{where}: {self.what} (N n c mem gpus time: {' '.join(map(str, size))})"


async def everybodys_rights(client: SlurmClient) -> dict[str, Rights]:
    """Each user's rights on a cluster, all as of one snapshot."""
    cache = ClusterCache(client)
    facts = await cache.look(**PATIENCE)
    assert facts is not None, cache.trouble
    found = {}
    for user in USERS:
        associations = await cache.associations(user, **PATIENCE)
        groups = frozenset({user, *(group.name for group in GROUPS if user in group.members)})
        found[user] = Rights(facts, associations, user, groups)
    return found


def places(rights: Rights) -> list[Place]:
    """All combinations that are offered."""
    return [
        Place(partition.name, account, qos, reservation)
        for partition in rights.partitions
        for account in rights.accounts(partition.name)
        for qos in rights.qos(partition.name, account)
        for reservation in _reservations(rights, partition.name, account)
    ]


def _reservations(rights: Rights, partition: str, account: str) -> list[str]:
    found = [each.name for each in rights.reservations(partition, account)]
    return found if rights.facts.partitions_by_name[partition].needs_reservation else ["", *found]


def within(rights: Rights, place: Place) -> Iterator[Ask]:
    """The smallest job there, and jobs with each bound at its maximum, alone and together with others."""
    bounds = _bounds(rights, place)
    for gpus in _gpus(bounds):
        yield _ask(bounds, place, "smallest", gpus)
        nodes = bounds.max_nodes(gpus)
        yield _ask(bounds, place, "most nodes", gpus, nodes=nodes)
        ntasks = bounds.max_ntasks(nodes, gpus)
        cores = bounds.max_cpus(nodes, ntasks, gpus)
        size = {"nodes": nodes, "ntasks": ntasks, "cpus": cores}
        memory = bounds.max_memory_mib(nodes, ntasks, cores, gpus)
        yield _ask(bounds, place, "most of all", gpus, **size, memory=memory)
    yield from _alone(bounds, place, _gpus(bounds)[0])


def _alone(bounds: Bounds, place: Place, gpus: str) -> Iterator[Ask]:
    """Each bound at its maximum, the others left to Slurm."""
    yield _ask(bounds, place, "most tasks", gpus, ntasks=bounds.max_ntasks(None, gpus))
    cores = bounds.max_cpus(1, 1, gpus)
    memory = bounds.max_memory_mib(1, 1, cores, gpus)
    yield _ask(bounds, place, "most cores and memory", gpus, nodes=1, ntasks=1, cpus=cores, memory=memory)
    yield _ask(bounds, place, "most memory", gpus, memory=bounds.max_memory_mib(gpus=gpus))
    yield _ask(bounds, place, "most time", gpus, runtime=bounds.max_minutes or 0)
    yield _ask(bounds, place, "two tasks, most cores", gpus, ntasks=2, cpus=bounds.max_cpus(None, 2, gpus))
    if bounds.max_ntasks(1, gpus) >= 3:
        memory = bounds.max_memory_mib(1, 3, None, gpus)
        yield _ask(bounds, place, "three tasks, most memory", gpus, nodes=1, ntasks=3, memory=memory)


def beyond(rights: Rights, place: Place) -> Iterator[Ask]:
    """One more than each bound; each type of GPU that isn't offered."""
    bounds = _bounds(rights, place)
    for gpus in _gpus(bounds)[:: max(len(_gpus(bounds)) - 1, 1)]:
        yield _ask(bounds, place, "nodes", gpus, nodes=bounds.max_nodes(gpus) + 1)
        yield _ask(bounds, place, "tasks", gpus, ntasks=bounds.max_ntasks(None, gpus) + 1)
        yield _ask(bounds, place, "cores", gpus, nodes=1, ntasks=1, cpus=bounds.max_cpus(1, 1, gpus) + 1)
        memory = bounds.max_memory_mib(1, 1, None, gpus) + 1
        yield _ask(bounds, place, "memory", gpus, nodes=1, ntasks=1, memory=memory)
    if bounds.max_minutes:
        yield _ask(bounds, place, "time", _gpus(bounds)[0], runtime=bounds.max_minutes + 1)
    offered = bounds.gpu_types()
    for kind in sorted({*offered, "v100", "a100", "h100"}):
        count = offered.get(kind, 0) + 1
        yield _ask(bounds, place, f"GPUs {kind}", f"{kind}:{count}" if kind else str(count))
    if bounds.min_cpus() > 1:
        yield _ask(bounds, place, "fewer cores", cpus=bounds.min_cpus() - 1)
    if bounds.min_memory_mib() > 1:
        yield _ask(bounds, place, "less memory", memory=bounds.min_memory_mib() - 1)


def elsewhere(facts: ClusterFacts, accounts: Iterable[str], offered: Iterable[Place]) -> list[Ask]:
    """A small job in every place of the cluster that isn't offered."""
    known = set(offered)
    names = ["", *(each.name for each in facts.reservations)]
    everywhere = (
        Place(partition.name, account, qos, reservation)
        for partition in facts.partitions
        for account in accounts
        for qos in facts.qos
        for reservation in names
    )
    small = JobSpec("offered", cpus=2, memory_mib=1500, runtime_minutes=1)
    return [Ask(place, "elsewhere", there(small, place)) for place in everywhere if place not in known]


def _bounds(rights: Rights, place: Place) -> Bounds:
    return rights.bounds(place.partition, place.account, place.qos, place.reservation)


def _gpus(bounds: Bounds) -> list[str]:
    """None, one and the maximum of each type, as far as the place allows them."""
    counts = {kind: sorted({1, most}) for kind, most in bounds.gpu_types().items()}
    texts = [f"{kind}:{count}" if kind else str(count) for kind in counts for count in counts[kind]]
    return [text for text in ["0", *texts] if parsed(text)[1] >= bounds.least_gpus]


def _ask(bounds: Bounds, place: Place, what: str, gpus: str = "0", **size: int) -> Ask:
    """A job of that size; where the place has a minimum, a size that isn't given is that minimum."""
    nodes, ntasks = size.get("nodes"), size.get("ntasks")
    least_memory = bounds.min_memory_mib(nodes)
    kind, count = parsed(gpus)
    spec = JobSpec(
        "offered",
        nodes=nodes or 0,
        ntasks=ntasks or 0,
        cpus=size.get("cpus", bounds.min_cpus(nodes, ntasks)),
        memory_mib=size.get("memory", least_memory if least_memory > 1 else 0),
        gpus=count,
        gpu_type=kind,
        runtime_minutes=size.get("runtime", 1),
    )
    return Ask(place, what, there(spec, place))


def there(spec: JobSpec, place: Place) -> JobSpec:
    """The job, in that place."""
    return replace(
        spec,
        partition=place.partition,
        account=place.account,
        qos=place.qos,
        reservation=place.reservation,
        chdir="/tmp",
        output="none",
    )
