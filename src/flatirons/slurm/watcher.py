"""One query for all jobs of a cluster, and news for everyone who follows a job.

A failed query changes nothing. A job that a successful query doesn't list is not gone yet: the watcher then
asks accounting, and slurmctld if accounting has no end of it. It reports the end that one of them knows, or
the job as vanished when neither of them has known it for a while.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from flatirons.concurrency import SharedCall, TokenBucket
from flatirons.errors import SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import is_end_of
from flatirons.slurm.model import End, Job, JobState, QueuePosition, Snapshot
from flatirons.slurm.polling import Clock, PollSchedule
from flatirons.slurm.subscription import FollowedJob, Subscription

log = logging.getLogger(__name__)

HIDDEN = (
    "squeue doesn't list job %s of %s, although the job lives. With PrivateData=jobs in slurm.conf, the "
    "hub's account needs AdminLevel=Operator (sacctmgr). Until then Flatirons asks about each job separately."
)


class Watcher:
    """Follows all jobs of one cluster; `start` it on an event loop, and `stop` it before the loop closes."""

    def __init__(
        self,
        client: SlurmClient,
        *,
        comment_part: str = "",
        clock: Clock | None = None,
        schedule: PollSchedule | None = None,
    ) -> None:
        """`comment_part`: other jobs than those with this text in their comment, or followed, aren't read."""
        self.client = client
        self.comment_part = comment_part
        self.clock = clock or Clock()
        self.schedule = schedule or PollSchedule()
        self.failures = 0
        self.last_error: SlurmError | None = None
        self._snapshot: Snapshot | None = None
        self._followed: dict[int, FollowedJob] = {}
        self._warned_at: dict[str, float] = {}
        self._query_seconds = 0.0
        self._wake = asyncio.Event()
        self._is_kicked = False
        self._bucket = TokenBucket(self.schedule.burst, self.schedule.gap, self.clock.now)
        self._query = SharedCall(self._ask, wait_turn=self._wait_turn, now=self.clock.now)
        self._lookup: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    # -- what is known, without asking

    @property
    def age(self) -> float:
        """Seconds since Slurm's last good answer; infinite before the first."""
        return self.clock.now() - self._snapshot.taken_at if self._snapshot else math.inf

    @property
    def snapshot(self) -> Snapshot | None:
        """Slurm's last good answer. Anyone can write any comment: only Job.user says whose job it is."""
        return self._snapshot

    def job(self, job_id: int) -> Job | None:
        """The job as Slurm last described it, None for one that was never seen. See `age`."""
        followed = self._followed.get(job_id)
        if followed and followed.job:
            return followed.job
        return self._snapshot.jobs.get(job_id) if self._snapshot else None

    def queue_position(self, job: Job) -> QueuePosition | None:
        """The position of a waiting job in its queue, None for any other job or when it isn't known."""
        return self._snapshot.queue_position(job) if self._snapshot and job.state.is_waiting else None

    # -- who follows what

    def watch(self, job_id: int, user: str | None = None) -> Subscription:
        """Follows a job from now on. As `user`, its owner, Slurm can be asked where others may not see it."""
        followed = self._followed.get(job_id)
        if followed is None:
            followed = self._followed[job_id] = FollowedJob(job_id)
            self._discard_earlier_job(job_id)
        subscription = Subscription(followed, user, self.clock.now, self._close)
        followed.subscriptions.append(subscription)
        self._wake.set()  # the time of the next query may be earlier now
        return subscription

    def _discard_earlier_job(self, job_id: int) -> None:
        """A slurmctld that lost its state assigns ids again: the snapshot may show an earlier job."""
        if self._snapshot:
            others = {number: job for number, job in self._snapshot.jobs.items() if number != job_id}
            self._snapshot = replace(self._snapshot, jobs=others)

    def _close(self, subscription: Subscription) -> None:
        followed = self._followed.get(subscription.job_id)
        if followed and subscription in followed.subscriptions:
            followed.subscriptions.remove(subscription)
            if not followed.subscriptions:
                del self._followed[subscription.job_id]

    # -- asking

    def start(self) -> None:
        """Asks Slurm from now on, as often as the followed jobs need it. Starting it again is no error."""
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._ask_forever())
            self._loop.add_done_callback(_log_error)

    async def stop(self) -> None:
        """Stops asking; returns when no task of the watcher runs any more."""
        tasks = [task for task in (self._loop, self._lookup) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._query.stop(), return_exceptions=True)
        self._loop = self._lookup = None

    def kick(self) -> None:
        """Asks Slurm at once, because there is news: a starter reported, for example."""
        self._is_kicked = True
        self._wake.set()
        if self._loop and self._loop.done():
            self.start()  # a bug ended it: see the log

    async def refresh(self) -> Snapshot:
        """Slurm's next answer; a query that is running is shared. Raises SlurmUnreachable or SlurmError."""
        return await self._query.get()

    async def refresh_anew(self, is_enough: Callable[[Snapshot], bool] = lambda snapshot: False) -> Snapshot:
        """The answer to a query that begins from now on, or to an earlier query if that `is_enough`.

        Raises as `refresh` does.
        """
        return await self._query.get_new(is_enough)

    async def _ask_forever(self) -> None:
        while True:
            self._is_kicked = False
            try:
                await self.refresh()
            except SlurmError as error:
                self._warn("Slurm doesn't answer: %s", error.detail or error)
            ended = self.clock.now()
            while not self._is_kicked and (left := ended + self._interval() - self.clock.now()) > 0:
                self._wake.clear()
                await self.clock.wait(self._wake, left)

    def _interval(self) -> float:
        """Seconds from the end of the last query to the start of the next one."""
        return self.schedule.interval(self._needed_interval(), self._query_seconds, self.failures)

    def _needed_interval(self) -> float:
        """Seconds between queries that the followed jobs need."""
        everyone = self._followed.values()
        if any(self._is_starting(followed) for followed in everyone):
            return self.schedule.starting
        if any(not (followed.is_over or followed.is_running) for followed in everyone):
            return self.schedule.waiting
        return self.schedule.quiet

    def _is_starting(self, followed: FollowedJob) -> bool:
        """Does somebody wait for the job's server, which may start or end at any moment?"""
        urgent = [each.urgent_since for each in followed.subscriptions if each.urgent]
        if not urgent:
            return False
        if followed.job is None:
            return True
        since = followed.running_since
        is_settled = since is not None and self.clock.now() - max(since, *urgent) > self.schedule.settled
        return not (followed.may_wait or followed.is_over or is_settled)

    async def _wait_turn(self) -> None:
        await self.clock.wait(asyncio.Event(), self._bucket.reserve())

    async def _ask(self) -> Snapshot:
        began = self.clock.now()
        does_any_wait = any(followed.may_wait for followed in self._followed.values())
        try:
            snapshot = await self.client.jobs(
                comment_part=self.comment_part, ids=self._followed.keys(), with_queues=does_any_wait
            )
        except SlurmError as error:
            self.failures += 1
            self.last_error = error
            raise
        finally:
            self._query_seconds = self.clock.now() - began
        self.failures = 0
        self.last_error = None
        self._snapshot = replace(snapshot, began_at=began, taken_at=self.clock.now())
        self._compare(self._snapshot)
        return self._snapshot

    def _compare(self, snapshot: Snapshot) -> None:
        """Updates the followed jobs, and looks up those that the snapshot should show and doesn't."""
        for job_id in self._followed:
            if job := snapshot.jobs.get(job_id):
                self._update(job)
        missing = [each.id for each in self._followed.values() if self._is_missing(each, snapshot)]
        if missing and (self._lookup is None or self._lookup.done()):
            self._lookup = asyncio.create_task(self._look_up(missing))
            self._lookup.add_done_callback(_log_error)

    def _is_missing(self, followed: FollowedJob, snapshot: Snapshot) -> bool:
        """Should the snapshot show the job, and doesn't? A query from before the job was followed needn't."""
        if followed.id in snapshot.jobs or followed.is_over:
            return False
        if followed.confirmed_at > snapshot.began_at - self.schedule.quiet:
            return False
        return any(each.since < snapshot.began_at for each in followed.subscriptions)

    def _update(self, job: Job) -> None:
        if followed := self._followed.get(job.id):
            followed.update(job, self.queue_position(job), self.clock.now())

    def _warn(self, text: str, *facts: object) -> None:
        """Logs a problem, and logs the same one again only after PollSchedule.warnings seconds."""
        now = self.clock.now()
        if now - self._warned_at.get(text, -math.inf) >= self.schedule.warnings:
            self._warned_at[text] = now
            log.warning(f"%s: {text}", self.client.cluster.name, *facts)

    # -- jobs that a snapshot doesn't show

    async def _look_up(self, missing: Sequence[int]) -> None:
        """Finds out what became of jobs that the last snapshot doesn't show."""
        try:
            ends = await self.client.ends(missing)
            may_be_late = False
        except SlurmError as error:
            self._warn("Accounting doesn't answer: %s", error.detail or error)
            ends = {}
            may_be_late = True
        for job_id in missing:
            end, known = ends.get(job_id), self.job(job_id)
            if end and known and not is_end_of(end, known):
                end = None  # of another job with this id, or of a run before the job was requeued
            if end and end.state.is_over:
                last = known or Job(job_id, end.state, user=end.user, submit=end.submit)
                self._update(_with_end(last, end))
            else:
                await self._ask_controller(job_id, may_be_late=may_be_late or end is not None)

    async def _ask_controller(self, job_id: int, *, may_be_late: bool) -> None:
        """Asks slurmctld about a job for which accounting gives no end.

        `may_be_late`: accounting may still give one, so a job that slurmctld doesn't know isn't gone at once.
        """
        followed = self._followed.get(job_id)
        try:
            job = await self.client.job(job_id, user=followed.user if followed else None)
        except SlurmError as error:
            self._warn("Slurm doesn't answer a question about one job: %s", error.detail or error)
            return
        followed = self._followed.get(job_id)
        if followed is None:
            return
        now = self.clock.now()
        if job:
            self._warn(HIDDEN, job_id, job.user)
            followed.confirmed_at = now
            self._update(job)
            return
        if followed.unknown_since is None:
            followed.unknown_since = now
        if not may_be_late or now - followed.unknown_since >= self.schedule.doubt:
            last = followed.job or Job(job_id, JobState.VANISHED)
            self._update(replace(last, state=JobState.VANISHED))


def _with_end(job: Job, end: End) -> Job:
    return replace(job, state=end.state, exit_code=end.exit_code, signal=end.signal, raw_state=end.raw_state)


def _log_error(task: asyncio.Task[None]) -> None:
    """Logs the bug that ended a task for which nobody waits."""
    if not task.cancelled() and (error := task.exception()):
        log.error("A task of the watcher failed", exc_info=error)
