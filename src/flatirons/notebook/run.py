"""One notebook without a hub, followed by what Slurm says and by what its starter writes into the record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, Self, TypeAlias

from flatirons.notebook.plan import COMMENT, me
from flatirons.notebook.record import Record
from flatirons.servers.cancel import Cancellation
from flatirons.servers.causes import RECORD, REQUEUED, Cause, StarterEnd
from flatirons.servers.diagnosis import diagnose
from flatirons.servers.end_lookup import EndLookup
from flatirons.servers.follow import JobFollower, Limits
from flatirons.servers.progress import StartProgress
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import is_same
from flatirons.slurm.model import Job, JobState
from flatirons.slurm.polling import PollSchedule
from flatirons.slurm.watcher import Watcher

# Each user who waits asks for the whole queue, so less often than a hub, which asks once for all of them.
PACE = PollSchedule(waiting=10.0, quiet=60.0, longest=120.0)
READ_SECONDS = 0.25  # between two reads of the record: there is no event for a write by another machine
READ_SECONDS_UP = 2.0  # the same, once the server is up
FAILURES_TOLD = 2
SILENT = "Slurm does not answer at the moment. Your job is not affected."
ANSWERS = "Slurm answers again."

Call: TypeAlias = dict[str, Any]
"""A call of the starter: {"call": "boot", "ready" or "end", ...}."""


class NotebookRun(JobFollower):
    """One job, followed between `async with` and its end. Its Slurm client is that of its user."""

    def __init__(
        self,
        client: SlurmClient,
        record: Record | None,
        job_id: int,
        limits: Limits,
        *,
        progress: StartProgress | None = None,
        on_up: Callable[[str, int], None] = lambda host, port: None,
    ) -> None:
        """`record` is None when it is lost. `on_up` is called once, with node and port."""
        watcher = Watcher(client, comment_part=COMMENT, schedule=PACE)
        super().__init__(client, watcher, limits, user=None, receiver=RECORD, progress=progress)
        self.record = record
        self.starter_end: StarterEnd | None = None
        self.cancellation = Cancellation(self)
        self._lookup = EndLookup(client, logging.getLogger(__name__), RECORD)
        self._job_id = job_id
        self._submit: datetime | None = None
        self._on_up = on_up
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_starter_called = False
        self._listening_port = 0  # as the starter reported; its node may not be known yet
        self._port = 0
        self._cause: Cause | None = None
        self._is_stopping = False
        self._bug: BaseException | None = None
        self._is_silent = False

    async def __aenter__(self) -> Self:
        self.watcher.start()
        self.follow()
        if self.record:
            self._start(self._read_record(self.record))
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.watcher.stop()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.following_failed(error)

    # -- what the follower asks

    @property
    def job_id(self) -> int:
        """The job's id."""
        return self._job_id

    @property
    def has_starter_called(self) -> bool:
        """Has the starter made its first call?"""
        return self._has_starter_called

    @property
    def port(self) -> int:
        """The port on which the server listens, 0 until its node is known as well."""
        return self._port

    @property
    def is_stopping(self) -> bool:
        """Has somebody asked for the server's end?"""
        return self._is_stopping

    @property
    def is_concluded(self) -> bool:
        """Is it known why the server ended, or must end?"""
        return self._is_stopping or self._cause is not None or self._bug is not None

    def give_up(self, cause: Cause) -> None:
        """The server has ended or must end, for this cause; an earlier cause stays."""
        self._cause = self._cause or cause
        self.progress.ring()

    async def job_ended(self, job: Job) -> None:
        """Finds out why."""
        if not self.is_concluded:
            self.give_up(await self._explained(job))

    async def job_requeued(self, job: Job) -> None:
        """The job is to be cancelled."""
        self.give_up(REQUEUED)

    def following_failed(self, error: BaseException) -> None:
        """Those who wait for the end get the error."""
        self._bug = error
        self.progress.ring()

    def identify(self, job: Job) -> Job:
        """The job if it is ours; ours as vanished, if another job has its id by now."""
        if is_same(job, me(), self._submit):
            self._submit = self._submit or (None if job.has_local_times else job.submit)
            return job
        last = self.job or Job(job.id, JobState.VANISHED, user=me(), submit=self._submit)
        return replace(last, state=JobState.VANISHED)

    # -- for the command

    def stop(self, cause: Cause | None = None) -> None:
        """`wait_until_over` returns soon, with this cause."""
        self._cause = self._cause or cause
        self._is_stopping = True
        self.progress.ring()

    async def wait_until_over(self) -> Cause | None:
        """Why the server ended, or must end; None when its user wants that. Raises what failed here."""
        await self.wait_until_up()
        while not self.is_concluded:
            await self.progress.changed()
        if self._bug:
            raise self._bug
        return self._cause

    async def cancel(self) -> None:
        """Returns when Slurm says that the job is gone, and removes the record; raises SlurmError."""
        self._is_stopping = True
        if self.record:
            calls = await asyncio.to_thread(self.record.calls)
            self._has_starter_called = self._has_starter_called or bool(calls)
            if not calls:
                self.record.forget()  # so the job starts no server, even if it can't be cancelled
        if self._following and self._following.done():  # it ends with a requeue
            self._following = None
            self.follow()
        await self.cancellation.carry_out()
        if self.record:
            self.record.forget()

    # -- what the starter says

    async def _read_record(self, record: Record) -> None:
        handled = 0
        while True:
            calls = await asyncio.to_thread(record.calls)  # a network file system may be slow
            for call in calls[handled:]:
                self._handle(call)
            handled = max(handled, len(calls))
            self._tell_silence()
            await asyncio.sleep(READ_SECONDS_UP if self._port else READ_SECONDS)

    def _handle(self, call: Call) -> None:
        self.watcher.kick()
        if call["call"] == "boot":
            self._has_starter_called = True
            self.container_starts()
        elif call["call"] == "ready":
            self._listening_port = int(call["port"])
            self._note_up()
        else:
            self.starter_end = StarterEnd.from_call(call)
            self._start(self._accept_end(self.starter_end))

    def see(self, job: Job) -> None:
        """Slurm described the job, and may have named its node."""
        super().see(job)
        self._note_up()

    def _note_up(self) -> None:
        """The server is up once its port is known from the starter, and its node from Slurm."""
        host = self.job.batch_host if self.job else ""
        if self._listening_port and host and not (self._port or self.starter_end):
            self._port = self._listening_port
            self.server_listens(host)
            self._on_up(host, self._port)

    async def _accept_end(self, said: StarterEnd) -> None:
        """Gives Slurm, then accounting, some seconds to say why; then uses what the starter reported."""
        await self.wait_for_slurm()
        if self.is_concluded:
            return
        end = await self._lookup.accounted_early(self._job_id, self.job)
        if self.job and end:
            self.give_up(await self._explained(self.job))
        else:
            self.give_up(diagnose(None, None, said, was_up=bool(self._port), receiver=RECORD))

    async def _explained(self, job: Job) -> Cause:
        known = {"was_up": bool(self._port), "has_starter_called": self._has_starter_called}
        end = await self._lookup.accounted(job.id, job)
        return await self._lookup.cause(job, end, self.starter_end, **known)

    def _tell_silence(self) -> None:
        """Says while Slurm doesn't answer that there is no news for this reason; the job isn't affected."""
        is_silent = self.watcher.failures >= FAILURES_TOLD
        if is_silent != self._is_silent:
            self._is_silent = is_silent
            self.progress.tell(0, SILENT if is_silent else ANSWERS)
