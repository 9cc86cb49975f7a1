"""The faults: each breaks something, and repairs it when its block ends.

A fault is a context manager that takes a world and a source of random numbers. It returns which ends of
servers it allows, in addition to those that belong to their phases (see PHASES).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from cluster.layout import HUB
from tests.faults import clock
from tests.faults.invariants import Job, Key, MayEnd
from tests.faults.world import SMALL_HOME, STATE, World
from tests.full import IS_FULL

PHASES = {"stopping": ("stopped",), "ending": ("completed",)}
Happening = Callable[[World, Random], AbstractContextManager[MayEnd]]


Range = tuple[float, float]


@dataclass(frozen=True)
class Fault:
    """A fault's name in the table, what it does, and for how many seconds (from, to) in short and full runs.

    A short run tests only one fault of a `group`, another one each time. `hits`: the phases in which it must
    hit servers in some repetition of the full form.
    """

    name: str
    happen: Happening
    short: Range = (0.5, 3)
    full: Range = (0.5, 10)
    group: str = ""
    hits: frozenset[str] = frozenset()


def nobody(_key: Key, _report: Mapping[str, Any]) -> bool:
    """No server may end because of this."""
    return False


def those(*kinds: str, node: str = "", user: str = "", keys: set[Key] | None = None) -> MayEnd:
    """Servers may end in these ways, on that node, of that user, of these names."""

    def may_end(key: Key, report: Mapping[str, Any]) -> bool:
        return (
            report["kind"] in kinds
            and (not node or report["node"] == node)
            and (not user or key[0] == user)
            and (keys is None or key in keys)
        )

    return may_end


# -- what is killed


@contextmanager
def hub_killed(world: World, _: Random) -> Iterator[MayEnd]:
    """A spawn whose sbatch had not begun gets a report; a stop that had not reached Slurm is forgotten."""
    world.demo.kill_hub()
    try:
        yield those("not_submitted")
    finally:
        world.demo.start_hub()


@contextmanager
def proxy_killed(world: World, _: Random) -> Iterator[MayEnd]:
    world.demo.stop_proxy()
    try:
        yield nobody
    finally:
        world.demo.start_proxy()


def killed(daemon: str, may_end: MayEnd = nobody) -> Happening:
    """Kills a daemon; {} in its name is a node with servers."""

    @contextmanager
    def happen(world: World, random: Random) -> Iterator[MayEnd]:
        target = daemon.format(world.busy_node(random))
        world.fault("kill", target)
        try:
            yield may_end
        finally:
            world.fault("start", target)

    return happen


@contextmanager
def node_killed(world: World, random: Random) -> Iterator[MayEnd]:
    """As if the node lost its power: Slurm ends what ran there."""
    node = world.busy_node(random)
    world.fault("kill", node)
    try:
        yield those("node_failure", node=node)
    finally:
        world.fault("start", node)
        world.make_small_home(node)


# -- what can't be reached


def cut(way: str, *kinds: str) -> Happening:
    """Two nodes can't reach each other; {} is a node with servers."""

    @contextmanager
    def happen(world: World, random: Random) -> Iterator[MayEnd]:
        node = world.busy_node(random)
        world.fault("cut", way.format(node))
        try:
            yield those(*kinds, node=node)
        finally:
            world.fault("mend", way.format(node))

    return happen


@contextmanager
def controller_stopped(world: World, _: Random) -> Iterator[MayEnd]:
    world.fault("stop", "slurmctld@summit")
    try:
        yield those("not_submitted")
    finally:
        world.fault("cont", "slurmctld@summit")


def spoiled(how: str, what: str, may_end: MayEnd = nobody) -> Happening:
    """Breaks a command or a disk in one of the driver's ways; {} in its name is a node with servers."""

    @contextmanager
    def happen(world: World, random: Random) -> Iterator[MayEnd]:
        target = what.format(world.busy_node(random))
        world.fault(how, target)
        try:
            yield may_end
        finally:
            world.fault("mend", target)

    return happen


@contextmanager
def hubs_disk_full(world: World, _: Random) -> Iterator[MayEnd]:
    """Fills the disk once the last server that was requested has its job.

    Before that, JupyterHub 6.1 makes its own commits, and calls none of our code. If one of them fails, it
    answers with 500, and shows the server as running until it is stopped or the hub is restarted.
    """
    world.eventually(world.have_jobs, "submitting", 10)
    world.fault("fill", f"{STATE}@{HUB}")
    try:
        yield nobody
    finally:
        world.fault("mend", f"{STATE}@{HUB}")


# -- clocks


@contextmanager
def hub_fast(world: World, _: Random) -> Iterator[MayEnd]:
    """The hub's clock is a minute fast, until its next start."""
    world.demo.kill_hub()
    clock.put_forward(world, HUB, 60)
    world.demo.start_hub()
    try:
        yield those("not_submitted")
    finally:
        world.demo.kill_hub()
        clock.put_right(world, HUB)
        world.demo.start_hub()


@contextmanager
def node_fast(world: World, random: Random) -> Iterator[MayEnd]:
    """A node's clock is a minute fast: for munged, slurmd, and the jobs that start there in that time."""
    node = world.busy_node(random)
    daemons = (f"munged@{node}", f"slurmd@{node}")
    clock.put_forward(world, node, 60)
    for daemon in daemons:
        world.fault("kill", daemon)
        world.fault("start", daemon)
    try:
        yield nobody
    finally:
        clock.put_right(world, node)
        for daemon in daemons:
            world.fault("kill", daemon)
            world.fault("start", daemon)


