"""A run of a server of the hub: what Slurm says combined with what the starter says; on a Slurm in memory."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flatirons.errors import ServerEnded, SlurmError, SubmitRefused
from flatirons.job.node.kinds import IMAGE_MISSING, STOPPED
from flatirons.servers import follow
from flatirons.servers.causes import Cause, StarterEnd
from flatirons.servers.follow import Limits
from flatirons.servers.progress import StartProgress
from flatirons.servers.report import Report
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, JobSpec
from flatirons.slurm.polling import Clock, PollSchedule
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.jupyterhub import cleanup
from flatirons.spawners.run.caller_check import NotExpected
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.start_failed import StartFailed
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import Registry
from tests.fakes.clock import idle
from tests.fakes.slurm import FakeSlurm
from tests.waiting import until

CODE = "the one-time boot code"
KEY = "the starter's own secret"
QUICK = PollSchedule(starting=0.01, waiting=0.01, quiet=0.02, longest=0.05, gap=0.0, burst=1000, doubt=0.05)
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


@dataclass
class StubSpawner:
    """What a run needs from its spawner; `saved` is what a restarted hub would find, oldest first."""

    name: str = ""
    job_name: str = "jupyter"
    owner: str = "alice"
    saved: list[Attempt] = field(default_factory=list)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("test"))
    run: ServerRun | None = None
    ready: bool = False
    pending: str | None = None
    notified: int = 0
    cleaned: int = 0
    withdrawn_at: list[int] = field(default_factory=list)  # how many commands Slurm had been asked by then
    reports: list[Report] = field(default_factory=list)

    def keep(self, report: Report) -> None:
        self.reports = [report, *(each for each in self.reports if each.job_id != report.job_id)]

    async def withdraw(self) -> None:
        assert self.run
        self.withdrawn_at.append(len(cast(FakeSlurm, self.run.client.runner).calls))

    async def reports_stored(self) -> None:
        pass

    async def with_suggested_fix(self, cause: Cause) -> Cause:
        return cause

    async def poll_and_notify(self) -> None:
        self.notified += 1

    def correct_address(self) -> None:
        pass

    async def clean_up(self) -> None:
        self.cleaned += 1

    @property
    def user(self) -> Any:
        return SimpleNamespace(name=self.owner)

    def save(self) -> Awaitable[None]:
        assert self.run
        self.saved.append(self.run.attempt)
        return asyncio.sleep(0)


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
async def registry(slurm: FakeSlurm) -> AsyncIterator[Registry]:
    client = SlurmClient(Cluster("summit"), slurm)
    watcher = Watcher(client, schedule=QUICK)
    watcher.start()
    yield Registry("hub1", {"summit": client}, logging.getLogger("test"), {"summit": watcher})
    await watcher.stop()


@pytest.fixture
async def run(registry: Registry) -> AsyncIterator[ServerRun]:
    made = make_run(registry, Attempt.new("summit", CODE))
    yield made
    made.close()


def make_run(registry: Registry, attempt: Attempt, limits: Limits | None = None) -> ServerRun:
    spawner = StubSpawner()
    spawner.run = ServerRun(attempt, cast(Any, spawner), registry, limits or Limits(60, 60, 5))
    return spawner.run


def saved(run: ServerRun) -> list[Attempt]:
    return cast(StubSpawner, run.spawner).saved


def spec(run: ServerRun, **options: Any) -> JobSpec:
    return JobSpec(name="jupyter", comment=run.registry.comment(run.attempt.spawn_id, "alice/"), **options)


async def started(run: ServerRun, slurm: FakeSlurm) -> asyncio.Task[None]:
    """A run whose job has its node; the task is its arrival."""
    await run.submit(spec(run), "script")
    arrival = asyncio.ensure_future(run.arrive())
    slurm.run_job(run.attempt.job_id)
    return arrival


async def test_a_spawn_is_stored_before_slurm_knows_it_and_its_job_as_soon_as_it_is_known(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    stored_when_submitted: list[Attempt] = []
    slurm.on_submit = lambda job: stored_when_submitted.extend(saved(run))
    await run.submit(spec(run), "script")
    assert [attempt.job_id for attempt in stored_when_submitted] == [0]
    assert [attempt.job_id for attempt in saved(run)] == [0, 1]
    assert not any(secret in str(saved(run)) for secret in (CODE, KEY))


async def test_a_run_arrives_at_the_node_from_slurm_and_the_port_from_the_starter(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    assert (run.attempt.host, run.attempt.port) == ("shas0101", 4321)
    assert run.exit_status() is None
    messages = [event["message"] for event in run.progress.events]
    assert messages[0] == "Submitted as job 1 on summit."
    took = r"\d\.\d seconds to the container, \d\.\d seconds to the server"
    assert re.fullmatch(rf"The server is up on shas0101: 0 seconds in the queue, {took}\.", messages[-1])
    assert len(messages) == len(set(messages))


async def test_a_boot_code_is_valid_for_one_starter_only(run: ServerRun, slurm: FakeSlurm) -> None:
    arrival = await started(run, slurm)
    with pytest.raises(NotExpected):
        await run.boot(2, KEY)
    await run.boot(1, KEY)
    await run.boot(1, KEY)  # its answer was lost on the way: the same starter asks again
    with pytest.raises(NotExpected):
        await run.boot(1, "a thief's secret")
    await run.ready(4321)
    await arrival
    for late in (run.boot(1, KEY), run.ready(1234)):
        with pytest.raises(NotExpected):
            await late


async def test_a_starter_may_repeat_ready_if_the_answer_was_lost(run: ServerRun, registry: Registry) -> None:
    """A refusal would end a good server: seen when the hub was killed between storing and answering."""
    slurm = cast(FakeSlurm, run.client.runner)
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await asyncio.gather(run.ready(4321), run.ready(4321))
    await arrival
    after_restart = make_run(registry, saved(run)[-1])
    await after_restart.ready(4321)
    await after_restart.arrive()
    with pytest.raises(NotExpected):
        await after_restart.ready(4322)
    after_restart.close()


async def test_a_starter_of_a_server_that_is_being_stopped_is_refused(
    run: ServerRun, registry: Registry, slurm: FakeSlurm
) -> None:
    """The token that it would get could serve the next server of the same name."""
    gate = slurm.hold("sbatch")
    submitting = asyncio.ensure_future(run.submit(spec(run), "script"))
    await asyncio.sleep(0)
    booting = asyncio.ensure_future(run.boot(1, KEY))
    stopping = asyncio.ensure_future(run.stop())
    await asyncio.sleep(0)
    gate.set()
    await submitting
    with pytest.raises(NotExpected):
        await booting
    await stopping
    assert registry.by_key(KEY) is None


async def test_a_call_ready_of_a_job_that_slurm_no_longer_shows_ends_with_the_run(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await run.submit(spec(run), "script")
    await run.boot(1, KEY)
    slurm.lose(1)
    asked = slurm.count("squeue")
    saying = asyncio.ensure_future(run.ready(4321))
    await until(lambda: slurm.count("squeue") > asked + 3)
    run.close()
    with pytest.raises(NotExpected):
        async with asyncio.timeout(2):
            await saying


async def test_a_starter_that_is_faster_than_sbatchs_answer_is_waited_for(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    gate = slurm.hold("sbatch")
    submitting = asyncio.ensure_future(run.submit(spec(run), "script"))
    await asyncio.sleep(0)
    booting = asyncio.ensure_future(run.boot(1, KEY))
    gate.set()
    await submitting
    await booting
    assert run.attempt.key_digest


async def test_a_server_that_ends_before_it_listens_is_reported_with_its_log(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    slurm.end_job(1, "FAILED", exit_code="1:0")
    values = {"image": "x.sif", "node": "c1"}
    await run.end(StarterEnd(1, None, "", ("line 1", "<b>"), IMAGE_MISSING, values))
    with pytest.raises(ServerEnded) as raised:
        await arrival
    shown = StartFailed(raised.value)
    said = "The image x.sif doesn't exist on c1. Choose another environment. Please tell the operator."
    assert shown.jupyterhub_message == f"{said}\nline 1\n<b>"
    assert "&lt;b&gt;" in shown.jupyterhub_html_message and "<b>" not in shown.jupyterhub_html_message
    assert run.exit_status() == 1


async def test_slurm_is_believed_before_the_starter_when_it_knows_better(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    slurm.end_job(1, "OUT_OF_MEMORY", exit_code="0:125", memory="1000M", max_rss="999M")
    await run.end(StarterEnd(None, 9, "", ("Killed",)))
    with pytest.raises(ServerEnded, match="memory"):
        await arrival


async def test_a_job_that_ends_without_a_call_of_its_starter_is_noticed(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    slurm.end_job(1, "NODE_FAIL")
    with pytest.raises(ServerEnded, match="node"):
        await arrival


@pytest.mark.parametrize("trouble", ["fail", "hang", "garbage", "half"])
async def test_no_failed_query_ends_a_server(run: ServerRun, slurm: FakeSlurm, trouble: str) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    before = slurm.count("squeue")
    if trouble == "fail":
        slurm.fail("squeue", DOWN, times=5)
    elif trouble == "hang":
        slurm.hang("squeue", times=5)
    else:
        # not cut in halves: heading and record happen to be of one length, and the heading alone is an answer
        change = (
            (lambda out: "\x00garbage") if trouble == "garbage" else (lambda out: out[: len(out) * 2 // 3])
        )
        slurm.tamper("squeue", change, times=5)
    await until(lambda: slurm.count("squeue") > before + 6)
    assert run.exit_status() is None and run.outcome.error is None


async def test_a_refused_job_raises_slurms_sentence_and_leaves_nothing(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    with pytest.raises(SubmitRefused, match="Invalid account or account/partition combination"):
        await run.submit(spec(run, account="csdms"), "script")
    await run.stop()
    assert slurm.count("scancel") == 0
    assert run.exit_status() == 1


async def test_waiting_and_starting_have_limits_of_their_own(registry: Registry, slurm: FakeSlurm) -> None:
    queued = make_run(registry, Attempt.new("summit", "a"), Limits(queue=0.05, node=60, stop=5))
    await queued.submit(spec(queued), "script")
    with pytest.raises(ServerEnded, match="in the queue"):
        await queued.arrive()
    silent = make_run(registry, Attempt.new("summit", "b"), Limits(queue=60, node=0.05, stop=5))
    with pytest.raises(ServerEnded, match="the hub got no call from it"):
        await (await started(silent, slurm))
    slow = make_run(registry, Attempt.new("summit", "c"), Limits(queue=60, node=0.3, stop=5))
    arrival = await started(slow, slurm)
    await slow.boot(slow.attempt.job_id, KEY)
    with pytest.raises(ServerEnded, match="no server answered"):
        await arrival
    for run in (queued, silent, slow):
        run.close()


async def test_the_progress_shows_nodes_that_boot_and_how_long_that_took(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await run.submit(spec(run), "script")
    arrival = asyncio.ensure_future(run.arrive())
    slurm.change(1, state="CONFIGURING", nodes="shas0101")
    await until(lambda: run.progress.events[-1]["message"] == "Node shas0101 is booting.")
    assert run.phase == "booting"
    slurm.run_job(1)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    assert "seconds for the nodes to boot, " in run.progress.events[-1]["message"]


async def test_an_estimate_that_hardly_changed_is_not_shown_again(run: ServerRun, slurm: FakeSlurm) -> None:
    """Otherwise the page of a server that waits for days gets a line every half minute."""
    await run.submit(spec(run), "script")
    run.follow()
    now = int(time.time())
    told = []
    for seconds in (36000, 36600, 35000, 7200):
        slurm.change(1, start=now + seconds)
        await until(lambda: run.job and run.job.start and run.job.start.timestamp() == now + seconds)  # noqa: B023
        told.append(run.progress.events[-1]["message"])
    assert told[0] == told[1] == told[2] != told[3]
    assert time.strftime("%Z") in told[0], "a time without its zone misleads"


async def test_an_error_while_a_job_is_followed_is_logged_and_the_job_is_followed_again(
    run: ServerRun, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    await run.submit(spec(run), "script")
    run.progress.tell = cast(Any, None)  # type: ignore[method-assign]
    run.follow()
    await until(lambda: "is no longer followed" in caplog.text)
    del run.progress.tell
    run.follow()
    slurm.run_job(1)
    await until(lambda: run.job and run.job.state.is_running)


@pytest.mark.parametrize("turns", range(5))
async def test_a_start_is_cancelled_even_if_there_is_news_at_the_same_moment(
    run: ServerRun, slurm: FakeSlurm, turns: int
) -> None:
    """asyncio.wait_for of Python 3.11 loses a cancellation when the awaited task is done at that moment."""
    await run.submit(spec(run), "script")
    arrival = asyncio.ensure_future(run.arrive())
    await until(lambda: run.job)
    run.progress.ring()
    for _ in range(turns):  # of the loop, between the news and the cancellation
        await asyncio.sleep(0)
    arrival.cancel()
    await asyncio.wait([arrival], timeout=1)
    assert arrival.cancelled()


async def test_stop_returns_when_slurm_says_that_the_job_is_over(run: ServerRun, slurm: FakeSlurm) -> None:
    await started(run, slurm)
    await run.stop()
    assert slurm.jobs[1].state == "CANCELLED"
    assert run.exit_status() is not None


async def test_a_running_server_gets_a_signal_before_its_job_is_cancelled(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    stopping = asyncio.ensure_future(run.stop())
    await until(lambda: slurm.count("scancel") == 1)
    assert slurm.jobs[1].state == "RUNNING", "only its script was told"
    slurm.end_job(1, "COMPLETED")
    await stopping
    assert slurm.count("scancel") == 1
    assert slurm.count("sacct") == 0, "accounting isn't asked why"


async def test_a_server_that_ignores_a_signal_is_ended_by_slurm(registry: Registry, slurm: FakeSlurm) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(60, 60, stop=0.2))
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    await run.stop()
    assert slurm.count("scancel") == 2
    assert slurm.jobs[1].state == "CANCELLED"
    run.close()


async def test_a_job_that_does_not_go_is_an_error_and_not_a_silence(
    registry: Registry, slurm: FakeSlurm
) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(60, 60, stop=0.1))
    await started(run, slurm)
    slurm.tamper("scancel", lambda out: out)
    slurm.end_job = lambda *args, **facts: None  # type: ignore[method-assign]  # Slurm accepts it and does nothing
    with pytest.raises(SlurmError, match="not ended"):
        await run.stop()
    assert kinds(run) == ["stopped"], "JupyterHub forgets the server nevertheless"
    run.close()


async def test_a_start_cancelled_while_it_submits_leaves_no_job(run: ServerRun, slurm: FakeSlurm) -> None:
    gate = slurm.hold("sbatch")
    submitting = asyncio.ensure_future(run.submit(spec(run), "script"))
    await until(lambda: slurm.count("sbatch"))
    submitting.cancel()
    stopping = asyncio.ensure_future(run.stop())
    gate.set()
    await stopping
    assert [job.state for job in slurm.jobs.values()] == ["CANCELLED"]


async def test_after_a_restart_a_job_is_found_by_its_comment(registry: Registry, slurm: FakeSlurm) -> None:
    attempt = Attempt.new("summit", CODE)
    slurm.add_job("bob", comment=registry.comment(attempt.spawn_id, "alice/"))  # anybody can write a comment
    job_id = slurm.add_job("alice", comment=registry.comment(attempt.spawn_id, "alice/"))
    run = make_run(registry, attempt)
    slurm.fail("squeue", DOWN, times=3)
    arrival = asyncio.ensure_future(run.arrive())
    await until(lambda: run.attempt.job_id == job_id)
    slurm.run_job(job_id)
    await run.boot(job_id, KEY)
    await run.ready(4321)
    await arrival
    run.close()


async def test_after_a_restart_an_sbatch_that_is_still_on_its_way_is_waited_for(
    registry: Registry, slurm: FakeSlurm
) -> None:
    """sbatch continues when the hub is killed."""
    attempt = Attempt.new("summit", CODE)
    run = make_run(registry, attempt)
    arrival = asyncio.ensure_future(run.arrive())
    await until(lambda: slurm.count("squeue") > 2)
    job_id = slurm.add_job("alice", comment=registry.comment(attempt.spawn_id, "alice/"))
    await until(lambda: run.attempt.job_id == job_id)
    arrival.cancel()
    run.close()


async def test_a_stop_right_after_a_restart_finds_the_job_first(registry: Registry, slurm: FakeSlurm) -> None:
    attempt = Attempt.new("summit", CODE)
    job_id = slurm.add_job("alice", comment=registry.comment(attempt.spawn_id, "alice/"))
    run = make_run(registry, attempt)
    await run.stop()
    assert slurm.jobs[job_id].state == "CANCELLED"
    run.close()


class RecordingClock(Clock):
    """Notes for how many seconds each wait was to be."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waits.append(seconds)
        await super().wait(event, seconds)


