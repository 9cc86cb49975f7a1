"""Shows in the notebook what happens to jobs of Dask's workers: refused, waiting and why, lost with a node.

Dask imports this module where a scheduler starts (`distributed.scheduler.preload`); with dask_jobqueue that
is the notebook's process. Dask submits and cancels the jobs itself; this module only reports.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from typing import Any

from flatirons.errors import CommandFailed, SlurmError
from flatirons.parallel import job_watch, messages
from flatirons.parallel.dask import compat
from flatirons.parallel.dask.directives import respelled
from flatirons.parallel.dask.header import quote_log_files
from flatirons.parallel.job_context import slurm_client, user_name
from flatirons.parallel.node_health import falls_silent
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.command_errors import refused
from flatirons.slurm.identity import FirstSeen
from flatirons.slurm.model import Job


class WorkerJobs:
    """The jobs of this process's workers. One query to Slurm at a time follows all of them.

    The thread that queries exists only while there are jobs to follow.
    """

    def __init__(self, slurm: SlurmClient) -> None:
        self.slurm = slurm
        self.shown = ""
        """The last message about waiting workers."""
        self._workers: dict[int, str] = {}
        self._submitted: dict[int, float] = {}
        self._nodes: dict[int, str] = {}
        self._first_seen = FirstSeen()
        self._young_until = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, job_id: int, worker: str) -> None:
        """Follows a job from now on."""
        with self._lock:
            self._workers[job_id] = worker
            self._submitted[job_id] = time.monotonic()
            self._young_until = self._submitted[job_id] + job_watch.YOUNG
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._follow, name="jobs of Dask's workers", daemon=True
                )
                self._thread.start()
        self._wake.set()

    def forget(self, job_id: int) -> None:
        """Stops following a job, because somebody ends it on purpose."""
        with self._lock:
            self._workers.pop(job_id, None)

    def query_now(self) -> None:
        """Queries Slurm at once, because something has happened."""
        self._wake.set()

    @property
    def is_idle(self) -> bool:
        """Whether there is no job to follow any more, and so no thread."""
        return self._thread is None

    def node_of(self, worker: str) -> str | None:
        """The node of the worker's job, "" if it isn't known yet; None if no job belongs to the worker."""
        with self._lock:
            own = [job for job, name in self._workers.items() if worker.startswith(name)]
            return self._nodes.get(own[0], "") if own else None

    def _follow(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                ids = list(self._workers)
                if not ids:
                    self._thread = None
                    return
            try:
                jobs = asyncio.run(self._query(ids))
            except SlurmError:  # says nothing about any job
                jobs = []
            self._report(jobs)
            self._wake.wait(self._pause(jobs))

    def _pause(self, jobs: list[Job]) -> float:
        if time.monotonic() < self._young_until or any(job.state.is_starting for job in jobs):
            return job_watch.YOUNG_PAUSE
        is_waiting = not jobs or any(job.state.is_waiting for job in jobs)
        return job_watch.WAITING_PAUSE if is_waiting else job_watch.RUNNING_PAUSE

    async def _query(self, ids: list[int]) -> list[Job]:
        """The jobs as Slurm knows them. A job that it doesn't list as alive gets a separate query."""
        alive = {job.id: job for job in (await self.slurm.jobs()).jobs.values() if not job.state.is_over}
        found = [
            alive[each] if each in alive else await job_watch.query_job(self.slurm, each) for each in ids
        ]
        return [self._first_seen.same(job) for job in found]

    def _report(self, jobs: list[Job]) -> None:
        with self._lock:
            jobs = [self._without_early_reason(job) for job in jobs if job.id in self._workers]
            ended = [(self._workers.pop(job.id), job) for job in jobs if job.state.is_over]
            self._nodes |= {job.id: job.nodes for job in jobs if job.nodes}
        for worker, job in ended:
            print(messages.worker_ended(worker, job))
        message = messages.workers_wait([job for job in jobs if job.state.is_waiting])
        if message and message != self.shown:
            print(messages.new_part(message, self.shown))
        self.shown = message or self.shown

    def _without_early_reason(self, job: Job) -> Job:
        return job_watch.without_early_reason(job, time.monotonic() - self._submitted[job.id])


class WorkerLosses:
    """A scheduler's plugin that reports workers which ended unexpectedly, if their node is silent."""

    def __init__(self, jobs: WorkerJobs) -> None:
        self.jobs = jobs
        self._names: dict[str, str] = {}

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Records the name of a worker; Dask has forgotten it when it reports the worker's end."""
        self._names[worker] = str(scheduler.workers[worker].name)

    def remove_worker(self, scheduler: Any, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        """Probes the worker's node, in a thread, unless Dask itself ended the worker."""
        name = self._names.pop(worker, "")
        node = self.jobs.node_of(name)
        if node is None or compat.was_expected(scheduler, worker):
            return
        self.jobs.query_now()
        host = worker.rpartition("/")[2].rpartition(":")[0]
        node = node or host

        def probe() -> None:
            if falls_silent(host):
                print(messages.worker_lost(name, node, len(scheduler.workers)))

        threading.Thread(target=probe, name=f"probe of {node}", daemon=True).start()


def explain_refusal(stdout: str, stderr: str) -> Exception:
    """The error for a job that sbatch refused: Slurm's own sentence, and what to do."""
    return refused(CommandFailed(["sbatch"], 1, stdout, stderr))


@functools.cache
def worker_jobs() -> WorkerJobs:
    """The jobs of this process's workers, made when they are first used.

    Its client lists the user's jobs whatever their names.
    """
    slurm = slurm_client(os.environ)
    return WorkerJobs(SlurmClient(slurm.cluster, slurm.runner, owner=user_name()))


def dask_setup(scheduler: Any) -> None:
    """Called by Dask when a scheduler has started."""
    if kind := compat.loaded_job_class():
        jobs = worker_jobs()
        compat.follow_jobs(kind, jobs.add, jobs.forget, explain_refusal)
        spelling = jobs.slurm.cluster.spelling
        compat.change_headers(
            kind, lambda header, directory: respelled(quote_log_files(header, directory), spelling)
        )
        compat.add_plugin(scheduler, WorkerLosses(jobs))
