"""Tells the notebook what becomes of Dask's workers: refused, in the queue and why, lost with their node.

Dask imports this where a scheduler starts (`distributed.scheduler.preload`), which for dask_jobqueue is the
notebook's process. Its own class submits and cancels the jobs; we add only what it says of them.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
import threading
import time
from typing import Any

from flatirons.errors import CommandFailed, SlurmError
from flatirons.parallel import messages, watch
from flatirons.parallel.ipp.engine_registry import falls_silent
from flatirons.parallel.job_context import slurm_of
from flatirons.slurm.client import SlurmClient, refused
from flatirons.slurm.model import Job

_STDERR = "stderr:\n"  # after which dask_jobqueue's error has what sbatch said


class Jobs:
    """The workers' jobs of this process, all followed by one question to Slurm, while there are any."""

    def __init__(self, slurm: SlurmClient) -> None:
        self.slurm = slurm
        self._workers: dict[int, str] = {}
        self._nodes: dict[int, str] = {}
        self._young_until = 0.0
        self._told = ""
        self._lock = threading.Lock()
        self._look = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, job_id: int, worker: str) -> None:
        """Follows a job from now on."""
        with self._lock:
            self._workers[job_id] = worker
            self._young_until = time.monotonic() + watch.YOUNG
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="Dask's jobs", daemon=True)
                self._thread.start()
        self._look.set()

    def forget(self, job_id: int) -> None:
        """Its end is wanted: nothing more is said of it."""
        with self._lock:
            self._workers.pop(job_id, None)

    def look(self) -> None:
        """Looks now: something has happened."""
        self._look.set()

    def node_of(self, worker: str) -> str | None:
        """Where the worker's job was last seen to run, "" before that was seen; None if it is no job's."""
        with self._lock:
            mine = [job for job, name in self._workers.items() if worker.startswith(name)]
            return self._nodes.get(mine[0], "") if mine else None

    def _follow(self) -> None:
        while True:
            self._look.clear()
            with self._lock:
                ids = list(self._workers)
                if not ids:
                    self._thread = None
                    return
            try:
                jobs = asyncio.run(self._jobs(ids))
            except SlurmError:  # says nothing about any job
                jobs = []
            self._tell(jobs)
            self._look.wait(self._pause(jobs))

    def _pause(self, jobs: list[Job]) -> float:
        if time.monotonic() < self._young_until or any(job.state.is_starting for job in jobs):
            return watch.BRISK
        return watch.CALM if not jobs or any(job.state.is_waiting for job in jobs) else watch.RARE

    async def _jobs(self, ids: list[int]) -> list[Job]:
        """The jobs as Slurm knows them; one that it no longer lists is asked for by itself."""
        listed = (await self.slurm.jobs()).jobs
        return [listed[each] if each in listed else await watch.look(self.slurm, each) for each in ids]

    def _tell(self, jobs: list[Job]) -> None:
        with self._lock:
            jobs = [job for job in jobs if job.id in self._workers]
            ended = [(self._workers.pop(job.id), job) for job in jobs if job.state.is_over]
            self._nodes |= {job.id: job.nodes for job in jobs if job.nodes}
        for worker, job in ended:
            print(messages.worker_ended(worker, job))
        text = messages.workers_wait([job for job in jobs if job.state.is_waiting])
        if text and text != self._told:
            print(messages.news(text, self._told))
        self._told = text or self._told


def follow(kind: Any, jobs: Jobs) -> None:
    """Has `jobs` know of each job of dask_jobqueue's class from now on; a second time is no error."""
    start, close = kind.start, kind.close
    if start.__module__ == __name__:
        return

    async def started(self: Any) -> None:
        try:
            await start(self)
        except RuntimeError as error:
            raise explained(error) from None
        jobs.add(int(self.job_id), str(self.name))

    async def closed(self: Any) -> None:
        if self.job_id:
            jobs.forget(int(self.job_id))
        await close(self)

    kind.start, kind.close = started, closed


def explained(error: RuntimeError) -> Exception:
    """The error of a job that can't be submitted, with Slurm's own sentence and what to do; else as it is."""
    _, found, said = str(error).partition(_STDERR)
    return refused(CommandFailed(["sbatch"], 1, "", said)) if found else error


class Losses:
    """A scheduler's plugin: tells of workers that went without being asked to, if their node is silent."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self._names: dict[str, str] = {}

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Takes note of the worker's name: it is gone by the time that we hear of its end."""
        self._names[worker] = str(scheduler.workers[worker].name)

    def remove_worker(self, scheduler: Any, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        """Asks the worker's node for a sign of life, in a thread, unless its end was expected."""
        name = self._names.pop(worker, "")
        _, last = scheduler.get_events(worker)[-1]
        node = self.jobs.node_of(name)
        if node is None or last.get("expected"):
            return
        self.jobs.look()
        host = worker.rpartition("/")[2].rpartition(":")[0]
        node = node or host

        def ask() -> None:
            if falls_silent(host):
                print(messages.worker_lost(name, node, len(scheduler.workers)))

        threading.Thread(target=ask, name=f"Dask's worker on {node}", daemon=True).start()


def of_this_process() -> Jobs:
    """The jobs of our own that Slurm tells of, whatever their names."""
    slurm = slurm_of(os.environ)
    me = pwd.getpwuid(os.getuid()).pw_name
    return Jobs(SlurmClient(slurm.cluster, slurm.runner, owner=me))


JOBS = of_this_process()


def dask_setup(scheduler: Any) -> None:
    """What Dask calls when a scheduler has started."""
    from distributed.diagnostics.plugin import SchedulerPlugin  # type: ignore[import-not-found]

    if slurm_jobs := sys.modules.get("dask_jobqueue.slurm"):
        follow(slurm_jobs.SLURMJob, JOBS)
        plugin = type("Losses", (Losses, SchedulerPlugin), {})
        scheduler.add_plugin(plugin(JOBS), name="flatirons-losses")
