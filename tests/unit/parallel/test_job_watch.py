"""The watch on a job of engines, with a Slurm in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from flatirons.errors import SlurmUnreachable
from flatirons.parallel import job_watch
from flatirons.parallel.background import run_sync
from flatirons.parallel.job_watch import JobWatch, query_job
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobState
from tests.fakes.slurm import FakeSlurm

UNREACHED = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("YOUNG_PAUSE", "WAITING_PAUSE", "RUNNING_PAUSE"):
        monkeypatch.setattr(job_watch, pause, 0.0)


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
def client(slurm: FakeSlurm) -> SlurmClient:
    return SlurmClient(Cluster("summit"), slurm)


class WatchedJob:
    """A job that starts and ends when its watch reports the change before, and what the watch reported."""

    def __init__(self, slurm: FakeSlurm, client: SlurmClient) -> None:
        self.slurm = slurm
        self.states: list[JobState] = []
        self.ends: list[JobState] = []
        self.watch = JobWatch(lambda: client, slurm.add_job("alice"), self.changed, self.ends_with)
        self.job_id = self.watch.job_id

    def changed(self, job: Job) -> None:
        self.states.append(job.state)
        if job.state is JobState.PENDING:
            self.slurm.run_job(self.job_id)
        else:
            self.slurm.end_job(self.job_id)

    def ends_with(self, job: Job) -> None:
        self.ends.append(job.state)

    def follow(self) -> None:
        self.watch.start()
        assert self.watch.join(10)


@pytest.fixture
def watched(slurm: FakeSlurm, client: SlurmClient) -> WatchedJob:
    return WatchedJob(slurm, client)


def test_every_change_is_reported_once_and_then_the_end(watched: WatchedJob) -> None:
    watched.follow()
    assert watched.states == [JobState.PENDING, JobState.RUNNING]
    assert watched.ends == [JobState.COMPLETED]


def test_a_query_that_fails_says_nothing_about_the_job(watched: WatchedJob, slurm: FakeSlurm) -> None:
    slurm.fail("squeue", UNREACHED, times=3)
    watched.follow()
    assert watched.states == [JobState.PENDING, JobState.RUNNING]
    assert watched.ends == [JobState.COMPLETED]


def test_a_job_that_the_controller_forgot_ends_as_accounting_says(
    watched: WatchedJob, slurm: FakeSlurm
) -> None:
    slurm.end_job(watched.job_id, "TIMEOUT")
    slurm.forget(watched.job_id)
    watched.follow()
    assert watched.ends == [JobState.TIMEOUT]


def test_a_job_that_nobody_knows_has_vanished(watched: WatchedJob, slurm: FakeSlurm) -> None:
    slurm.lose(watched.job_id)
    watched.follow()
    assert watched.ends == [JobState.VANISHED]


def test_a_failed_job_whose_step_had_no_memory_ends_as_accounting_says(
    watched: WatchedJob, slurm: FakeSlurm
) -> None:
    slurm.end_job(watched.job_id, "FAILED", exit_code="1:0")
    slurm.accounting[watched.job_id] = replace(slurm.jobs[watched.job_id], state="OUT_OF_MEMORY")
    watched.follow()
    assert watched.ends == [JobState.OUT_OF_MEMORY]


def test_a_failed_job_that_accounting_does_not_know_has_failed(watched: WatchedJob, slurm: FakeSlurm) -> None:
    slurm.end_job(watched.job_id, "FAILED", exit_code="1:0")
    slurm.accounting.pop(watched.job_id)
    watched.follow()
    assert watched.ends == [JobState.FAILED]


def test_a_failed_job_has_failed_where_accounting_does_not_answer(
    watched: WatchedJob, slurm: FakeSlurm
) -> None:
    slurm.end_job(watched.job_id, "FAILED", exit_code="1:0")
    slurm.fail("sacct", UNREACHED, times=9)
    watched.follow()
    assert watched.ends == [JobState.FAILED]


def test_a_watch_that_is_stopped_reports_nothing_more(watched: WatchedJob) -> None:
    watched.watch.stop()
    watched.follow()
    assert watched.states == watched.ends == []


def test_an_answer_can_be_waited_for_without_a_loop(client: SlurmClient, slurm: FakeSlurm) -> None:
    job_id = slurm.add_job("alice", state="RUNNING")
    assert run_sync(query_job(client, job_id)).state is JobState.RUNNING


async def test_an_answer_can_be_waited_for_inside_a_loop(client: SlurmClient, slurm: FakeSlurm) -> None:
    job_id = slurm.add_job("alice", state="RUNNING")
    assert run_sync(query_job(client, job_id)).state is JobState.RUNNING
    assert asyncio.get_running_loop().is_running()


def test_a_failure_of_what_was_waited_for_is_the_callers(client: SlurmClient, slurm: FakeSlurm) -> None:
    slurm.fail("squeue", UNREACHED)
    with pytest.raises(SlurmUnreachable):
        run_sync(query_job(client, 1))


def test_every_query_is_reported_before_the_change_that_it_finds(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    calls: list[str] = []
    job_id = slurm.add_job("alice")

    def queried(job: Job) -> None:
        calls.append(f"queried {job.state.value}")
        if calls.count("queried PENDING") == 3:
            slurm.end_job(job_id)

    def changed(job: Job) -> None:
        calls.append(f"changed {job.state.value}")

    watch = JobWatch(lambda: client, job_id, changed, lambda job: calls.append("ended"), on_query=queried)
    watch.start()
    assert watch.join(10)
    assert calls[:2] == ["queried PENDING", "changed PENDING"]
    assert calls[-2:] == ["queried COMPLETED", "ended"]
    assert calls.count("changed PENDING") == 1


def test_a_job_is_watched_whatever_its_name_and_comment_become_and_ends_when_another_gets_its_id(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    states: list[JobState] = []
    ends: list[JobState] = []

    def changed(job: Job) -> None:
        states.append(job.state)
        if job.state.is_waiting:
            slurm.run_job(job.id)
            slurm.change(job.id, name="my-run", comment="cost-centre-17")
        else:
            slurm.change(job.id, submit=slurm.now + 60, state="PENDING")

    watch = JobWatch(lambda: client, slurm.add_job("alice"), changed, lambda job: ends.append(job.state))
    watch.start()
    assert watch.join(10)
    assert (states, ends) == ([JobState.PENDING, JobState.RUNNING], [JobState.VANISHED])


def test_an_early_reason_of_a_job_is_no_change_until_it_has_stayed(
    slurm: FakeSlurm, client: SlurmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "SETTLING", 0.2)
    seen: list[tuple[JobState, str]] = []

    def changed(job: Job) -> None:
        seen.append((job.state, job.reason))
        if job.reason:
            slurm.end_job(job.id)

    watch = JobWatch(lambda: client, slurm.add_job("alice", reason="Priority"), changed, lambda job: None)
    watch.start()
    assert watch.join(10)
    assert seen == [(JobState.PENDING, ""), (JobState.PENDING, "Priority")]


@pytest.mark.parametrize(
    ("state", "reason", "age", "shown"),
    [
        (JobState.PENDING, "Priority", 1.0, ""),
        (JobState.PENDING, "Resources", 9.9, ""),
        (JobState.PENDING, "Priority", 10.0, "Priority"),
        (JobState.PENDING, "QOSGrpNodeLimit", 1.0, "QOSGrpNodeLimit"),
        (JobState.PENDING, "", 1.0, ""),
        (JobState.RUNNING, "None", 1.0, "None"),
    ],
)
def test_only_what_says_nothing_yet_is_left_out(state: JobState, reason: str, age: float, shown: str) -> None:
    job = Job(id=1, state=state, reason=reason)
    assert job_watch.without_early_reason(job, age) == replace(job, reason=shown)
