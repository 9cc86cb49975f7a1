"""The end of a run: the first cause decides the error; later news improves the report."""

from __future__ import annotations

import asyncio
import logging
import pwd
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from flatirons.errors import SlurmError, SlurmUnreachable, SubmitRefused
from flatirons.job.node import kinds
from flatirons.servers import end_lookup
from flatirons.servers.causes import STOPPED, UNANSWERED, Cause, StarterEnd
from flatirons.servers.progress import StartProgress
from flatirons.servers.report import Report
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobState
from flatirons.spawners.run import outcome as module
from flatirons.spawners.run.outcome import NOT_ENDED_YET, Outcome
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.run.used_memory import UsedMemory
from tests.fakes.slurm import FakeSlurm

OVER = Job(7, JobState.COMPLETED, batch_host="c1", exit_code=0)
KILLED = StarterEnd(None, 9, "", ("last line",))


@dataclass
class Known:
    """A run that was up, as its outcome sees it."""

    attempt: Attempt = field(
        default_factory=lambda: replace(Attempt.new("summit", "code"), job_id=7, host="c1", port=4321)
    )
    job: Job | None = None
    memory: UsedMemory = field(default_factory=UsedMemory)


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


async def as_it_is(cause: Cause) -> Cause:
    return cause


@pytest.fixture
async def outcome(known: Known, reports: list[Report], slurm: FakeSlurm, failures: list[str]) -> Outcome:
    client = SlurmClient(Cluster("summit"), slurm)
    log = logging.getLogger("test")
    return Outcome(known, client, StartProgress(), reports.append, log, as_it_is, failures.append)


async def test_a_run_that_lives_has_no_exit_status_and_no_error(outcome: Outcome, known: Known) -> None:
    known.job = Job(7, JobState.RUNNING)
    assert outcome.exit_status() is None and outcome.error is None


async def test_the_first_cause_is_the_error_and_a_later_one_only_improves_the_report(
    outcome: Outcome, reports: list[Report]
) -> None:
    first = outcome.conclude(Cause("signal", "It was killed.", "See the log."))
    later = outcome.conclude(Cause("out_of_memory", "It used too much memory."))
    assert later is first is outcome.error
    assert first.user == "It was killed. See the log."
    assert [each.kind for each in reports] == ["signal", "out_of_memory"]


async def test_the_starters_report_is_kept_at_once_and_becomes_the_error_once_it_is_trusted(
    outcome: Outcome, reports: list[Report]
) -> None:
    outcome.record_starter_end(KILLED)
    assert [each.kind for each in reports] == ["signal"] and outcome.error is None
    await outcome.accept_starter_end(KILLED)
    assert outcome.error and outcome.error.user.endswith("\nlast line")


async def test_a_requested_end_is_reported_as_such_and_is_no_failure(
    outcome: Outcome, known: Known, reports: list[Report]
) -> None:
    outcome.stopped_for = UNANSWERED
    known.attempt, known.job = replace(known.attempt, stopping=True), OVER
    outcome.record_starter_end(KILLED)
    await outcome.record_job_end(OVER)
    assert [each.sentence for each in reports] == [UNANSWERED.sentence] and outcome.error is None


async def test_slurm_knows_better_why_a_server_did_not_answer(
    outcome: Outcome, known: Known, reports: list[Report]
) -> None:
    failed = Job(7, JobState.NODE_FAIL, batch_host="c1")
    known.attempt, known.job = replace(known.attempt, stopping=True), failed
    for cause in (UNANSWERED, STOPPED):
        outcome.stopped_for = cause
        await outcome.record_job_end(failed)
    assert [each.kind for each in reports] == ["node_failure", "stopped"]
    assert outcome.error is None


async def test_those_who_wait_for_a_server_that_an_earlier_hub_stopped_get_its_end(
    outcome: Outcome, known: Known
) -> None:
    known.attempt = replace(known.attempt, stopping=True)
    await outcome.record_job_end(OVER)
    assert outcome.error and outcome.error.user == STOPPED.sentence


