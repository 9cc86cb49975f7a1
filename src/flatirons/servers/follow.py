"""Follows the job of one notebook server from its submission to its end, with or without a hub.

There are two sources of news: the watcher, which knows how Slurm sees the job, and the starter, with its
calls boot, ready and end. A JobFollower combines them: it shows the user the progress of the start, measures
its times, enforces the limits, and notices when the job ends or goes back into the queue. Its two users are
spawners/run/server_run.py, for a hub, and notebook/run.py. They define what is stored, how the calls arrive,
and what happens at the end.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass

from flatirons.errors import SlurmError
from flatirons.servers import messages
from flatirons.servers.causes import Cause, Receiver
from flatirons.servers.diagnosis import timeout_cause
from flatirons.servers.messages import Estimated
from flatirons.servers.progress import StartProgress
from flatirons.servers.timing import Step, Timing
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job, JobState
from flatirons.slurm.subscription import Subscription
from flatirons.slurm.watcher import Watcher

LONGEST_SILENCE = 30.0
"""Seconds without news after which a start makes sure that its job is still followed."""

SECONDS_FOR_SLURM = 3.0
"""How long the end of a server waits for Slurm's report of it, because Slurm may know the reason better."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: in the queue; from the job's start until the server listens; until a cancelled job is gone.

    `submission` is how long an sbatch that a killed hub left behind may take to bring its job to Slurm.
    """

    queue: float
    node: float
    stop: float
    submission: float = 10.0


class JobFollower(ABC):
    """Follows one job. All news of it wakes everyone who waits for `progress.changed()`."""

    def __init__(
        self,
        client: SlurmClient,
        watcher: Watcher,
        limits: Limits,
        *,
        user: str | None,
        receiver: Receiver,
        progress: StartProgress | None = None,
    ) -> None:
        """`user` owns the job; None for ourselves. `receiver` gets the starter's calls."""
        self.client = client
        self.watcher = watcher
        self.limits = limits
        self.user = user
        self.receiver = receiver
        self.progress = progress or StartProgress()
        self.job: Job | None = None  # as Slurm last described it
        self.seen = asyncio.Event()  # Slurm has described the job
        self._timing = Timing()
        self._queue_message = messages.QueueMessage()
        self._following: asyncio.Task[None] | None = None
        self._changes: Subscription | None = None

    # -- what a subclass knows, and does

    @property
    @abstractmethod
    def job_id(self) -> int:
        """The job's id, 0 while it isn't known."""

    @property
    @abstractmethod
    def has_starter_called(self) -> bool:
        """Has the starter made its first call?"""

    @property
    @abstractmethod
    def port(self) -> int:
        """The port on which the server listens, 0 while it doesn't."""

    @property
    @abstractmethod
    def is_stopping(self) -> bool:
        """Has somebody asked this process for the server's end?"""

    @property
    @abstractmethod
    def is_concluded(self) -> bool:
        """Is it known why the server ended, or why it will never listen?"""

    @property
    def is_urgent(self) -> bool:
        """Does somebody wait for the job's server, or for the job's end?"""
        return self.is_stopping or not self.port

    @abstractmethod
    def give_up(self, cause: Cause) -> None:
        """The server won't start, for this cause; `is_concluded` holds from now on."""

    @abstractmethod
    async def job_ended(self, job: Job) -> None:
        """Slurm says that the job is over."""

    @abstractmethod
    async def job_requeued(self, job: Job) -> None:
        """Slurm put the job back into the queue. Its boot code is used, so it would run for nobody."""

    @abstractmethod
    def following_failed(self, error: BaseException) -> None:
        """A bug or the database ended the following of the job. That says nothing about the job."""

    def identify(self, job: Job) -> Job:
        """The job that Slurm shows under our job's id, if it is ours."""
        return job

    @property
    def steps(self) -> list[Step]:
        """The parts of the start that this process saw begin, in order."""
        return self._timing.steps

    @property
    def estimates(self) -> list[Estimated]:
        """The starts that Slurm has estimated while the job waits, oldest first; each differs clearly from
        the one before."""
        return self._queue_message.estimates

    # -- following the job

    def follow(self) -> None:
        """Follows the job from now until it is over; does nothing when it is followed already."""
        if self._following is None:
            self._following = asyncio.ensure_future(self._follow())
            self._following.add_done_callback(self._followed)

    def _followed(self, following: asyncio.Task[None]) -> None:
        if not following.cancelled() and (error := following.exception()):
            self._following = None  # so that it can be followed again
            self.following_failed(error)

    async def _follow(self) -> None:
        async with self.watcher.watch(self.job_id, self.user) as changes:
            self._changes = changes
            async for found in changes:
                changes.urgent = self.is_urgent
                job = self.learn(found)
                if job.state.is_over:
                    await self.job_ended(job)
                    return
                if self._may_be_requeued and await self._is_requeued():
                    await self.job_requeued(job)
                    return

    def set_urgent(self, is_urgent: bool) -> None:
        """Makes the watcher ask Slurm often while somebody waits for the job to start or to end."""
        if self._changes:
            self._changes.urgent = is_urgent

    def learn(self, job: Job) -> Job:
        """Processes what Slurm shows under the job's id, and returns what that means for our job."""
        ours = self.identify(job)
        if ours != self.job or ours.state.is_waiting:  # a job that waits may have moved up
            self.see(ours)
        return ours

    def see(self, job: Job) -> None:
        """Slurm described the job."""
        before, self.job = self.job, job
        self.seen.set()
        if job.state.is_starting:
            self._timing.nodes_boot()
        if job.state.is_running and not (before and before.state.is_running):
            if not self.has_starter_called:
                self._timing.script_runs()
            if not self.port:
                self.left_queue(messages.seconds_in_queue(job))
        self._tell_progress(job)
        self.progress.ring()

    def left_queue(self, seconds: float | None) -> None:
        """The job began to run, after so many seconds in the queue if that is known."""
        if seconds is not None:
            self.progress.waited = seconds

    def _tell_progress(self, job: Job) -> None:
        if job.state.is_waiting:
            position = self.watcher.queue_position(job)
            self.progress.tell(20, self._queue_message.sentence(job, position))
        elif job.state.is_starting:
            self.progress.tell(40, messages.booting(job))
        elif job.state.is_running and not self.port:
            self.progress.tell(50, messages.running(job))
            if self.has_starter_called:
                self.progress.tell(70, messages.CONTAINER)

    @property
    def _may_be_requeued(self) -> bool:
        is_waiting = self.job is not None and self.job.state.is_waiting
        return is_waiting and self.has_starter_called and not self.is_stopping

    async def _is_requeued(self) -> bool:
        """Whether the job waits, according to a query that begins after this moment.

        Slurm's last answer may be older than the start of the job: if there are many jobs, a starter may
        report while a query that began earlier is still running.
        """
        while self._may_be_requeued:
            try:
                snapshot = await self.watcher.refresh_anew()
            except SlurmError:
                await asyncio.sleep(1)  # there is no event to wait for: Slurm doesn't answer
                continue
            job = snapshot.jobs.get(self.job_id)
            return job is not None and job.state.is_waiting
        return False

    # -- the starter's calls

    def container_starts(self) -> None:
        """The starter has booted."""
        self._timing.container_starts()
        if self.job:
            self.see(self.job)

    def server_listens(self, host: str) -> None:
        """The server listens on this node."""
        self.set_urgent(False)
        self._timing.server_listens()
        self.progress.tell(90, messages.up(host, self.progress.waited, self._timing.parts))

    async def wait_for_slurm(self) -> None:
        """Asks Slurm at once, and gives it some seconds to confirm the starter's report that the job is
        over."""
        self.follow()
        assert self._following
        self.watcher.kick()
        await asyncio.wait([self._following], timeout=SECONDS_FOR_SLURM)

    # -- waiting for the server

    async def wait_until_up(self) -> None:
        """Returns when the server listens or is over; gives the start up when it takes too long."""
        while not (self.port or self.is_concluded):
            self.follow()
            try:
                # not wait_for: that of Python 3.11 loses a cancellation that comes together with a change
                async with asyncio.timeout(min(self._seconds_left(), LONGEST_SILENCE)):
                    await self.progress.changed()
            except TimeoutError:
                if self._seconds_left() <= 0:
                    self.give_up(self._timeout_cause())

    @property
    def _has_run(self) -> bool:
        """Did the job's script begin, as far as is known, in a job that doesn't wait again?"""
        state = self.job.state if self.job else JobState.UNKNOWN
        return state.is_running or (state.is_ending and self._timing.has_script_begun)

    def _seconds_left(self) -> float:
        limits, timing = self.limits, self._timing
        return limits.node - timing.ran if self._has_run else limits.queue - timing.waited

    def _timeout_cause(self) -> Cause:
        return timeout_cause(
            self.job if self._has_run else None,
            queue=self.limits.queue,
            node=self.limits.node,
            has_starter_called=self.has_starter_called,
            receiver=self.receiver,
        )

    @property
    def phase(self) -> str:
        """What the server is doing: submitting, waiting, booting, starting, up, stopping or ended."""
        if self.is_concluded:
            return "ended"
        if self.is_stopping:
            return "stopping"
        if self.port:
            return "up"
        if not self.job_id:
            return "submitting"
        if self.job is None or self.job.state.is_waiting:
            return "waiting"
        return "booting" if self.job.state.is_starting else "starting"
