"""Follows one job of engines from its submission to its end, whichever cell runs meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flatirons.errors import SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job, JobState

T = TypeVar("T")
BRISK = 1.0  # seconds between two looks at a job that is young or just about to start
CALM = 15.0  # at one that waits
RARE = 60.0  # at one that runs
YOUNG = 20.0  # seconds since it was submitted


class Watch:
    """Looks at the job now and then, in a thread of its own: a cell's event loop may end before the job.

    `changed` is called with the job when its state, reason or nodes differ, `ended` once, with its last known
    form, and `looked` each time before these; all in the watch's thread. `seen` is how the caller knows the
    job already. A look that fails says nothing about the job.
    """

    def __init__(
        self,
        slurm: Callable[[], SlurmClient],
        job_id: int,
        changed: Callable[[Job], None],
        ended: Callable[[Job], None],
        seen: Job | None = None,
        looked: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.slurm = slurm
        self.job_id = job_id
        self.changed = changed
        self.ended = ended
        self.looked = looked
        self.seen = seen
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._follow, name=f"engines of job {job_id}", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """No more looks; neither callback is called after the one that may be running now."""
        self._stop.set()

    def join(self, deadline: float | None = None) -> bool:
        """Whether the job ended, or the watch was stopped, within `deadline` seconds."""
        self._thread.join(deadline)
        return not self._thread.is_alive()

    def _follow(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            job = asyncio.run(self._look())
            if job is None:
                pause = CALM
                continue
            if self._stop.is_set():
                return
            self.looked(job)
            if job.state.is_over:
                self.ended(job)
                return
            if self.seen is None or _differ(self.seen, job):
                self.changed(job)
            self.seen = job
            pause = self._pause(job)

    async def _look(self) -> Job | None:
        try:
            return await look(self.slurm(), self.job_id)
        except SlurmError:
            return None

    def _pause(self, job: Job) -> float:
        age = time.monotonic() - self._began
        if job.state.is_starting or job.state.is_ending or age < YOUNG:
            return BRISK
        return RARE if job.state.is_running else CALM


async def look(slurm: SlurmClient, job_id: int) -> Job:
    """The job as Slurm knows it; once Slurm has forgotten it, as accounting does, or else as VANISHED.

    Raises SlurmError when Slurm gives no answer.
    """
    job = await slurm.job(job_id)
    if job is not None:
        return job
    end = (await slurm.ends([job_id])).get(job_id)
    if end is None:
        return Job(id=job_id, state=JobState.VANISHED)
    return Job(id=job_id, state=end.state, exit_code=end.exit_code, signal=end.signal, nodes=end.node)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine gives, for callers that can't await, whether an event loop runs here or not."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  handed to the caller, whatever it is
            failure.append(error)

    thread = threading.Thread(target=run, name="one question to Slurm")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _differ(one: Job, other: Job) -> bool:
    def told(job: Job) -> tuple[object, ...]:
        return job.state, job.reason, job.nodes, bool(job.start)  # an estimate may come later

    return told(one) != told(other)
