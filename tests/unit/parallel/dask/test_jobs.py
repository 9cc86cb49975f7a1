"""What a notebook shows about the jobs of Dask's workers, with a Slurm in memory and a class like Dask's."""

from __future__ import annotations

import importlib.util
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from flatirons.errors import SlurmUnreachable, SubmitRefused
from flatirons.parallel import job_watch
from flatirons.parallel.dask import compat
from flatirons.parallel.dask import jobs as dask_jobs
from flatirons.parallel.dask.jobs import WorkerJobs, WorkerLosses, explain_refusal
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from tests.fakes.slurm import FakeSlurm
from tests.waiting import eventually

Capture = pytest.CaptureFixture[str]
# the error of dask_jobqueue 0.9
FAILED = (
    "Command exited with non-zero exit code.\nExit code: 1\nCommand:\nsbatch /tmp/x.sh\nstdout:\n\nstderr:\n"
)
ACCOUNT = (
    "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified"
)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    for pause in ("YOUNG_PAUSE", "WAITING_PAUSE", "RUNNING_PAUSE"):
        monkeypatch.setattr(job_watch, pause, 0.002)
    monkeypatch.setattr(job_watch, "SETTLING", 0.0)
    return FakeSlurm()


@pytest.fixture
def jobs(slurm: FakeSlurm) -> WorkerJobs:
    return WorkerJobs(SlurmClient(Cluster("summit"), slurm, owner="alice"))


def wait_for_queries(slurm: FakeSlurm, more: int) -> None:
    """Returns when Slurm has answered so many more queries."""
    before = slurm.count("squeue")
    eventually(lambda: slurm.count("squeue") >= before + more)


def test_a_refusal_is_slurms_sentence_and_what_to_do() -> None:
    error = explain_refusal("", f"{ACCOUNT}\n")
    assert isinstance(error, SubmitRefused)
    assert str(error).startswith("Slurm refused the job: Invalid account or account/partition combination")
    unreached = explain_refusal("", "sbatch: error: Unable to contact slurm controller\n")
    assert isinstance(unreached, SlurmUnreachable)


