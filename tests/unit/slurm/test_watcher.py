"""The watcher: one query for all jobs, news about changes, and no conclusions from a failure."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator

import pytest

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobState, QueuePosition
from flatirons.slurm.polling import PollSchedule
from flatirons.slurm.subscription import Subscription
from flatirons.slurm.watcher import Watcher
from tests.fakes.clock import FakeClock, idle
from tests.fakes.slurm import FakeSlurm

DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def watcher(slurm: FakeSlurm, clock: FakeClock) -> AsyncIterator[Watcher]:
    watcher = Watcher(SlurmClient(Cluster("summit"), slurm), clock=clock)
    watcher.start()
    yield watcher
    await watcher.stop()


async def quiet(clock: FakeClock) -> None:
    """Waits until the queries that the start causes are over."""
    await clock.advance(0.5)


class Reader:
    """Collects the news of a subscription."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.jobs: list[Job] = []
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for job in self.subscription:
            if job not in self.jobs[-1:]:  # perhaps only its position in the queue changed
                self.jobs.append(job)

    @property
    def states(self) -> list[str]:
        return [job.state.value for job in self.jobs]


# -- news


async def test_a_follower_gets_what_is_known_and_then_each_change(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice", reason="Priority")
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.change(job_id, reason="Resources")
    await clock.advance(5)
    await clock.advance(30)
    slurm.run_job(job_id)
    await clock.advance(5)
    slurm.end_job(job_id)
    await clock.advance(5)
    assert [(job.state.value, job.reason) for job in reader.jobs] == [
        ("PENDING", "Priority"),
        ("PENDING", "Resources"),
        ("RUNNING", "Resources"),
        ("COMPLETED", "Resources"),
    ]
    assert reader.task.done()


async def test_a_follower_gets_news_when_its_job_moves_up_in_the_queue(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    before = slurm.add_job("bob", comment="somebody else's")
    job_id = slurm.add_job("alice", reason="Priority")
    positions = []

    async def follow(subscription: Subscription) -> None:
        async for job in subscription:
            positions.append(watcher.queue_position(job))

    subscription = watcher.watch(job_id)
    following = asyncio.ensure_future(follow(subscription))
    await clock.advance(6)
    slurm.run_job(before)
    await clock.advance(6)
    slurm.run_job(job_id)
    await clock.advance(6)
    assert positions[-3:] == [QueuePosition(2, 2, "shas"), QueuePosition(1, 1, "shas"), None]
    subscription.close()
    await following


async def test_jobs_of_others_are_not_read(slurm: FakeSlurm, clock: FakeClock) -> None:
    mine = slurm.add_job("alice", comment="flatirons:abc:1:alice/")
    slurm.add_job("bob", comment="somebody else's")
    watcher = Watcher(SlurmClient(Cluster("summit"), slurm), comment_part="flatirons:abc:", clock=clock)
    assert list((await watcher.refresh()).jobs) == [mine]


async def test_a_slow_follower_gets_the_newest_state_only(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    subscription = watcher.watch(job_id)
    await clock.advance(5)
    slurm.run_job(job_id)
    await clock.advance(5)
    slurm.end_job(job_id, "FAILED", exit_code="3:0")
    await clock.advance(5)
    reader = Reader(subscription)
    await idle()
    assert reader.states == ["FAILED"]
    assert reader.jobs[0].exit_code == 3


async def test_two_followers_of_a_job_both_get_its_news(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    readers = [Reader(watcher.watch(job_id)), Reader(watcher.watch(job_id))]
    await clock.advance(1)
    readers[0].subscription.close()
    slurm.run_job(job_id)
    await clock.advance(5)
    assert readers[0].states == ["PENDING"]
    assert readers[1].states == ["PENDING", "RUNNING"]
    readers[1].subscription.close()


async def test_closing_ends_the_iteration_and_forgets_the_job(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    async with watcher.watch(job_id) as subscription:
        reader = Reader(subscription)
        await clock.advance(1)
    await idle()
    assert reader.task.done()
    slurm.lose(job_id)
    await clock.advance(60)
    assert slurm.count("sacct") == 0
    subscription.close()  # a second time is no error


async def test_a_requeued_job_is_followed_into_its_next_run(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    for state in ("COMPLETING", "REQUEUED", "PENDING", "CONFIGURING", "RUNNING"):
        await clock.advance(5)
        slurm.change(job_id, state=state)
    await clock.advance(5)
    assert reader.states == ["RUNNING", "COMPLETING", "REQUEUED", "PENDING", "CONFIGURING", "RUNNING"]
    reader.subscription.close()


@pytest.mark.parametrize(
    "state",
    [
        *("SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "COMPLETING", "REQUEUED", "REQUEUE_HOLD"),
        *("PREEMPTED,REQUEUED", "NODE_FAIL,REQUEUED", "RESIZING", "RUNNING,COMPLETING", "NEW_IN_27_05", ""),
    ],
)
async def test_only_a_final_state_ends_a_job(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, state: str
) -> None:
    job_id = slurm.add_job("alice", state=state)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(60)
    assert not reader.task.done()
    assert not reader.jobs[-1].state.is_over
    reader.subscription.close()


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"])
async def test_a_final_state_ends_a_job(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, state: str
) -> None:
    """Jobs are submitted with --no-requeue: one that is preempted, or loses its node, doesn't come back."""
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.change(job_id, state=state)
    await clock.advance(31)
    assert reader.states == ["RUNNING", state]
    assert reader.task.done()


# -- what is known without asking


async def test_known_facts_cost_no_query(slurm: FakeSlurm, clock: FakeClock, watcher: Watcher) -> None:
    mine = slurm.add_job("alice", comment="flatirons:abc:1:")
    other = slurm.add_job("bob", comment="flatirons:other:1:")
    assert watcher.job(mine) is None and watcher.snapshot is None
    assert watcher.age == math.inf
    await quiet(clock)
    asked = len(slurm.calls)
    assert watcher.job(mine).user == "alice"  # type: ignore[union-attr]
    assert watcher.job(other).user == "bob"  # type: ignore[union-attr]  # it is there
    await clock.advance(4)
    assert watcher.age == 4.5
    assert len(slurm.calls) == asked


async def test_refreshes_at_the_same_time_share_one_query(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await quiet(clock)
    gate = slurm.hold("squeue")
    asked = slurm.count("squeue")
    refreshes = [asyncio.ensure_future(watcher.refresh()) for _ in range(50)]
    await idle()
    gate.set()
    snapshots = await asyncio.gather(*refreshes)
    assert slurm.count("squeue") == asked + 1
    assert all(snapshot is snapshots[0] for snapshot in snapshots)


async def test_cancelling_one_refresh_does_not_cancel_the_others(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await quiet(clock)
    gate = slurm.hold("squeue")
    first, second = (asyncio.ensure_future(watcher.refresh()) for _ in range(2))
    await idle()
    first.cancel()
    await idle()
    gate.set()
    assert (await second).jobs == {}


async def test_there_are_never_two_queries_at_once(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    subscriptions = [watcher.watch(slurm.add_job("alice")) for _ in range(20)]
    gate = slurm.hold("squeue")
    refreshes = []
    for _ in range(20):
        watcher.kick()
        refreshes.append(asyncio.ensure_future(watcher.refresh()))
        await clock.advance(3)
    gate.set()
    await asyncio.gather(*refreshes)
    await clock.advance(60)
    assert slurm.most_at_once == 1
    for subscription in subscriptions:
        subscription.close()


# -- how often


async def queries_in(slurm: FakeSlurm, clock: FakeClock, seconds: float) -> int:
    before = slurm.count("squeue")
    await clock.advance(seconds)
    return slurm.count("squeue") - before


async def test_slurm_is_asked_every_second_while_a_job_starts(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice", state="CONFIGURING")
    with_subscription = watcher.watch(job_id)
    await clock.advance(10)
    assert await queries_in(slurm, clock, 60) == 60
    slurm.run_job(job_id)  # its server doesn't listen yet, so it may still die early
    await clock.advance(10)
    assert await queries_in(slurm, clock, 60) == 60
    with_subscription.close()


async def test_slurm_is_asked_every_five_seconds_while_a_job_waits(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    subscription = watcher.watch(slurm.add_job("alice"))
    await clock.advance(10)
    assert await queries_in(slurm, clock, 60) == 12
    subscription.close()


async def test_slurm_is_asked_twice_a_minute_while_all_servers_run(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    subscriptions = []
    for _ in range(500):
        job_id = slurm.add_job("alice")
        slurm.run_job(job_id)
        subscriptions.append(watcher.watch(job_id))
        subscriptions[-1].urgent = False
    await clock.advance(60)
    assert await queries_in(slurm, clock, 600) == 20
    assert {call.command for call in slurm.calls} == {"squeue"}
    for subscription in subscriptions:
        subscription.close()


async def test_a_job_that_has_run_for_long_does_not_count_as_starting(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    subscription = watcher.watch(job_id)
    await clock.advance(700)
    assert await queries_in(slurm, clock, 600) == 20
    subscription.close()


async def test_a_kick_causes_a_query_at_once_even_while_another_runs(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await clock.advance(20)
    gate = slurm.hold("squeue")
    before = slurm.count("squeue")
    watcher.kick()
    await idle()
    watcher.kick()  # what happened now may not be in the answer to the first
    await idle()
    assert slurm.count("squeue") == before + 1
    gate.set()
    await idle()
    assert slurm.count("squeue") == before + 2


async def test_a_new_follower_makes_the_watcher_ask_at_the_pace_of_a_start(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    """It asks at once if the last answer is old. Otherwise a burst of followers would use up the queries."""
    await clock.advance(20)
    before = slurm.count("squeue")
    subscriptions = [watcher.watch(slurm.add_job("alice"))]
    await idle()
    assert slurm.count("squeue") == before + 1
    for _ in range(9):
        await clock.advance(0.1)
        subscriptions.append(watcher.watch(slurm.add_job("alice")))
    await idle()
    assert slurm.count("squeue") == before + 1
    await clock.advance(0.2)
    assert slurm.count("squeue") == before + 2
    for each in subscriptions:
        each.close()


async def test_an_earlier_job_with_the_same_id_is_not_reported(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    """A slurmctld that was killed assigns the ids of its last seconds again."""
    job_id = slurm.add_job("alice", state="CANCELLED")
    await clock.advance(40)
    assert watcher.job(job_id)
    slurm.change(job_id, state="PENDING")
    reader = Reader(watcher.watch(job_id))
    await clock.advance(1)
    assert reader.states == ["PENDING"]
    reader.subscription.close()


async def test_many_kicks_cause_at_most_one_query_per_gap_after_the_first_few(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await clock.advance(20)
    before = slurm.count("squeue")
    for _ in range(1000):
        watcher.kick()
        await clock.advance(0.01)
    assert slurm.count("squeue") - before <= PollSchedule().burst + 10 / PollSchedule().gap + 1


async def test_queries_to_a_slow_slurm_take_at_most_a_tenth_of_the_time() -> None:
    assert PollSchedule().interval(1.0, query_seconds=2.0, failures=0) == 18.0
    assert PollSchedule().interval(1.0, query_seconds=20.0, failures=0) == 60.0
    assert PollSchedule().interval(1.0, query_seconds=0.05, failures=0) == 1.0


async def test_a_failing_slurm_is_asked_less_and_less_often_until_it_answers(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice", state="CONFIGURING")
    subscription = watcher.watch(job_id)
    await clock.advance(10)
    slurm.fail("squeue", DOWN, times=8)
    assert await queries_in(slurm, clock, 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60) == 8
    await clock.advance(60)
    assert await queries_in(slurm, clock, 10) == 10
    subscription.close()


# -- failures say nothing


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="half"),
        pytest.param(lambda text: "Segmentation fault\n", id="garbage"),
        pytest.param(lambda text: text.split("\n", 1)[1], id="no heading"),
        pytest.param(lambda text: text.replace("|", ";"), id="other separators"),
        pytest.param(lambda text: text[:-1], id="last character missing"),
    ],
)
async def test_an_answer_that_cannot_be_read_completely_changes_nothing(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, damage: object
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.tamper("squeue", damage, times=5)  # type: ignore[arg-type]  # a function on text
    await clock.advance(31)
    assert reader.states == ["RUNNING"]
    assert watcher.failures == 5
    assert watcher.age > 30
    assert isinstance(watcher.last_error, SlurmUnreachable)
    assert slurm.count("sacct") == 0
    reader.subscription.close()


@pytest.mark.parametrize("stderr", [DOWN, "", "slurm_load_jobs error: Socket timed out\n", "bus error"])
async def test_a_query_that_fails_changes_nothing(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, stderr: str
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.fail("squeue", stderr, times=100)
    await clock.advance(600)
    assert reader.states == ["RUNNING"]
    assert watcher.job(job_id).state is JobState.RUNNING  # type: ignore[union-attr]  # it is there
    assert watcher.age > 590
    reader.subscription.close()


async def test_a_query_that_hangs_changes_nothing(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.hang("squeue", times=3)
    await clock.advance(60)
    assert reader.states == ["PENDING"]
    assert watcher.failures == 0
    reader.subscription.close()


async def test_a_refresh_raises_the_error_of_the_query(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await quiet(clock)
    slurm.fail("squeue", DOWN)
    with pytest.raises(SlurmUnreachable):
        await watcher.refresh()


# -- jobs that a good answer doesn't show


async def test_a_vanished_job_ends_as_accounting_says(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice", comment="mine")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.end_job(job_id, "TIMEOUT", exit_code="0:1")
    slurm.forget(job_id)
    await clock.advance(5)
    assert reader.states == ["RUNNING", "TIMEOUT"]
    assert reader.jobs[-1].comment == "mine"
    assert reader.jobs[-1].signal == 1
    assert slurm.count("sacct") == 1


async def test_many_vanished_jobs_cost_one_query_to_accounting(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_ids = [slurm.add_job("alice") for _ in range(200)]
    readers = [Reader(watcher.watch(job_id)) for job_id in job_ids]
    await clock.advance(5)
    for job_id in job_ids:
        slurm.end_job(job_id, "CANCELLED", cancelled_by=0)
        slurm.forget(job_id)
    await clock.advance(10)
    assert all(reader.task.done() for reader in readers)
    assert slurm.count("sacct") == 1


async def test_a_job_that_nobody_knows_has_vanished(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.lose(job_id)
    await clock.advance(5)
    assert reader.states == ["RUNNING", "VANISHED"]
    assert reader.jobs[-1].batch_host == "shas0101"


async def test_the_end_of_a_job_that_ended_while_the_hub_was_down_is_reported(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.end_job(job_id, "COMPLETED")
    slurm.forget(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    assert reader.states == ["COMPLETED"]


async def test_a_job_submitted_after_the_query_began_is_not_missed(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    await quiet(clock)
    gate = slurm.hold("squeue")
    watcher.kick()
    await idle()
    job_id = slurm.add_job("alice")
    slurm.forget(job_id)  # slurmctld made this answer before it knew the job
    reader = Reader(watcher.watch(job_id))
    slurm.jobs[job_id] = slurm.accounting[job_id]
    gate.set()
    await clock.advance(5)
    assert reader.states == ["PENDING"]
    assert slurm.count("sacct") == 0
    reader.subscription.close()


async def test_a_job_missing_from_an_answer_that_was_cut_between_records_is_not_gone(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.tamper("squeue", lambda text: text.split("\n", 1)[0] + "\n")  # the heading, and no job
    await clock.advance(60)
    assert reader.states == ["RUNNING"]
    reader.subscription.close()


@pytest.mark.parametrize("accounting", ["down", "behind"])
async def test_a_job_gone_from_slurm_is_not_over_while_accounting_may_be_late(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, accounting: str
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    slurm.forget(job_id)
    if accounting == "down":
        slurm.fail("sacct", "sacct: error: slurm_persist_conn_open: failed\n", times=100)
    await clock.advance(20)
    assert reader.states == ["RUNNING"]
    await clock.advance(20)
    assert reader.states == ["RUNNING", "VANISHED"]


async def test_an_end_that_accounting_reports_late_is_the_one_that_counts(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    record = slurm.jobs[job_id]
    slurm.forget(job_id)
    await clock.advance(10)
    slurm.jobs[job_id] = record
    slurm.end_job(job_id, "NODE_FAIL")
    slurm.forget(job_id)
    await clock.advance(10)
    assert reader.states == ["RUNNING", "NODE_FAIL"]


async def test_a_job_is_not_gone_while_neither_accounting_nor_slurmctld_answers(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher
) -> None:
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)
    heading_only = slurm.tamper
    heading_only("squeue", lambda text: text.split("\n", 1)[0] + "\n")
    slurm.fail("sacct", "sacct: error: down\n", times=100)
    slurm.fail("squeue", DOWN, times=100)
    await clock.advance(600)
    assert reader.states == ["RUNNING"]
    reader.subscription.close()


async def test_slurm_is_asked_as_the_owner_about_jobs_that_are_hidden_from_the_hub(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.hides_from_others = True
    slurm.has_accounting = False
    job_id = slurm.add_job("alice")
    slurm.run_job(job_id)
    subscription = watcher.watch(job_id, "alice")
    subscription.urgent = False
    reader = Reader(subscription)
    with caplog.at_level(logging.WARNING):
        await clock.advance(60)
    assert reader.states == ["RUNNING"]
    assert "PrivateData=jobs" in caplog.text
    as_alice = [call for call in slurm.calls if call.user == "alice"]
    assert 1 <= len(as_alice) <= 4
    slurm.end_job(job_id)
    await clock.advance(70)
    assert reader.states == ["RUNNING", "COMPLETED"]


async def test_a_bug_is_logged_and_the_next_kick_starts_the_watcher_again(
    slurm: FakeSlurm, clock: FakeClock, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = slurm.add_job("alice")
    reader = Reader(watcher.watch(job_id))
    await clock.advance(5)

    def mistake(text: str) -> str:
        raise ZeroDivisionError("ours")

    slurm.tamper("squeue", mistake)
    await clock.advance(60)
    assert "ours" in caplog.text
    slurm.run_job(job_id)
    watcher.kick()
    await clock.advance(5)
    assert reader.states == ["PENDING", "RUNNING"]
    reader.subscription.close()


async def test_a_stopped_watcher_does_not_ask(slurm: FakeSlurm, clock: FakeClock, watcher: Watcher) -> None:
    await quiet(clock)
    await watcher.stop()
    before = len(slurm.calls)
    watcher.kick()
    await clock.advance(600)
    assert len(slurm.calls) == before
    await watcher.stop()


async def test_a_watcher_that_is_kicked_while_it_stops_stops(slurm: FakeSlurm) -> None:
    watcher = Watcher(SlurmClient(Cluster("summit"), slurm))
    watcher.start()
    while watcher.snapshot is None:  # noqa: ASYNC110  every step of the loop
        await asyncio.sleep(0)
    await idle()  # it waits for its next query now
    watcher.kick()
    async with asyncio.timeout(5):
        await watcher.stop()
