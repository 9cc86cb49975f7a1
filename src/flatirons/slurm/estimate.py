"""When a job would start, asked of Slurm by `sbatch --test-only`, as its user, and not too often.

It is an estimate: Slurm counts with the time limits of what runs now, and with nothing that is yet to come.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from flatirons.errors import SlurmError, SubmitRefused
from flatirons.slurm.alternatives import Change
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import JobSpec

SCRIPT = "#!/bin/sh\n"
PATIENCE_SECONDS = 2.0
FRESH_SECONDS = 15.0
NOW_SECONDS = 30.0
LONG_WAIT_SECONDS = 600.0
MOST_AT_ONCE = 4
MOST_USERS = 2000
MOST_SUGGESTIONS = 3


class Kind(Enum):
    """What came out."""

    NOW = "now"
    LATER = "later"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    TOO_OFTEN = "too often"


@dataclass(frozen=True, slots=True)
class Estimate:
    """When a job would start. `wait_seconds` means something where `kind` is LATER."""

    kind: Kind
    sentence: str
    wait_seconds: float = 0.0

    @property
    def is_long(self) -> bool:
        """Is the wait worth a change?"""
        return self.kind is Kind.LATER and self.wait_seconds > LONG_WAIT_SECONDS


SILENT = Estimate(
    Kind.UNKNOWN, "Slurm doesn't say at the moment when this would start. You can start all the same."
)
TOO_OFTEN = Estimate(Kind.TOO_OFTEN, "The estimate follows in a moment.")


@dataclass(slots=True)
class Bucket:
    """How often one user may ask: `most` times at once, then once in `seconds`."""

    most: float
    seconds: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Whether one more question is allowed now."""
        self.left = min(self.most, self.left + (now - self.at) / self.seconds)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class Estimator:
    """One cluster's estimates. Each user has `most` questions, and gets back one in `seconds`."""

    client: SlurmClient
    now: Callable[[], float] = time.time
    most: float = 6
    seconds: float = 2.0
    _buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    _answers: OrderedDict[tuple[str, JobSpec], tuple[float, Estimate]] = field(default_factory=OrderedDict)
    _asked: dict[tuple[str, JobSpec], asyncio.Task[Estimate]] = field(default_factory=dict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_AT_ONCE))

    async def estimate(self, spec: JobSpec, *, user: str) -> Estimate:
        """When this job of this user would start. Never raises for what Slurm says, or doesn't."""
        key = (user, spec)
        at, known = self._answers.get(key, (0.0, SILENT))
        if self.now() - at < FRESH_SECONDS:
            return known
        if key not in self._asked:
            if not self._bucket(user).take(self.now()):
                return TOO_OFTEN
            self._asked[key] = asyncio.ensure_future(self._ask(spec, user))
            self._asked[key].add_done_callback(lambda _: self._asked.pop(key, None))
        done, _ = await asyncio.wait([self._asked[key]], timeout=PATIENCE_SECONDS)
        return done.pop().result() if done else SILENT

    async def sooner(
        self, estimate: Estimate, candidates: Sequence[Change], *, user: str
    ) -> list[tuple[Change, Estimate]]:
        """The candidates that Slurm says would start clearly sooner, soonest first, at most three."""
        if not estimate.is_long:
            return []
        answers = await asyncio.gather(*(self.estimate(each.spec, user=user) for each in candidates))
        better = [
            (change, answer)
            for change, answer in zip(candidates, answers, strict=True)
            if answer.kind is Kind.NOW
            or (answer.kind is Kind.LATER and answer.wait_seconds < estimate.wait_seconds / 2)
        ]
        return sorted(better, key=lambda pair: pair[1].wait_seconds)[:MOST_SUGGESTIONS]

    def _bucket(self, user: str) -> Bucket:
        bucket = self._buckets.setdefault(user, Bucket(self.most, self.seconds, self.most, self.now()))
        self._buckets.move_to_end(user)
        if len(self._buckets) > MOST_USERS:
            self._buckets.popitem(last=False)
        return bucket

    async def _ask(self, spec: JobSpec, user: str) -> Estimate:
        async with self._room:
            estimate = await self._asked_of_slurm(spec, user)
        if estimate is not SILENT:
            self._answers[user, spec] = (self.now(), estimate)
            if len(self._answers) > MOST_USERS:
                self._answers.popitem(last=False)
        return estimate

    async def _asked_of_slurm(self, spec: JobSpec, user: str) -> Estimate:
        try:
            start, _ = await self.client.test_only(spec, SCRIPT, user=user)
        except SubmitRefused as refused:
            return Estimate(Kind.REFUSED, refused.user)
        except SlurmError:
            return SILENT
        if start is None:
            return SILENT
        return when(start, datetime.fromtimestamp(self.now(), UTC))


def when(start: datetime, now: datetime) -> Estimate:
    """An estimated start in words, as round as it is uncertain."""
    wait = (start - now).total_seconds()
    if wait <= NOW_SECONDS:
        return Estimate(Kind.NOW, "Starts at once.")
    return Estimate(Kind.LATER, f"Starts in about {_about(wait)}.", wait)


def _about(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 10:
        return f"{max(round(minutes), 1)} min"
    if minutes < 55:
        return f"{round(minutes / 5) * 5} min"
    hours = minutes / 60
    if hours < 1.5:
        return "an hour"
    if hours < 36:
        return f"{round(hours)} hours"
    return f"{round(hours / 24)} days"
