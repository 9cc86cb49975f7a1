"""Follows a notebook's job from its submission to its end, by what Slurm says and what the starter says."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from flatirons.errors import SlurmError
from flatirons.notebook.plan import COMMENT
from flatirons.notebook.record import Record
from flatirons.servers import messages
from flatirons.servers.causes import RECORD, REQUEUED, Cause, StarterEnd
from flatirons.servers.diagnosis import diagnose, timeout
from flatirons.servers.timing import Timing
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job
from flatirons.slurm.polling import PollSchedule
from flatirons.slurm.watcher import Watcher
from flatirons.slurm_form.offers import named

# Every user who waits asks for the whole queue, so less often than a hub, which asks once for all of them.
PACE = PollSchedule(waiting=10.0, quiet=60.0, longest=120.0)
LOOK_SECONDS = 0.25  # between two looks at the record: nothing tells of another machine's writing
CALM_SECONDS = 2.0  # the same, once the server is up
SECONDS_FOR_SLURMS_WORD = 5.0  # how long a server's end waits to learn what Slurm says of it
FAILURES_TOLD = 2
SILENT = "Slurm does not answer at the moment. Your job is not touched by that."
Call: TypeAlias = dict[str, Any]
"""What the starter said: {"call": "boot", "ready" or "end", ...}."""

News: TypeAlias = Job | Call | BaseException | Cause | None
"""Slurm's, the starter's, a mistake of ours, or that the end is asked for, and why."""


@dataclass
class Follower:
    """One job. `say` gets each sentence once; `arrived` is called once, with node and port, when it is up.

    `node_seconds` is how long the server may take on the node until it listens.
    """

    client: SlurmClient
    record: Record
    job_id: int
    node_seconds: float
    say: Callable[[str], None]
    arrived: Callable[[str, int], None]
    job: Job | None = None
    has_booted: bool = False
    port: int = 0
    is_up: bool = False
    ending: StarterEnd | None = None

    def __post_init__(self) -> None:
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._queue_message = messages.QueueMessage()
        self._last = ""
        self._is_silent = False
        self._deadline: float | None = None
        self._timing = Timing()
        self._watcher = Watcher(self.client, of=COMMENT, pace=PACE)

    def stop(self, cause: Cause | None = None) -> None:
        """`follow` returns soon, with this cause."""
        self._news.put_nowait(cause)

    async def follow(self) -> Cause | None:
        """Why the server ended, or must be ended; None when its user wants that."""
        self._watcher.start()
        tasks = [asyncio.create_task(each) for each in (self._hear_slurm(), self._hear_starter())]
        for task in tasks:
            task.add_done_callback(self._fell_over)
        try:
            return await self._follow()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._watcher.stop()

    async def _follow(self) -> Cause | None:
        while True:
            try:
                async with asyncio.timeout(self._seconds_left()):
                    news = await self._news.get()
            except TimeoutError:
                return await self._explain(None) if self.ending else self._late()
            if news is None or isinstance(news, Cause):
                return news
            if isinstance(news, BaseException):
                raise news
            if isinstance(news, Job):
                if cause := await self._see(news):
                    return cause
            else:
                self._hear(news)
            self._arrive()

    # -- the two sources

    async def _hear_slurm(self) -> None:
        async with self._watcher.watch(self.job_id) as changes:
            async for job in changes:
                changes.urgent = not self.is_up
                self._news.put_nowait(job)

    async def _hear_starter(self) -> None:
        heard = 0
        while True:
            calls = await asyncio.to_thread(self.record.calls)  # a network's file system may take its time
            for call in calls[heard:]:
                self._news.put_nowait(call)
            heard = max(heard, len(calls))
            self._tell_silence()
            await asyncio.sleep(CALM_SECONDS if self.is_up else LOOK_SECONDS)

    def _fell_over(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours is told at once, and not by a silence."""
        if not task.cancelled() and (error := task.exception()):
            self._news.put_nowait(error)

    # -- what they say

    async def _see(self, job: Job) -> Cause | None:
        before, self.job = self.job, job
        if job.state.is_over:
            return await self._explain(job)
        if job.state.is_waiting and self.has_booted and job.restarts:
            return REQUEUED
        if job.state.is_running and not (self.has_booted or (before and before.state.is_running)):
            self._expect_server()
        if job.state.is_starting:
            self._timing.nodes_boot()
        if job.state.is_waiting and not self.has_booted:
            self._tell(self._queue_message.sentence(job, self._watcher.queue_position(job)))
        elif job.state.is_starting:
            self._tell(messages.booting(job))
        elif job.state.is_running and not self.is_up:
            self._tell(messages.running(job))
            if self.has_booted:
                self._tell(messages.CONTAINER)
        return None

    def _hear(self, call: Call) -> None:
        self._watcher.kick()
        if call["call"] == "boot":
            self.has_booted = True
            self._expect_server()
            self._timing.container_starts()
            if self.job and self.job.state.is_running:
                self._tell(messages.CONTAINER)
        elif call["call"] == "ready":
            self.port = int(call["port"])
        else:
            self.ending = StarterEnd.from_call(call)
            self._deadline = time.monotonic() + SECONDS_FOR_SLURMS_WORD

    def _expect_server(self) -> None:
        """The job has begun to run."""
        if self._deadline is None:
            self._timing.script_runs()
            self._deadline = time.monotonic() + self.node_seconds

    def _arrive(self) -> None:
        """The server is up once its port is known from the starter, and its node from Slurm."""
        if self.port and not self.is_up and not self.ending and self.job and self.job.batch_host:
            self.is_up, self._deadline = True, None
            waited = messages.seconds_in_queue(self.job)
            self._tell(messages.up(self.job.batch_host, waited, self._timing.parts))
            self.arrived(self.job.batch_host, self.port)

    def _tell_silence(self) -> None:
        """A Slurm that doesn't answer says nothing about the job; but it is why there is no news."""
        is_silent = self._watcher.failures >= FAILURES_TOLD
        if is_silent != self._is_silent:
            self._is_silent = is_silent
            self._tell(SILENT if is_silent else "Slurm answers again.")

    def _tell(self, sentence: str) -> None:
        if sentence != self._last:
            self._last = sentence
            self.say(sentence)

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # -- why it ended

    async def _explain(self, job: Job | None) -> Cause:
        return await explain(self.client, job, self.ending, was_up=self.is_up, has_booted=self.has_booted)

    def _late(self) -> Cause:
        limits = {"queue": math.inf, "node": self.node_seconds}
        return timeout(self.job, **limits, has_booted=self.has_booted, receiver=RECORD)


async def explain(
    client: SlurmClient, job: Job | None, ending: StarterEnd | None, *, was_up: bool, has_booted: bool
) -> Cause:
    """Why a server ended, by Slurm's last word, accounting's and the starter's."""
    try:
        end = (await client.ends([job.id])).get(job.id) if job else None
    except SlurmError:
        end = None  # accounting would only have known it better
    end = await named(end) if end else None
    return diagnose(job, end, ending, was_up=was_up, has_booted=has_booted, receiver=RECORD)