async def test_a_stop_that_failed_says_so_unless_the_run_has_ended_otherwise(
    outcome: Outcome, reports: list[Report]
) -> None:
    outcome.record_failed_stop(STOPPED)
    assert reports[-1].sentence == f"{STOPPED.sentence} {NOT_ENDED_YET}"
    outcome.conclude(Cause("failed", "It failed."))
    outcome.record_failed_stop(STOPPED)
    assert reports[-1].kind == "failed"


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (SubmitRefused("Slurm says no.", "no"), ["refused"]),
        (SlurmUnreachable("Slurm is away.", ""), ["not_submitted"]),
    ],
)
async def test_a_submission_that_failed_is_reported_in_slurms_words(
    outcome: Outcome, known: Known, reports: list[Report], error: SlurmError, kept: list[str]
) -> None:
    known.attempt = replace(known.attempt, job_id=0)
    outcome.record_refusal(error)
    assert [each.kind for each in reports] == kept and reports[0].sentence == error.user
    assert outcome.error is error and outcome.exit_status() == 1


async def test_a_requeued_job_has_ended_for_jupyterhub_although_it_waits(
    outcome: Outcome, known: Known
) -> None:
    known.job = Job(7, JobState.PENDING)
    outcome.record_requeue(known.job)
    assert outcome.is_requeued and outcome.exit_status() == 1
    async with asyncio.timeout(1):
        await outcome.explained()


