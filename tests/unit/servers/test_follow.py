"""A job followed and cancelled without a hub and without a record, on a Slurm in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from flatirons.errors import SlurmError
from flatirons.servers.cancel import Cancellation
from flatirons.servers.causes import RECORD, Cause
from flatirons.servers.follow import JobFollower, Limits
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobState
from flatirons.slurm.polling import Clock, PollSchedule
from flatirons.slurm.watcher import Watcher
from tests.fakes.slurm import FakeSlurm

QUICK = PollSchedule(starting=0.01, waiting=0.01, quiet=0.02, longest=0.05, gap=0.0, burst=1000, doubt=0.05)


class LaterClock(Clock):
    """The machine's clock, with `passed` seconds more."""

    passed = 0.0

    def now(self) -> float:
        return super().now() + self.passed


class Server(JobFollower):
    """The smallest follower: `happened` records what happened to it."""

    job_id = 1
    has_starter_called = False
    port = 0
    is_stopping = False

    def __init__(self, slurm: FakeSlurm, limits: Limits) -> None:
        client = SlurmClient(Cluster("summit"), slurm)
        super().__init__(client, Watcher(client, schedule=QUICK), limits, user=None, receiver=RECORD)
        self.cause: Cause | None = None
        self.happened: list[str] = []

    @property
    def is_concluded(self) -> bool:
        return self.cause is not None

    def give_up(self, cause: Cause) -> None:
        self.cause = cause

    async def job_ended(self, job: Job) -> None:
        self.happened.append(job.state.value)

    async def job_requeued(self, job: Job) -> None:
        self.happened.append("requeued")

    def following_failed(self, error: BaseException) -> None:
        self.happened.append(str(error))

    @property
    def messages(self) -> list[str]:
        return [event["message"] for event in self.progress.events]


@pytest.fixture
def slurm() -> FakeSlurm:
    fake = FakeSlurm()
    fake.add_job("alice")
    return fake


@pytest.fixture
async def server(slurm: FakeSlurm) -> AsyncIterator[Server]:
    made = Server(slurm, Limits(queue=60, node=60, stop=20))
    made.watcher.start()
    yield made
    if made._following:
        made._following.cancel()
    await made.watcher.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def runs(server: Server, slurm: FakeSlurm) -> None:
    """The job runs, and its starter has booted."""
    server.follow()
    slurm.run_job(1)
    await until(lambda: server.job and server.job.state.is_running)
    server.has_starter_called = True
    server.container_starts()


async def test_the_progress_of_a_start_is_shown_once_and_in_order(server: Server, slurm: FakeSlurm) -> None:
    starting = asyncio.ensure_future(server.wait_until_up())
    await until(lambda: server.phase == "waiting" and server.messages)
    slurm.change(1, state="CONFIGURING", nodes="shas0101")
    await until(lambda: server.phase == "booting")
    slurm.run_job(1)
    await until(lambda: server.phase == "starting")
    server.has_starter_called = True
    server.container_starts()
    server.port = 4321
    server.server_listens("shas0101")
    await starting
    waiting, *others, up = server.messages
    assert waiting.startswith("Waiting in the queue of shas")
    assert others == ["Node shas0101 is booting.", "Running on shas0101.", "The container is starting."]
    assert re.match(r"The server is up on shas0101: \d+ seconds? in the queue, ", up)
    assert server.phase == "up"


@pytest.mark.parametrize(
    ("limits", "has_starter_called", "kind"),
    [
        (Limits(queue=0.05, node=60, stop=1), False, "too_long_in_queue"),
        (Limits(queue=60, node=0.05, stop=1), False, RECORD.kind),
        (Limits(queue=60, node=0.05, stop=1), True, "not_answering"),
    ],
)
async def test_a_start_that_takes_too_long_is_given_up(
    server: Server, slurm: FakeSlurm, limits: Limits, has_starter_called: bool, kind: str
) -> None:
    server.limits, server.has_starter_called = limits, has_starter_called
    if kind != "too_long_in_queue":
        slurm.run_job(1)
    async with asyncio.timeout(20):
        await server.wait_until_up()
    assert server.cause and server.cause.kind == kind


@pytest.mark.parametrize(("has_starter_called", "kind"), [(True, "not_answering"), (False, RECORD.kind)])
async def test_a_job_that_slurm_cleans_up_after_is_given_up_by_the_limit_of_its_node(
    server: Server, slurm: FakeSlurm, has_starter_called: bool, kind: str
) -> None:
    """A node that hangs keeps its job COMPLETING for hours, and nothing of that is a wait in the queue."""
    server.limits = Limits(queue=60, node=0.3, stop=1)
    server.follow()
    slurm.run_job(1)
    await until(lambda: server.job and server.job.state.is_running)
    server.has_starter_called = has_starter_called
    slurm.change(1, state="COMPLETING")
    await until(lambda: server.job and server.job.state.is_ending)
    async with asyncio.timeout(20):
        await server.wait_until_up()
    assert server.cause and server.cause.kind == kind


