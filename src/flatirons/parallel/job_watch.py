"""Watches one job, of engines or of Spark, from its submission to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from flatirons.errors import SlurmError
from flatirons.parallel.background import BackgroundWork
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import FirstSeen
from flatirons.slurm.model import Job, JobState

# Seconds between two queries,
YOUNG_PAUSE = 1.0  # while the job is young or about to start
WAITING_PAUSE = 15.0  # while it waits in the queue
RUNNING_PAUSE = 60.0  # while it runs
YOUNG = 20.0  # seconds after its submission for which a job is young
SETTLING = 10.0  # seconds after its submission; see without_early_reason
EARLY_REASONS = ("Priority", "Resources")


class JobWatch(BackgroundWork):
    """Queries a job in a separate thread, because the event loop of a cell may end before the job does.

    All callbacks run in that thread. `on_query` gets the job after each query that succeeds; then `on_change`
    gets it if its state, reason or nodes changed, or if Slurm now estimates a start; or `on_end` gets it,
    once, when it is over. `known` is the job as the caller already knows it. A query that fails says nothing
    about the job. After `stop` no callback begins.
    """

    def __init__(
        self,
        slurm: Callable[[], SlurmClient],
        job_id: int,
        on_change: Callable[[Job], None],
        on_end: Callable[[Job], None],
        known: Job | None = None,
        on_query: Callable[[Job], None] = lambda job: None,
    ) -> None:
        super().__init__(f"watch of job {job_id}")
        self.slurm = slurm
        self.job_id = job_id
        self.on_change = on_change
        self.on_end = on_end
        self.on_query = on_query
        self.known = known
        self._started = time.monotonic()
        self._first_seen = FirstSeen()

    def run(self) -> None:
        """Queries the job until it is over."""
        pause = 0.0
        while not self.wait(pause):
            job = asyncio.run(self._query())
            if job is None:
                pause = WAITING_PAUSE
                continue
            job = without_early_reason(job, time.monotonic() - self._started)
            if self.is_stopping:
                return
            self.on_query(job)
            if job.state.is_over:
                self.on_end(job)
                return
            if self.known is None or _has_changed(self.known, job):
                self.on_change(job)
            self.known = job
            pause = self._pause(job)

    async def _query(self) -> Job | None:
        try:
            return self._first_seen.same(await query_job(self.slurm(), self.job_id))
        except SlurmError:
            return None

    def _pause(self, job: Job) -> float:
        age = time.monotonic() - self._started
        if job.state.is_starting or job.state.is_ending or age < YOUNG:
            return YOUNG_PAUSE
        return RUNNING_PAUSE if job.state.is_running else WAITING_PAUSE


def without_early_reason(job: Job, age: float) -> Job:
    """The job, without a reason that says nothing yet; `age` is in seconds since its submission.

    Of jobs that are submitted together, Slurm says that others are ahead, even on an empty cluster, until its
    scheduler has looked at them. That takes some seconds: batch_sched_delay in slurm.conf(5).
    """
    is_early = age < SETTLING and job.state.is_waiting and job.reason in EARLY_REASONS
    return replace(job, reason="") if is_early else job


async def query_job(slurm: SlurmClient, job_id: int) -> Job:
    """The job as slurmctld knows it, else as accounting knows it, else as VANISHED.

    Raises SlurmError when Slurm gives no answer.
    """
    job = await slurm.job(job_id)
    if job is not None:
        return await _explain_failure(slurm, job) if job.state is JobState.FAILED else job
    end = (await slurm.ends([job_id])).get(job_id)
    if end is None:
        return Job(id=job_id, state=JobState.VANISHED)
    return Job(
        id=job_id,
        state=end.state,
        exit_code=end.exit_code,
        signal=end.signal,
        nodes=end.node,
        user=end.user,
        submit=end.submit,
    )


async def _explain_failure(slurm: SlurmClient, job: Job) -> Job:
    """The failed job with the state that accounting knows: only it says that a step had no memory left."""
    try:
        end = (await slurm.ends([job.id])).get(job.id)
    except SlurmError:
        return job
    return replace(job, state=end.state) if end and end.state.is_over else job


def _has_changed(before: Job, now: Job) -> bool:
    def shown(job: Job) -> tuple[object, ...]:
        return job.state, job.reason, job.nodes, bool(job.start)  # an estimate may come later

    return shown(before) != shown(now)