def test_workers_that_wait_say_why_once(jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture) -> None:
    ids = [slurm.add_job("alice", reason="Priority") for _ in range(3)]
    for number, job_id in enumerate(ids):
        jobs.add(job_id, f"SLURMCluster-{number}")
    wait_for_queries(slurm, 6)
    for job_id in ids:
        jobs.forget(job_id)
    eventually(lambda: jobs.is_idle)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith(f"3 of Dask's workers wait, the first (job {ids[0]}): Other jobs are ahead")
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("reason", ["Priority", "Resources"])
def test_what_slurm_says_before_its_scheduler_has_looked_is_not_shown(
    jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """On an empty cluster Slurm says for some seconds that other jobs are ahead: those of Dask itself."""
    monkeypatch.setattr(job_watch, "SETTLING", 3600.0)
    job_id = slurm.add_job("alice", reason=reason)
    jobs.add(job_id, "SLURMCluster-0")
    wait_for_queries(slurm, 5)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(job_watch, "SETTLING", 0.0)
    wait_for_queries(slurm, 3)
    jobs.forget(job_id)
    eventually(lambda: jobs.is_idle)
    assert capsys.readouterr().out.startswith(f"Dask's worker (job {job_id}) waits: ")


def test_a_reason_that_the_scheduler_cannot_change_is_shown_at_once(
    jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "SETTLING", 3600.0)
    job_id = slurm.add_job("alice", reason="QOSMaxJobsPerUserLimit")
    jobs.add(job_id, "SLURMCluster-0")
    wait_for_queries(slurm, 3)
    jobs.forget(job_id)
    eventually(lambda: jobs.is_idle)
    assert capsys.readouterr().out.startswith(f"Dask's worker (job {job_id}) waits: ")


def test_a_worker_that_nobody_ended_is_reported_with_the_reason(
    jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture
) -> None:
    job_id = slurm.add_job("alice", state="RUNNING")
    jobs.add(job_id, "SLURMCluster-0")
    wait_for_queries(slurm, 2)
    slurm.end_job(job_id, "NODE_FAIL")
    eventually(lambda: jobs.is_idle)
    [shown] = capsys.readouterr().out.splitlines()
    assert shown.startswith(f"Dask's worker SLURMCluster-0 (job {job_id}) has ended: ")
    assert "failed." in shown and "cluster.scale" in shown


def test_a_worker_that_is_ended_on_purpose_is_not_reported(
    jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture
) -> None:
    job_id = slurm.add_job("alice", state="RUNNING")
    jobs.add(job_id, "SLURMCluster-0")
    jobs.forget(job_id)
    slurm.end_job(job_id, "CANCELLED")
    eventually(lambda: jobs.is_idle)
    assert capsys.readouterr().out == ""


def test_a_query_that_fails_is_not_reported(jobs: WorkerJobs, slurm: FakeSlurm, capsys: Capture) -> None:
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller", times=3)
    job_id = slurm.add_job("alice", state="RUNNING")
    jobs.add(job_id, "SLURMCluster-0")
    wait_for_queries(slurm, 5)
    assert capsys.readouterr().out == ""
    jobs.forget(job_id)
    eventually(lambda: jobs.is_idle)


class Job:
    """A job that is submitted in the same way as dask_jobqueue's."""

    name = "SLURMCluster-0"

    def __init__(self, message: str = "") -> None:
        self.message = message
        self.job_id: str | None = None

    async def start(self) -> None:
        if self.message:
            raise RuntimeError(self.message)
        self.job_id = "7"

    async def close(self) -> None:
        self.message = "closed"


async def test_dasks_own_class_reports_its_jobs_and_explains_refusals() -> None:
    calls: list[tuple[Any, ...]] = []
    kind = type("Followed", (Job,), {"start": Job.start, "close": Job.close})
    for _ in range(2):
        compat.follow_jobs(
            kind,
            lambda *words: calls.append(("started", *words)),
            lambda *words: calls.append(("closing", *words)),
            explain_refusal,
        )
    job = kind()
    await job.start()
    await job.close()
    assert calls == [("started", 7, "SLURMCluster-0"), ("closing", 7)]
    assert job.message == "closed"
    with pytest.raises(SubmitRefused, match="Invalid account"):
        await kind(f"{FAILED}{ACCOUNT}\n").start()
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("expected", "silent", "shown"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_a_lost_node_is_reported_with_its_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, expected: bool, silent: bool, shown: bool
) -> None:
    jobs: Any = SimpleNamespace(node_of=lambda worker: "shas0102", query_now=lambda: None)
    hosts: list[str] = []
    monkeypatch.setattr(dask_jobs, "falls_silent", lambda host: hosts.append(host) or silent)
    address = "tls://10.0.0.7:4321"
    scheduler = SimpleNamespace(
        workers={address: SimpleNamespace(name="SLURMCluster-1"), "other": None},
        get_events=lambda topic: ((0.0, {"action": "remove-worker", "expected": expected}),),
    )
    losses = WorkerLosses(jobs)
    losses.add_worker(scheduler, address)
    del scheduler.workers[address]
    before = set(threading.enumerate())
    losses.remove_worker(scheduler, address, stimulus_id="x")
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    printed = capsys.readouterr().out
    assert (
        printed.startswith("Node shas0102 no longer answers: Dask has lost its worker SLURMCluster-1")
        == shown
    )
    assert bool(printed) == shown
    assert hosts == ([] if expected else ["10.0.0.7"])


async def test_an_error_that_is_not_sbatchs_stays_unchanged() -> None:
    class Broken(Job):
        async def start(self) -> None:
            raise RuntimeError("something else")

    compat.follow_jobs(Broken, lambda *_: None, lambda _: None, explain_refusal)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        await Broken().start()


def test_importing_the_module_runs_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", fail)
    spec = importlib.util.find_spec("flatirons.parallel.dask.jobs")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(KeyError):
        module.worker_jobs()
    monkeypatch.undo()
    assert module.worker_jobs() is module.worker_jobs()