async def test_a_job_that_ends_before_its_script_began_has_the_limit_of_the_queue(
    server: Server, slurm: FakeSlurm
) -> None:
    """Slurm says in a moment why, such as that the node's prolog failed."""
    server.limits = Limits(queue=60, node=0.01, stop=1)
    slurm.change(1, state="COMPLETING", nodes="shas0101")
    starting = asyncio.ensure_future(server.wait_until_up())
    await until(lambda: server.job and server.job.state.is_ending)
    await asyncio.wait([starting], timeout=0.1)
    assert server.cause is None
    server.limits = replace(server.limits, queue=0.0)
    server.progress.ring()
    await starting
    assert server.cause and server.cause.kind == "too_long_in_queue"


async def test_a_job_that_is_put_back_into_the_queue_is_noticed_once_its_starter_has_booted(
    server: Server, slurm: FakeSlurm
) -> None:
    await runs(server, slurm)
    slurm.change(1, state="PENDING", nodes="", host="n/a")
    await until(lambda: server.happened)
    assert server.happened == ["requeued"]


async def test_the_end_of_the_job_ends_the_following(server: Server, slurm: FakeSlurm) -> None:
    await runs(server, slurm)
    slurm.end_job(1, "TIMEOUT")
    await until(lambda: server.happened)
    assert server.happened == ["TIMEOUT"]


async def test_a_bug_in_the_following_is_reported_and_the_job_is_followed_again(
    server: Server, slurm: FakeSlurm
) -> None:
    identify = server.identify
    server.identify = lambda job: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    server.follow()
    await until(lambda: server.happened)
    assert server.happened == ["division by zero"]
    server.identify = identify  # type: ignore[method-assign]
    await runs(server, slurm)


async def test_a_job_that_does_not_run_is_cancelled_at_once(server: Server, slurm: FakeSlurm) -> None:
    server.follow()
    await until(lambda: server.job)
    await Cancellation(server).carry_out()
    assert (slurm.jobs[1].state, slurm.count("scancel")) == ("CANCELLED", 1)


async def test_a_running_server_may_end_by_itself(server: Server, slurm: FakeSlurm) -> None:
    await runs(server, slurm)
    ending = asyncio.ensure_future(Cancellation(server).carry_out())
    await until(lambda: slurm.count("scancel"))
    slurm.end_job(1, "COMPLETED")
    await ending
    assert slurm.count("scancel") == 1


async def test_a_server_that_ran_for_long_is_seen_to_end_as_soon(server: Server, slurm: FakeSlurm) -> None:
    """Slurm is asked seldom about such a job, and shows it until after the call of its starter."""
    clock = server.watcher.clock = LaterClock()
    await runs(server, slurm)
    server.port = 4321
    server.server_listens("shas0101")
    server.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    clock.passed = 3600.0
    ending = asyncio.ensure_future(Cancellation(server).carry_out())
    await until(lambda: slurm.count("scancel"))
    asked = slurm.count("squeue")
    await until(lambda: slurm.count("squeue") > asked)
    slurm.end_job(1, "COMPLETED")
    async with asyncio.timeout(5):
        await ending
    assert slurm.count("scancel") == 1


async def test_a_user_in_a_hurry_lets_slurm_end_the_server(server: Server, slurm: FakeSlurm) -> None:
    await runs(server, slurm)
    cancellation = Cancellation(server)
    ending = asyncio.ensure_future(cancellation.carry_out())
    await until(lambda: slurm.count("scancel"))
    cancellation.hurry()
    await ending
    assert (slurm.jobs[1].state, slurm.count("scancel")) == ("CANCELLED", 2)


async def test_a_job_that_does_not_go_is_an_error(server: Server, slurm: FakeSlurm) -> None:
    server.limits = replace(server.limits, stop=0.1)
    slurm.end_job = lambda *args, **facts: None  # type: ignore[method-assign]
    server.follow()
    with pytest.raises(SlurmError, match="has not ended job 1 yet"):
        await Cancellation(server).carry_out()


async def test_another_job_that_has_the_id_by_now_is_not_cancelled(server: Server, slurm: FakeSlurm) -> None:
    """A slurmctld that was killed forgets its last seconds, and assigns their ids again."""
    slurm.run_job(1)
    server.identify = lambda job: replace(job, state=JobState.VANISHED)  # type: ignore[method-assign]
    server.follow()
    await until(lambda: server.happened)
    await Cancellation(server).carry_out()
    assert (server.happened, slurm.jobs[1].state) == (["VANISHED"], "RUNNING")