# -- what people do


def living(world: World) -> list[Job]:
    """The jobs that live, oldest first."""
    return sorted((job for job in world.jobs().values() if not job.is_over), key=lambda job: job.id)


def some(jobs: Sequence[Job], random: Random) -> list[Job]:
    """More than half of them."""
    return random.sample(jobs, len(jobs) // 2 + 1)


def one_of_each(jobs: Sequence[Job], phases: Mapping[int, str], random: Random) -> list[Job]:
    """For each phase with servers, the job of one of them."""
    shuffled = random.sample(jobs, len(jobs))
    return list({phases[job.id]: job for job in shuffled if job.id in phases}.values())


def scancelled(by_root: bool) -> Happening:
    """Jobs are cancelled without the hub: in full more than half, in short one of each phase."""

    @contextmanager
    def happen(world: World, random: Random) -> Iterator[MayEnd]:
        there, phases = living(world), world.phases()
        jobs = some(there, random) if IS_FULL else one_of_each(there, phases, random)
        world.note_hit(jobs, phases)
        for job in jobs:
            world.slurm("scancel", str(job.id), user="root" if by_root else job.key[0])
        kind = "cancelled_by_operator" if by_root else "cancelled"
        yield those(kind, keys={job.key for job in jobs})

    return happen


@contextmanager
def requeued(world: World, random: Random) -> Iterator[MayEnd]:
    """Tries to requeue jobs, which Slurm refuses, because they are submitted with --no-requeue."""
    jobs = some(living(world), random)
    world.note_hit(jobs, world.phases())
    for job in jobs:
        world.slurm("scontrol", "requeue", str(job.id))
    yield nobody


@contextmanager
def requeued_by_force(world: World, random: Random) -> Iterator[MayEnd]:
    """Requeues jobs after an operator allowed it; no server can survive that."""
    jobs = [job for job in some(living(world), random) if job.state == "RUNNING"]
    world.note_hit(jobs, world.phases())
    for job in jobs:
        world.slurm("scontrol", "update", f"job={job.id}", "requeue=1")
        world.slurm("scontrol", "requeue", str(job.id))
    yield those("requeued", keys={job.key for job in jobs})


@contextmanager
def drained(world: World, random: Random) -> Iterator[MayEnd]:
    node = world.busy_node(random)
    world.slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=fault")
    try:
        yield nobody
    finally:
        world.slurm("scontrol", "update", f"nodename={node}", "state=resume")


# A controller that crashed has forgotten its last seconds: jobs, or that they had started.
LOST = those("vanished", "requeued", "not_submitted")

# In the words of the operators' page. None is `booting`, since Slurm never switches a node of the virtual
# cluster off; a server that takes long to listen is `starting`: its job runs.
IN_A_SERVERS_LIFE = frozenset(("waiting", "starting", "up"))

FAULTS = (
    Fault("hub killed", hub_killed),
    Fault("proxy killed", proxy_killed),
    Fault("slurmctld killed", killed("slurmctld@summit", LOST)),
    Fault("slurmdbd killed", killed("slurmdbd"), group="accounting"),
    Fault("MariaDB killed", killed("mariadbd"), group="accounting"),
    Fault("slurmd killed", killed("slurmd@{}")),
    Fault("munged killed on the hub", killed("munged@hub", those("not_submitted")), group="munged"),
    Fault("munged killed on the controller", killed("munged@ctl", those("not_submitted")), group="munged"),
    Fault("munged killed on a node", killed("munged@{}"), group="munged"),
    # Slurm notices that a job is gone only after BatchStartTimeout and MessageTimeout, 10 s each: no machine
    # boots faster.
    Fault("node killed", node_killed, (25, 27), (25, 40), group="slow"),
    Fault("hub and node cut apart", cut("hub:{}")),
    Fault("node and controller cut apart", cut("{}:ctl", "node_failure"), full=(0.5, 45)),
    Fault("slurmctld stopped for a minute", controller_stopped, (8, 12), (55, 60), group="slow"),
    Fault("squeue takes 20 s", spoiled("slow", "squeue@hub"), (3, 5), (10, 30), group="slow"),
    Fault("squeue prints garbage", spoiled("garble", "squeue@hub"), group="squeue"),
    Fault("squeue prints half", spoiled("halve", "squeue@hub"), group="squeue"),
    Fault("squeue exits 1 without a word", spoiled("fail", "squeue@hub"), group="squeue"),
    # At least until the server that boots is up, which the hub can't store.
    Fault("the hub's disk full", hubs_disk_full, (6, 7), (6, 15), group="disk"),
    Fault("a user's home full", spoiled("fill", f"{SMALL_HOME}@{{}}"), group="disk"),
    Fault("the hub's clock a minute fast", hub_fast, group="clock"),
    Fault("a node's clock a minute fast", node_fast, group="clock"),
    Fault("scancel by the user", scancelled(by_root=False), group="scancel", hits=IN_A_SERVERS_LIFE),
    Fault("scancel by root", scancelled(by_root=True), group="scancel", hits=IN_A_SERVERS_LIFE),
    Fault("requeue", requeued, group="requeue"),
    Fault("requeue, allowed by the operator", requeued_by_force, group="requeue"),
    Fault("node drained", drained),
)


def one_of_each_group(random: Random) -> list[Fault]:
    """The faults of a short run."""
    groups = sorted({fault.group for fault in FAULTS if fault.group})
    chosen = [random.choice([fault for fault in FAULTS if fault.group == group]) for group in groups]
    return [fault for fault in FAULTS if not fault.group or fault in chosen]
