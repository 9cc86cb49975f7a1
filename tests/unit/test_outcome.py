"""The end of a run: what is told first makes the error, what is found out later betters the report."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace

import pytest

from flatirons.errors import SlurmError, SlurmUnreachable, SubmitRefused
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobState
from flatirons.spawners import outcome as module
from flatirons.spawners.attempt import Attempt
from flatirons.spawners.diagnosis import STOPPED, UNANSWERED, Cause, Ending
from flatirons.spawners.outcome import NOT_ENDED_YET, Outcome
from flatirons.spawners.report import Report
from flatirons.spawners.story import Story
from tests.fakes.slurm import FakeSlurm

OVER = Job(7, JobState.COMPLETED, batch_host="c1", exit_code=0)
KILLED = Ending(None, 9, "", ("last line",))


@dataclass
class Known:
    """A run that was up, as its outcome sees it."""

    attempt: Attempt = field(
        default_factory=lambda: replace(Attempt.new("summit", "code"), job_id=7, host="c1", port=4321)
    )
    job: Job | None = None


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
async def outcome(known: Known, reports: list[Report]) -> Outcome:
    client = SlurmClient(Cluster("summit"), FakeSlurm())
    return Outcome(known, client, Story(), reports.append, logging.getLogger("test"))


async def test_a_run_that_lives_has_no_exit_status_and_no_error(outcome: Outcome, known: Known) -> None:
    known.job = Job(7, JobState.RUNNING)
    assert outcome.exit_status() is None and outcome.error is None


async def test_the_first_cause_is_the_error_and_a_later_one_only_betters_the_report(
    outcome: Outcome, reports: list[Report]
) -> None:
    first = outcome.conclude(Cause("signal", "It was killed.", "See the log."))
    later = outcome.conclude(Cause("out_of_memory", "It used too much memory."))
    assert later is first is outcome.error
    assert first.user == "It was killed. See the log."
    assert [each.kind for each in reports] == ["signal", "out_of_memory"]


async def test_the_starters_word_is_reported_at_once_and_is_an_error_once_it_is_trusted(
    outcome: Outcome, reports: list[Report]
) -> None:
    outcome.hear(KILLED)
    assert [each.kind for each in reports] == ["signal"] and outcome.error is None
    outcome.trust(KILLED)
    assert outcome.error and outcome.error.user.endswith("\nlast line")


async def test_an_end_that_was_asked_for_is_said_to_be_that_and_no_failure(
    outcome: Outcome, known: Known, reports: list[Report]
) -> None:
    outcome.stopped_for = UNANSWERED
    known.attempt, known.job = replace(known.attempt, stopping=True), OVER
    outcome.hear(KILLED)
    await outcome.settle(OVER)
    assert [each.sentence for each in reports] == [UNANSWERED.sentence] and outcome.error is None


async def test_of_a_server_that_did_not_answer_slurm_knows_better_why(
    outcome: Outcome, known: Known, reports: list[Report]
) -> None:
    failed = Job(7, JobState.NODE_FAIL, batch_host="c1")
    known.attempt, known.job = replace(known.attempt, stopping=True), failed
    for cause in (UNANSWERED, STOPPED):
        outcome.stopped_for = cause
        await outcome.settle(failed)
    assert [each.kind for each in reports] == ["node_failure", "stopped"]
    assert outcome.error is None


async def test_who_waits_for_a_server_that_an_earlier_hub_stopped_learns_of_it(
    outcome: Outcome, known: Known
) -> None:
    known.attempt = replace(known.attempt, stopping=True)
    await outcome.settle(OVER)
    assert outcome.error and outcome.error.user == STOPPED.sentence


async def test_a_stop_that_failed_says_so_unless_the_run_has_ended_otherwise(
    outcome: Outcome, reports: list[Report]
) -> None:
    outcome.outlive(STOPPED)
    assert reports[-1].sentence == f"{STOPPED.sentence} {NOT_ENDED_YET}"
    outcome.conclude(Cause("failed", "It failed."))
    outcome.outlive(STOPPED)
    assert reports[-1].kind == "failed"


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (SubmitRefused("Slurm says no.", "no"), []),
        (SlurmUnreachable("Slurm is away.", ""), ["not_submitted"]),
    ],
)
async def test_only_a_submission_that_may_fail_unseen_is_reported(
    outcome: Outcome, known: Known, reports: list[Report], error: SlurmError, kept: list[str]
) -> None:
    known.attempt = replace(known.attempt, job_id=0)
    outcome.refuse(error)
    assert [each.kind for each in reports] == kept
    assert outcome.error is error and outcome.exit_status() == 1


async def test_a_requeued_job_has_ended_for_jupyterhub_although_it_waits(
    outcome: Outcome, known: Known
) -> None:
    known.job = Job(7, JobState.PENDING)
    outcome.requeue(known.job)
    assert outcome.is_requeued and outcome.exit_status() == 1
    async with asyncio.timeout(1):
        await outcome.explained()


async def test_an_end_that_nobody_explains_keeps_jupyterhub_for_a_moment_only(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_EXPLAIN", 0.01)
    async with asyncio.timeout(5):
        await outcome.explained()
