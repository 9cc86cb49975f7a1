"""Whatever happens to Slurm, in any order: no living job is reported over, and each end is reported."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, JobState
from flatirons.slurm.watcher import Watcher
from tests.fakes.clock import FakeClock
from tests.fakes.slurm import FakeSlurm

DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
JOBS = 4
ENDS = ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY", "PREEMPTED")
LIVING = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "SOMETHING_NEW")


class World:
    """A Slurm with a few jobs that are watched, and the news that their followers got."""

    def __init__(self) -> None:
        self.slurm = FakeSlurm()
        self.clock = FakeClock()
        self.watcher = Watcher(SlurmClient(Cluster("summit"), self.slurm), clock=self.clock)
        self.ids = [self.slurm.add_job("alice") for _ in range(JOBS)]
        self.over: dict[int, str] = {}
        self.accounting_failed = False
        self.told: dict[int, list[JobState]] = {job_id: [] for job_id in self.ids}

    async def follow(self, job_id: int) -> None:
        async for job in self.watcher.watch(job_id):
            self.told[job_id].append(job.state)
            assert not job.state.is_over or job_id in self.over, f"{job_id} lives, but was told {job.state}"

    def live(self, job_id: int, state: str) -> None:
        if job_id not in self.over:
            self.slurm.change(job_id, state=state, nodes="c1", host="c1", start=1)

    def end(self, job_id: int, state: str) -> None:
        if job_id not in self.over:
            self.over[job_id] = state
            self.slurm.end_job(job_id, state)

    def forget(self, job_id: int) -> None:
        if job_id in self.over and job_id in self.slurm.jobs:
            self.slurm.forget(job_id)


jobs = st.integers(0, JOBS - 1)
Step = Callable[[World], None]


def step(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just(name), *arguments)


STEPS = st.one_of(
    step("live", jobs, st.sampled_from(LIVING)),
    step("end", jobs, st.sampled_from(ENDS)),
    step("forget", jobs),
    step("advance", st.floats(0.1, 40)),
    step(
        "fail",
        st.sampled_from(["squeue", "sacct"]),
        st.sampled_from([DOWN, "", "bus error\n"]),
        st.integers(1, 4),
    ),
    step("hang", st.sampled_from(["squeue", "sacct"]), st.integers(1, 3)),
    step("cut", st.integers(0, 2**32), st.integers(1, 3)),
    step("lose rows", st.integers(0, 2**32)),
    step("kick"),
)


async def play(world: World, steps: list[tuple[object, ...]]) -> None:
    followers = [asyncio.ensure_future(world.follow(job_id)) for job_id in world.ids]
    world.watcher.start()
    for name, *arguments in steps:
        await take(world, str(name), arguments)
    for job_id in world.ids:
        world.end(job_id, "COMPLETED")
    world.slurm.heal()
    await world.clock.advance(150)
    await world.watcher.stop()
    for follower in followers:
        assert follower.done(), f"an end was never told: {world.over} {world.told}"
        follower.result()
    for job_id, end in world.over.items():
        told = world.told[job_id][-1]
        assert told.value == end or (told is JobState.VANISHED and world.accounting_failed)


async def take(world: World, name: str, arguments: list[object]) -> None:
    slurm = world.slurm
    world.accounting_failed |= "sacct" in arguments
    first, *rest = arguments or [None]
    match name:
        case "live" | "end" | "forget":
            getattr(world, name)(world.ids[first], *rest)  # type: ignore[index]  # as STEPS has it
        case "advance":
            await world.clock.advance(first)  # type: ignore[arg-type]  # as STEPS has it
        case "fail":
            slurm.fail(first, rest[0], times=rest[1])  # type: ignore[arg-type]  # as STEPS has it
        case "hang":
            slurm.hang(first, times=rest[0])  # type: ignore[arg-type]  # as STEPS has it
        case "cut":
            dice = random.Random(first)  # type: ignore[arg-type]  # as STEPS has it
            slurm.tamper("squeue", lambda text: text[: dice.randrange(len(text) + 1)], times=rest[0])  # type: ignore[arg-type]
        case "lose rows":
            dice = random.Random(first)  # type: ignore[arg-type]  # as STEPS has it
            slurm.tamper("squeue", lambda text: without_some_rows(text, dice))
        case "kick":
            world.watcher.kick()


def without_some_rows(text: str, dice: random.Random) -> str:
    """A squeue that is wrong in a way that can't be seen: whole records are missing."""
    heading, *rows = text.splitlines(keepends=True)
    return heading + "".join(row for row in rows if dice.random() < 0.5)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_no_living_job_is_ever_reported_over_and_every_end_is_reported_correctly(
    steps: list[tuple[object, ...]],
) -> None:
    asyncio.run(play(World(), steps))