async def test_once_a_server_listens_its_job_is_looked_at_less_often(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    run.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    run.watcher.clock = clock = RecordingClock()
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await until(lambda: run.job and run.job.state.is_running)
    await until(lambda: 0 < clock.waits[-1] < 1)
    await run.ready(4321)
    await arrival
    await until(lambda: clock.waits[-1] > 50)


@pytest.mark.parametrize("ready", [True, False])
async def test_jupyterhub_learns_of_an_end_only_once_it_polls(
    run: ServerRun, slurm: FakeSlurm, ready: bool
) -> None:
    arrival = await started(run, slurm)
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    spawner = cast(StubSpawner, run.spawner)
    spawner.ready = ready
    slurm.end_job(1, "COMPLETED")
    assert run._following
    await run._following
    assert spawner.notified == int(ready)
    assert run.exit_status() == 0


def kinds(run: ServerRun) -> list[str]:
    return [report.kind for report in cast(StubSpawner, run.spawner).reports]


async def up(run: ServerRun, slurm: FakeSlurm) -> None:
    """The run's server listens."""
    arrival = await started(run, slurm)
    await run.boot(run.attempt.job_id, KEY)
    await run.ready(4321)
    await arrival


async def test_a_report_is_there_before_accounting_answered_and_better_afterwards(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """JupyterHub forgets a run as soon as it has an exit status."""
    await up(run, slurm)
    gate = slurm.hold("sacct")
    slurm.end_job(1, "CANCELLED", cancelled_by=0)
    await until(lambda: run.exit_status() is not None)
    assert kinds(run) == ["cancelled"], "by whom, only accounting tells"
    explained = asyncio.ensure_future(run.explained())
    await until(lambda: slurm.count("sacct"))
    await idle()
    assert not explained.done()
    gate.set()
    await explained
    assert kinds(run) == ["cancelled_by_operator"]


async def test_a_hundred_servers_that_end_at_once_cause_few_queries_to_accounting(
    registry: Registry, slurm: FakeSlurm
) -> None:
    """This happens when an operator closes a partition."""
    runs = [make_run(registry, Attempt.new("summit", f"{n}-{CODE}")) for n in range(100)]
    for n, each in enumerate(runs):
        await each.submit(spec(each), "script")
        slurm.run_job(each.attempt.job_id)
        each.follow()
        await each.boot(each.attempt.job_id, f"{n}-{KEY}")
        await each.ready(4321)
    await until(lambda: all(each.job and each.job.state.is_running for each in runs))
    for each in runs:
        slurm.end_job(each.attempt.job_id, "CANCELLED", cancelled_by=0)
    await asyncio.gather(*(each.explained() for each in runs))
    assert [kinds(each) for each in runs] == [["cancelled_by_operator"]] * 100
    assert slurm.count("sacct") <= 3
    for each in runs:
        each.close()


async def test_an_end_without_slurms_report_is_counted_when_the_run_is_forgotten(
    run: ServerRun, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SECONDS_FOR_SLURM", 0.01)
    await up(run, slurm)
    await run.end(StarterEnd(None, 11))
    run.close()
    run.close()
    counted = run.registry.metrics.registry
    assert counted.get_sample_value("flatirons_failures_total", {"kind": "signal"}) == 1


@pytest.mark.parametrize(
    ("reason", "has_starter_called", "kind"),
    [
        ("Prolog error", False, "prolog"),
        ("Prolog error", True, "cancelled_by_operator"),
        ("Not responding", False, "cancelled_by_operator"),
        ("", False, "cancelled_by_operator"),
    ],
)
async def test_a_job_that_slurm_cancelled_for_a_prolog_is_distinguished_from_an_operators_cancellation(
    run: ServerRun, slurm: FakeSlurm, reason: str, has_starter_called: bool, kind: str
) -> None:
    """Slurm shows the job itself in the same way."""
    await started(run, slurm)
    await until(lambda: run.job and run.job.state.is_running)
    if has_starter_called:
        await run.boot(1, KEY)
    slurm.node_reasons["shas0101"] = reason
    slurm.end_job(1, "CANCELLED", cancelled_by=0)
    await until(lambda: run.exit_status() is not None)
    await run.explained()
    assert kinds(run) == [kind]


async def test_the_node_of_a_job_that_ended_otherwise_is_not_queried(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await started(run, slurm)
    slurm.end_job(1, "NODE_FAIL")
    await until(lambda: run.exit_status() is not None)
    await run.explained()
    assert slurm.count("scontrol") == 0


async def test_at_the_end_of_a_server_that_was_up_slurm_is_asked_and_waited_for(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """Slurm first says that the job is completing; only the next answer says who cancelled it."""
    run.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    await up(run, slurm)
    slurm.change(1, state="COMPLETING")
    ending = asyncio.ensure_future(run.end(StarterEnd(0, None, kind=STOPPED)))
    await until(lambda: run.job and run.job.state.is_ending)
    slurm.end_job(1, "CANCELLED", cancelled_by=0)
    await ending
    assert kinds(run) == ["cancelled_by_operator"]


async def test_the_starters_report_of_the_end_is_stored_at_once(run: ServerRun, slurm: FakeSlurm) -> None:
    await up(run, slurm)
    ending = asyncio.ensure_future(run.end(StarterEnd(0, None)))
    await asyncio.sleep(0)
    assert run.exit_status() == 0 and kinds(run) == ["completed"]
    slurm.end_job(1, "TIMEOUT")
    await ending
    assert kinds(run) == ["time_limit"]


async def test_the_stop_that_follows_a_failed_start_does_not_take_the_place_of_its_reason(
    registry: Registry, slurm: FakeSlurm
) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(queue=0.05, node=60, stop=5))
    await run.submit(spec(run), "script")
    with pytest.raises(ServerEnded):
        await run.arrive()
    await run.stop()
    assert slurm.jobs[1].state == "CANCELLED"
    assert kinds(run) == ["too_long_in_queue"]
    run.close()


async def test_a_stop_is_reported_with_its_cause(run: ServerRun, slurm: FakeSlurm) -> None:
    await up(run, slurm)
    stopping = asyncio.ensure_future(run.stop(Cause("not_answering", "It didn't answer.")))
    await until(lambda: slurm.count("scancel") == 1)
    slurm.end_job(1, "COMPLETED")
    await stopping
    assert kinds(run) == ["not_answering"]


async def test_another_job_that_was_given_the_id_is_not_taken_for_ours(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """A slurmctld that was killed forgets its last seconds, and assigns their ids again."""
    await up(run, slurm)
    submit = slurm.jobs[1].submit + 60
    slurm.change(1, submit=submit, comment=run.registry.comment("another spawn", "alice/second"))
    await until(lambda: run.exit_status() is not None)
    assert kinds(run) == ["vanished"]
    assert slurm.jobs[1].state == "RUNNING"


async def test_a_server_is_not_lost_if_its_jobs_comment_was_changed(run: ServerRun, slurm: FakeSlurm) -> None:
    """Its user or a job_submit plugin may have changed it. Then only the id identifies the job."""
    await up(run, slurm)
    slurm.change(1, comment="my long notebook", partition="other")
    await until(lambda: run.job and run.job.partition == "other")
    assert run.exit_status() is None
    stopping = asyncio.ensure_future(run.stop())
    await until(lambda: slurm.count("scancel"))
    await stopping
    assert slurm.jobs[1].state == "CANCELLED"


async def test_a_requeued_job_is_cancelled_and_its_server_is_over(run: ServerRun, slurm: FakeSlurm) -> None:
    """Its boot code is used, so its starter would be refused, and its server shown until then."""
    await up(run, slurm)
    slurm.change(1, state="PENDING", nodes="", host="n/a", reason="BeginTime")
    await until(lambda: run.exit_status() is not None)
    await until(lambda: slurm.jobs[1].state == "CANCELLED")
    assert kinds(run) == ["requeued"]


async def test_an_answer_older_than_the_starters_call_does_not_count_as_a_requeue(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """With many jobs, a starter may report while an earlier query is still running."""
    arrival = await started(run, slurm)
    slurm.tamper("squeue", lambda text: text.replace("RUNNING", "PENDING"))
    await run.boot(1, KEY)
    asked = slurm.count("squeue")
    await until(lambda: slurm.count("squeue") > asked + 3)
    await run.ready(8888)
    await arrival
    assert run.exit_status() is None
    assert slurm.jobs[1].state == "RUNNING"


async def test_jupyterhubs_own_stop_is_not_interrupted_by_the_end_of_the_following(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """JupyterHub closes the run in the middle of its own stop, and then has more to do."""
    done: list[str] = []

    async def stop() -> None:
        run.close()
        await asyncio.sleep(0.01)
        done.append("all of it")

    async def poll_and_notify() -> None:
        await asyncio.ensure_future(stop())

    await up(run, slurm)
    spawner = cast(StubSpawner, run.spawner)
    spawner.ready, spawner.poll_and_notify = True, poll_and_notify  # type: ignore[method-assign]
    slurm.end_job(1, "COMPLETED")
    await until(lambda: done)


@pytest.mark.parametrize(("ready", "pending"), [(True, None), (False, "stop")])
async def test_a_server_that_jupyterhub_left_half_stopped_is_cleaned_up(
    run: ServerRun, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, ready: bool, pending: str | None
) -> None:
    """When its database failed in the middle of a stop, it polled no more and showed the server for ever."""
    now = 1000.0
    monkeypatch.setattr(cleanup, "time", SimpleNamespace(monotonic=lambda: now))
    await up(run, slurm)
    spawner = cast(StubSpawner, run.spawner)
    spawner.ready, spawner.pending = ready, pending
    run.remind()
    now += cleanup.SECONDS_SHOWN + 1
    run.remind()
    slurm.end_job(1, "COMPLETED")
    await until(lambda: run._following and run._following.done())  # which counts as news of the end, too
    run.remind()
    await asyncio.sleep(0)
    assert spawner.cleaned == 0, "not yet: JupyterHub may be about to"
    now += cleanup.SECONDS_SHOWN + 1
    run.remind()
    await until(lambda: spawner.cleaned == 1)


@pytest.mark.parametrize("is_over", [True, False])
async def test_a_stop_that_a_killed_hub_had_begun_is_finished_and_reported_as_such(
    run: ServerRun, registry: Registry, slurm: FakeSlurm, is_over: bool
) -> None:
    await up(run, slurm)
    stopping = asyncio.ensure_future(run.stop())
    await until(lambda: slurm.count("scancel") == 1)
    run.close()
    stopping.cancel()
    if is_over:
        slurm.end_job(1, "COMPLETED")
    after_restart = make_run(registry, saved(run)[-1])
    after_restart.follow()
    await until(lambda: after_restart.exit_status() is not None)
    await after_restart.explained()
    assert kinds(after_restart) == ["stopped"]
    assert slurm.jobs[1].state == ("COMPLETED" if is_over else "CANCELLED")
    after_restart.close()


async def test_no_change_is_missed_between_asking_for_it_and_waiting() -> None:
    """asyncio.wait_for of Python 3.11 starts to wait later, in another task."""
    progress = StartProgress()
    changed = progress.changed()
    progress.ring()
    async with asyncio.timeout(1):
        await changed


async def test_after_a_restart_a_spawn_that_never_reached_slurm_is_reported(registry: Registry) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(60, 60, 5, submission=0))
    with pytest.raises(ServerEnded, match="before the job was submitted"):
        await run.arrive()
    assert run.exit_status() == 1
    assert kinds(run) == ["not_submitted"]
    run.close()


async def test_a_stop_of_a_spawn_that_never_reached_slurm_cancels_nothing_after_a_restart(
    registry: Registry, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = replace(Attempt.new("summit", CODE), stopping=True)
    run = make_run(registry, attempt, Limits(60, 60, 5, submission=0))
    run.follow()
    assert run._following
    await asyncio.wait([run._following], timeout=5)
    assert run.exit_status() == 1 and kinds(run) == ["not_submitted"]
    assert slurm.count("scancel") == 0 and not caplog.records, "there is no job 0"
    run.close()


async def test_a_job_that_is_found_after_its_run_was_closed_is_not_stored(
    registry: Registry, slurm: FakeSlurm
) -> None:
    """The row then belongs to the next server, whose job would be an orphan after a restart of the hub."""
    run = make_run(registry, Attempt.new("summit", CODE))
    slurm.add_job("alice", comment=registry.comment(run.attempt.spawn_id, "alice/"))
    gate = slurm.hold("squeue")
    booting = asyncio.ensure_future(run.boot(1, KEY))
    await asyncio.sleep(0)
    run.close()
    gate.set()
    with pytest.raises(NotExpected):
        await booting
    assert saved(run) == []


async def test_a_spawn_that_slurm_did_not_answer_has_a_report(run: ServerRun, slurm: FakeSlurm) -> None:
    """The page that would show the error may already be closed: sbatch may take a minute."""
    slurm.fail("sbatch", DOWN)
    with pytest.raises(SlurmError):
        await run.submit(spec(run), "script")
    assert kinds(run) == ["not_submitted"]
    async with asyncio.timeout(1):
        await run.explained()


async def test_orphans_are_cancelled_and_nothing_else_is(registry: Registry, slurm: FakeSlurm) -> None:
    orphan = slurm.add_job("alice", comment=registry.comment("gone", "alice/"))
    slurm.add_job("alice", comment=registry.comment("known", "alice/"))
    slurm.add_job("bob", comment="flatirons:another-hub:gone:bob/")
    slurm.add_job("bob", comment="my own: flatirons:hub1")
    assert await registry.orphans.search("summit", lambda: {"known"}) == [orphan]
    assert [job.state for job in slurm.jobs.values()] == ["CANCELLED", "PENDING", "PENDING", "PENDING"]


async def test_an_orphan_that_can_not_be_cancelled_yet_is_tried_again_and_listed_once(
    registry: Registry, slurm: FakeSlurm
) -> None:
    orphan = slurm.add_job("alice", comment=registry.comment("gone", "alice/"))
    slurm.fail("scancel", DOWN, times=2)
    for _ in range(3):
        assert await registry.orphans.search("summit", set) == [orphan]
    assert [(each.job_id, each.outcome) for each in registry.orphans.found] == [(orphan, "cancelled")]


async def test_after_cancelling_orphans_the_hub_asks_slurm_at_once(
    registry: Registry, slurm: FakeSlurm
) -> None:
    """Otherwise the next search would find them alive in Slurm's last answer, and cancel them again."""
    patient = registry.watchers["summit"] = Watcher(registry.clients["summit"])
    patient.start()
    slurm.add_job("alice", comment=registry.comment("gone", "alice/"))
    await registry.orphans.search("summit", set)
    await until(lambda: patient.snapshot and all(job.state.is_over for job in patient.snapshot.jobs.values()))
    assert await registry.orphans.search("summit", set) == []
    assert slurm.count("scancel") == 1
    await patient.stop()


async def test_a_spawn_that_starts_while_slurm_is_asked_is_no_orphan(
    registry: Registry, slurm: FakeSlurm
) -> None:
    known: set[str] = set()
    slurm.add_job("alice", comment=registry.comment("new", "alice/"))
    gate = slurm.hold("squeue")
    looking = asyncio.ensure_future(registry.orphans.search("summit", lambda: known))
    await idle()
    known.add("new")
    gate.set()
    assert await looking == []


async def test_only_keys_and_codes_of_this_hub_find_a_run(
    run: ServerRun, registry: Registry, slurm: FakeSlurm
) -> None:
    assert (
        registry.by_code(CODE) is run and registry.by_code("other") is None and registry.by_key(KEY) is None
    )
    await started(run, slurm)
    await run.boot(1, KEY)
    assert registry.by_key(KEY) is run
    run.close()
    assert registry.by_code(CODE) is None and registry.by_key(KEY) is None


def test_an_attempt_survives_its_state_and_what_a_newer_version_may_add() -> None:
    attempt = Attempt.new("summit", CODE)
    assert Attempt.from_state({**attempt.as_state(), "later": 1}) == attempt
    assert Attempt.from_state({}) is None