async def test_an_unexplained_end_delays_jupyterhub_only_for_a_moment(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_EXPLAIN", 0.01)
    async with asyncio.timeout(5):
        await outcome.explained()


def completing(slurm: FakeSlurm, known: Known, state: str, **facts: object) -> Job:
    """The run's job while it ends: squeue says no more than that, accounting says why."""
    while slurm.add_job("alice") < 7:
        pass
    slurm.run_job(7)
    slurm.end_job(7, state, **facts)
    slurm.jobs[7] = replace(slurm.jobs[7], state="COMPLETING")
    known.job = Job(7, JobState.COMPLETING, batch_host="c1", runtime_limit_minutes=60)
    return known.job


STOPPED_BY_SIGNAL = StarterEnd(0, None, kind=kinds.STOPPED)


@pytest.mark.parametrize(
    ("state", "facts", "kind"),
    [
        ("TIMEOUT", {}, "time_limit"),
        ("CANCELLED", {"cancelled_by": 0}, "cancelled_by_operator"),
        ("PREEMPTED", {}, "preempted"),
        ("COMPLETED", {}, "stopped"),
    ],
)
async def test_while_a_job_waits_for_its_epilog_accounting_knows_why_it_ends(
    outcome: Outcome,
    known: Known,
    reports: list[Report],
    slurm: FakeSlurm,
    state: str,
    facts: dict[str, object],
    kind: str,
) -> None:
    completing(slurm, known, state, **facts)
    outcome.record_starter_end(STOPPED_BY_SIGNAL)
    await outcome.accept_starter_end(STOPPED_BY_SIGNAL)
    assert [each.kind for each in reports] == ["stopped", kind]
    assert slurm.count("sacct") == 1 and outcome.error


async def test_while_accounting_knows_nothing_the_starters_report_counts_until_slurms(
    outcome: Outcome, known: Known, reports: list[Report], slurm: FakeSlurm
) -> None:
    job = completing(slurm, known, "TIMEOUT")
    slurm.accounting[7] = replace(slurm.accounting[7], state="RUNNING")
    await outcome.accept_starter_end(STOPPED_BY_SIGNAL)
    assert [each.kind for each in reports] == ["stopped"]
    known.attempt = replace(known.attempt, stopping=True)  # JupyterHub cleans up
    outcome.stopped_for = STOPPED
    slurm.accounting[7] = replace(slurm.accounting[7], state="TIMEOUT")
    await outcome.record_job_end(replace(job, state=JobState.TIMEOUT))
    assert reports[-1].kind == "time_limit"


async def test_an_answer_of_accounting_is_kept_when_it_answers_no_more(
    outcome: Outcome, known: Known, reports: list[Report], slurm: FakeSlurm
) -> None:
    job = completing(slurm, known, "CANCELLED", cancelled_by=0)
    await outcome.accept_starter_end(STOPPED_BY_SIGNAL)
    slurm.fail("sacct", "Problem talking to the database: Connection refused\n")
    await outcome.record_job_end(replace(job, state=JobState.CANCELLED))
    assert [each.kind for each in reports] == ["cancelled_by_operator"] * 2
    assert reports[-1].requested_memory_mib == 1000


async def test_the_hubs_own_cancellation_afterwards_is_not_taken_for_the_reason(
    outcome: Outcome, known: Known, reports: list[Report], slurm: FakeSlurm
) -> None:
    job = completing(slurm, known, "CANCELLED", cancelled_by=10001)
    slurm.fail("sacct", "Problem talking to the database: Connection refused\n")
    await outcome.accept_starter_end(KILLED)
    known.attempt = replace(known.attempt, stopping=True)
    outcome.stopped_for = STOPPED
    await outcome.record_job_end(replace(job, state=JobState.CANCELLED))
    assert reports[-1].kind == "signal"


async def test_an_accounting_that_does_not_answer_delays_the_error_only_for_a_moment(
    outcome: Outcome, known: Known, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_lookup, "SECONDS_FOR_ACCOUNTING", 0.01)
    completing(slurm, known, "TIMEOUT")
    slurm.hold("sacct")
    async with asyncio.timeout(5):
        await outcome.accept_starter_end(KILLED)
    assert outcome.error


async def test_an_end_is_reported_before_the_fix_is_known(
    known: Known, reports: list[Report], slurm: FakeSlurm
) -> None:
    """The report doesn't wait for the form, and an error of the form doesn't hide the reason."""
    errors: list[object] = []

    async def with_suggested_fix(cause: Cause) -> Cause:
        errors.append(made.error)
        return replace(cause, fix={"runtime": "1:30:00"})

    client = SlurmClient(Cluster("summit"), slurm)
    log = logging.getLogger("test")
    made = Outcome(known, client, StartProgress(), reports.append, log, with_suggested_fix, [].append)
    job = completing(slurm, known, "TIMEOUT")
    await made.record_job_end(replace(job, state=JobState.TIMEOUT))
    assert errors == [made.error] and made.error
    assert [each.fix.get("runtime") for each in reports] == ["2:00:00", "2:00:00", "1:30:00"]


async def test_who_cancelled_a_job_is_named_where_this_machine_knows_the_name(
    outcome: Outcome, known: Known, reports: list[Report], slurm: FakeSlurm
) -> None:
    me = pwd.getpwall()[1]
    for number, name in (
        (me.pw_uid, f"by {me.pw_name}."),
        (4_000_000_001, "by the user with id 4000000001."),
    ):
        job = completing(slurm, known, "CANCELLED", cancelled_by=number)
        await outcome.record_job_end(replace(job, state=JobState.CANCELLED))
        assert reports[-1].sentence.endswith(name)


Counted = Callable[[], dict[str, float]]


@pytest.fixture
def failures() -> list[str]:
    """The kinds of the failures that were counted, in order."""
    return []


@pytest.fixture
def counted(failures: list[str]) -> Counted:
    """How often each kind was counted."""
    return lambda: dict(Counter(failures))


async def test_an_end_is_counted_once_with_the_kind_of_its_last_report(
    outcome: Outcome, known: Known, slurm: FakeSlurm, counted: Counted
) -> None:
    job = completing(slurm, known, "TIMEOUT")
    slurm.fail("sacct", "Problem talking to the database: Connection refused\n")
    outcome.record_starter_end(KILLED)
    await outcome.accept_starter_end(KILLED)
    assert counted() == {}, "more may become known"
    await outcome.record_job_end(replace(job, state=JobState.TIMEOUT))
    outcome.count()
    assert counted() == {"time_limit": 1}


async def test_an_end_that_slurm_never_reports_is_counted_when_its_run_is_closed(
    outcome: Outcome, counted: Counted
) -> None:
    await outcome.accept_starter_end(KILLED)
    outcome.count()
    outcome.count()
    assert counted() == {"signal": 1}


async def test_a_spawn_that_never_reached_slurm_is_counted(
    outcome: Outcome, known: Known, counted: Counted
) -> None:
    known.attempt = replace(known.attempt, job_id=0)
    outcome.record_not_submitted()
    assert counted() == {"not_submitted": 1}


@pytest.mark.parametrize(("cause", "expected"), [(UNANSWERED, {"not_answering": 1}), (STOPPED, {})])
async def test_a_server_that_did_not_answer_is_counted_and_one_that_was_stopped_is_not(
    outcome: Outcome, known: Known, counted: Counted, cause: Cause, expected: dict[str, float]
) -> None:
    known.attempt = replace(known.attempt, stopping=True)
    outcome.stopped_for = cause
    await outcome.record_job_end(OVER)
    outcome.count()
    assert counted() == expected


async def test_a_start_that_timed_out_is_counted_as_that_even_if_it_is_stopped_afterwards(
    outcome: Outcome, known: Known, counted: Counted
) -> None:
    outcome.conclude(Cause("too_long_in_queue", "It waited too long."))
    known.attempt = replace(known.attempt, stopping=True)
    outcome.stopped_for = STOPPED
    await outcome.record_job_end(Job(7, JobState.CANCELLED))
    assert counted() == {"too_long_in_queue": 1}
