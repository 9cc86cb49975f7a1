"""What the watcher knows of a job that somebody follows, and the news that its followers get."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType

from flatirons.slurm.model import Job, QueuePosition


@dataclass(slots=True, eq=False)
class FollowedJob:
    """What the watcher knows of a job that somebody follows; times are in seconds of the watcher's clock."""

    id: int
    job: Job | None = None
    queue_position: QueuePosition | None = None
    running_since: float | None = None
    confirmed_at: float = -math.inf
    """When slurmctld, asked for this job alone, last said that it lives although squeue doesn't list it."""

    unknown_since: float | None = None
    """Since when slurmctld knows nothing of the job, while accounting gave no end."""

    subscriptions: list[Subscription] = field(default_factory=list)

    @property
    def user(self) -> str | None:
        """The account as which Slurm can be asked about the job; None for the hub's own."""
        return next((each.user for each in self.subscriptions if each.user), None)

    @property
    def is_over(self) -> bool:
        """Has the job ended, as far as is known?"""
        return self.job is not None and self.job.state.is_over

    @property
    def is_running(self) -> bool:
        """Does the job run, as far as is known?"""
        return self.job is not None and self.job.state.is_running

    @property
    def may_wait(self) -> bool:
        """Does the job wait in the queue, or is nothing known of it yet?"""
        return self.job is None or self.job.state.is_waiting

    def update(self, job: Job, queue_position: QueuePosition | None, now: float) -> None:
        """Notes what Slurm says of the job, and wakes its followers when something changed."""
        self.unknown_since = None
        if (job, queue_position) == (self.job, self.queue_position):
            return
        self.job, self.queue_position = job, queue_position
        if not job.state.is_running:
            self.running_since = None
        elif self.running_since is None:
            self.running_since = now
        for subscription in self.subscriptions:
            subscription.wake()


class Subscription:
    """News of one job: iterates over the newest Job each time that it changed, and ends with the job.

    While the subscription is `urgent`, its job counts as starting once it has nodes, so that Slurm is asked
    often. Set it to False as soon as the job's server listens.
    """

    def __init__(
        self,
        followed: FollowedJob,
        user: str | None,
        now: Callable[[], float],
        on_close: Callable[[Subscription], None],
    ) -> None:
        self.job_id = followed.id
        self.user = user
        self.since = self.urgent_since = now()
        self.is_closed = False
        self._followed = followed
        self._now = now
        self._is_urgent = True
        self._on_close = on_close
        self._news = asyncio.Event()

    @property
    def urgent(self) -> bool:
        """Does somebody wait for the job's server to listen, or to end?"""
        return self._is_urgent

    @urgent.setter
    def urgent(self, is_urgent: bool) -> None:
        if is_urgent and not self._is_urgent:
            self.urgent_since = self._now()
        self._is_urgent = is_urgent

    def close(self) -> None:
        """Stops following the job, and ends the iteration. Closing it again is no error."""
        self.is_closed = True
        self._news.set()
        self._on_close(self)

    def wake(self) -> None:
        """Lets the iteration look for news."""
        self._news.set()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[Job]:
        last: tuple[Job, QueuePosition | None] | None = None
        while not self.is_closed:
            job = self._followed.job
            news = (job, self._followed.queue_position) if job else None
            if job is None or news == last:
                await self._news.wait()
                self._news.clear()
                continue
            last = news
            yield job
            if job.state.is_over:
                return
