"""One query for all jobs of a cluster, and news to whoever follows a job.

A failed query changes nothing. A job that a good query doesn't show is not gone yet: accounting and slurmctld
are asked for it, and only when both agree, or know nothing of it, is its end told.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import TracebackType

from flatirons.concurrency import SharedCall, TokenBucket
from flatirons.errors import SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import End, Job, JobState, QueuePosition, Snapshot
from flatirons.slurm.polling import Clock, PollSchedule

log = logging.getLogger(__name__)

HIDDEN = (
    "squeue, asked for all jobs, doesn't show job %s of %s, which lives. With PrivateData=jobs in slurm.conf "
    "the hub's account needs AdminLevel=Operator (sacctmgr); until then each job is asked for by itself."
)


class Subscription:
    """News of one job: an async iterator that gives the newest Job when it changed, and ends with the job.

    While it is `urgent` its job, once it has nodes, counts as one that is starting; set it to False as soon
    as the server in it listens.
    """

    def __init__(self, watcher: Watcher, job_id: int, user: str | None) -> None:
        self.job_id = job_id
        self.user = user
        self.since = watcher.clock.now()
        self.urgent = True
        self.is_closed = False
        self._watcher = watcher
        self._news = asyncio.Event()

    def close(self) -> None:
        """Forgets the job, and ends the iteration."""
        self.is_closed = True
        self._news.set()
        self._watcher.forget(self)

    def ring(self) -> None:
        """There may be news."""
        self._news.set()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[Job]:
        told: tuple[Job, QueuePosition | None] | None = None
        while not self.is_closed:
            job = self._watcher.job(self.job_id)
            news = (job, self._watcher.queue_position(job)) if job else None
            if job is None or news == told:
                await self._news.wait()
                self._news.clear()
                continue
            told = news
            yield job
            if job.state.is_over:
                return


class Watcher:
    """Follows all jobs of one cluster; `start` it on an event loop, `stop` it before that closes."""

    def __init__(
        self,
        client: SlurmClient,
        *,
        of: str = "",
        clock: Clock | None = None,
        pace: PollSchedule | None = None,
    ) -> None:
        """`of`: what the comments of all jobs begin with that matter here; others aren't read."""
        self.client = client
        self.of = of
        self.clock = clock or Clock()
        self.pace = pace or PollSchedule()
        self.failures = 0
        self.last_error: SlurmError | None = None
        self._snapshot: Snapshot | None = None
        self._jobs: dict[int, Job] = {}
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._asked: dict[int, float] = {}
        self._doubted: dict[int, float] = {}
        self._running_since: dict[int, float] = {}
        self._places: dict[int, QueuePosition | None] = {}
        self._warned: dict[str, float] = {}
        self._seconds = 0.0
        self._wake = asyncio.Event()
        self._is_kicked = False
        self._bucket = TokenBucket(self.pace.burst, self.pace.gap, self.clock.now)
        self._query = SharedCall(self._ask, wait_turn=self._wait_turn, now=self.clock.now)
        self._settling: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    # -- what is known, without asking

    @property
    def age(self) -> float:
        """Seconds since Slurm's last good answer; infinite before the first."""
        return self.clock.now() - self._snapshot.taken_at if self._snapshot else math.inf

    def job(self, job_id: int) -> Job | None:
        """What was last known of a job; None for one that was never seen. See `age`."""
        known = self._jobs.get(job_id)
        return known or (self._snapshot.jobs.get(job_id) if self._snapshot else None)

    @property
    def snapshot(self) -> Snapshot | None:
        """Slurm's last good answer; only Job.user tells who made a job's comment."""
        return self._snapshot

    def queue_position(self, job: Job) -> QueuePosition | None:
        """Where a job that waits stood in its queue when that was last looked at."""
        return self._snapshot.queue_position(job) if self._snapshot and job.state.is_waiting else None

    # -- who follows what

    def watch(self, job_id: int, user: str | None = None) -> Subscription:
        """News of a job from now on; as `user`, its owner, Slurm can be asked where others may not see it."""
        subscription = Subscription(self, job_id, user)
        if job_id not in self._subscriptions and self._snapshot:
            # a slurmctld that lost its state gives ids out again: what was seen may be of an earlier job
            others = {number: job for number, job in self._snapshot.jobs.items() if number != job_id}
            self._snapshot = replace(self._snapshot, jobs=others)
        self._subscriptions.setdefault(job_id, []).append(subscription)
        self._wake.set()  # the time until the next query is reckoned anew
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Ends what `watch` began; a second time is no error."""
        others = [one for one in self._subscriptions.get(subscription.job_id, ()) if one is not subscription]
        if others:
            self._subscriptions[subscription.job_id] = others
            return
        for facts in (
            *(self._subscriptions, self._jobs, self._asked, self._doubted, self._running_since),
            self._places,
        ):
            facts.pop(subscription.job_id, None)

    # -- asking

    def start(self) -> None:
        """Asks Slurm from now on, as often as is needed; started already, it goes on."""
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._ask_forever())
            self._loop.add_done_callback(_report)

    async def stop(self) -> None:
        """Asks no more; returns when nothing of it runs."""
        tasks = [task for task in (self._loop, self._settling) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._query.stop(), return_exceptions=True)
        self._loop = self._settling = None

    def kick(self) -> None:
        """Slurm is asked at once: there is news, as when a starter reported."""
        self._is_kicked = True
        self._wake.set()
        if self._loop and self._loop.done():
            self.start()  # a mistake of ours ended it: see the log

    async def refresh(self) -> Snapshot:
        """Slurm's next answer; a query that is running is shared. Raises SlurmUnreachable or SlurmError."""
        return await self._query.get()

    async def refresh_anew(self, is_enough: Callable[[Snapshot], bool] = lambda snapshot: False) -> Snapshot:
        """A snapshot whose query begins from now on, or one of an earlier query that `is_enough`.

        Raises as `refresh` does.
        """
        return await self._query.get_new(is_enough)

    async def _ask_forever(self) -> None:
        while True:
            self._is_kicked = False
            try:
                await self.refresh()
            except SlurmError as error:
                self._warn("no answer from Slurm: %s", error.detail or error)
            ended = self.clock.now()
            while not self._is_kicked and (left := ended + self._interval() - self.clock.now()) > 0:
                self._wake.clear()
                await self.clock.wait(self._wake, left)

    def _interval(self) -> float:
        return self.pace.interval(self._wanted(), self._seconds, self.failures)

    def _wanted(self) -> float:
        """Seconds between queries that the jobs which are followed need."""
        subscriptions = [one for many in self._subscriptions.values() for one in many]
        if any(one.urgent and not self._is_at_rest(one) for one in subscriptions):
            return self.pace.starting
        if any(not self._is_over(one.job_id) and not self._is_running(one.job_id) for one in subscriptions):
            return self.pace.waiting
        return self.pace.quiet

    def _does_any_wait(self) -> bool:
        jobs = (self.job(job_id) for job_id in self._subscriptions)
        return any(job is None or job.state.is_waiting for job in jobs)

    def _is_at_rest(self, one: Subscription) -> bool:
        """Is there nothing to see of its job for some seconds?"""
        job = self.job(one.job_id)
        if job is None:
            return False
        since = self._running_since.get(job.id)
        is_settled = since is not None and self.clock.now() - since > self.pace.settled
        return job.state.is_waiting or job.state.is_over or is_settled

    def _is_over(self, job_id: int) -> bool:
        job = self.job(job_id)
        return job is not None and job.state.is_over

    def _is_running(self, job_id: int) -> bool:
        job = self.job(job_id)
        return job is not None and job.state.is_running

    async def _wait_turn(self) -> None:
        await self.clock.wait(asyncio.Event(), self._bucket.reserve())

    async def _ask(self) -> Snapshot:
        began = self.clock.now()
        try:
            snapshot = await self.client.jobs(of=self.of, with_queues=self._does_any_wait())
        except SlurmError as error:
            self.failures += 1
            self.last_error = error
            raise
        finally:
            self._seconds = self.clock.now() - began
        self.failures = 0
        self.last_error = None
        self._snapshot = replace(snapshot, began_at=began, taken_at=self.clock.now())
        self._compare(self._snapshot)
        return self._snapshot

    def _compare(self, snapshot: Snapshot) -> None:
        for job_id in self._subscriptions:
            job = snapshot.jobs.get(job_id)
            if job:
                self._learn(job)
                self._tell_place(job)
        missing = [job_id for job_id in self._subscriptions if self._is_missing(job_id, snapshot)]
        if missing and (self._settling is None or self._settling.done()):
            self._settling = asyncio.create_task(self._settle(missing))
            self._settling.add_done_callback(_report)

    def _is_missing(self, job_id: int, snapshot: Snapshot) -> bool:
        """Should the snapshot show the job, and doesn't? One begun before the job was watched need not."""
        if job_id in snapshot.jobs or self._is_over(job_id):
            return False
        if self._asked.get(job_id, -math.inf) > snapshot.began_at - self.pace.quiet:
            return False
        return any(one.since < snapshot.began_at for one in self._subscriptions[job_id])

    def _learn(self, job: Job) -> None:
        self._doubted.pop(job.id, None)
        if job.id in self._subscriptions and self._jobs.get(job.id) != job:
            self._jobs[job.id] = job
            if job.state.is_running:
                self._running_since.setdefault(job.id, self.clock.now())
            else:
                self._running_since.pop(job.id, None)
            for subscription in self._subscriptions[job.id]:
                subscription.ring()

    def _tell_place(self, job: Job) -> None:
        """A job may move up without a change of its own."""
        place = self.queue_position(job)
        if place != self._places.get(job.id):
            self._places[job.id] = place
            for subscription in self._subscriptions[job.id]:
                subscription.ring()

    def _warn(self, text: str, *facts: object) -> None:
        """Logs a trouble, and again only after a while, however often it comes."""
        now = self.clock.now()
        if now - self._warned.get(text, -math.inf) >= self.pace.warnings:
            self._warned[text] = now
            log.warning(f"%s: {text}", self.client.cluster.name, *facts)

    # -- jobs that a snapshot doesn't show

    async def _settle(self, missing: Sequence[int]) -> None:
        """Finds out what became of jobs that the last snapshot doesn't show."""
        try:
            ends = await self.client.ends(missing)
            is_patient = False
        except SlurmError as error:
            self._warn("no accounting: %s", error.detail or error)
            ends = {}
            is_patient = True
        for job_id in missing:
            end = ends.get(job_id)
            if end and end.state.is_over:
                self._learn(_ended(self.job(job_id) or Job(job_id, end.state), end))
            else:
                await self._ask_controller(job_id, is_patient=is_patient or end is not None)

    async def _ask_controller(self, job_id: int, *, is_patient: bool) -> None:
        """The last word on a job whose end accounting doesn't tell; with patience, as accounting may lag."""
        user = next((one.user for one in self._subscriptions.get(job_id, ()) if one.user), None)
        try:
            job = await self.client.job(job_id, user=user)
        except SlurmError as error:
            self._warn("no answer about a job: %s", error.detail or error)
            return
        if job_id not in self._subscriptions:
            return
        if job:
            self._warn(HIDDEN, job_id, job.user)
            self._asked[job_id] = self.clock.now()
            self._learn(job)
            return
        since = self._doubted.setdefault(job_id, self.clock.now())
        if not is_patient or self.clock.now() - since >= self.pace.doubt:
            last = self.job(job_id) or Job(job_id, JobState.VANISHED)
            self._learn(replace(last, state=JobState.VANISHED))


def _ended(job: Job, end: End) -> Job:
    return replace(job, state=end.state, exit_code=end.exit_code, signal=end.signal, raw_state=end.raw_state)


def _report(task: asyncio.Task[None]) -> None:
    """Logs a mistake of ours that ended a task which nobody waits for."""
    if not task.cancelled() and (error := task.exception()):
        log.error("A watcher's task ended by a mistake", exc_info=error)
