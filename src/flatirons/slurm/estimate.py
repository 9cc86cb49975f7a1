"""When a job would start, according to `sbatch --test-only`, run as the job's user and not too often.

It is an estimate: Slurm goes by the time limits of the jobs that run now, and ignores jobs that are still to
be submitted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial

from cachetools import LRUCache

from flatirons.concurrency import SharedCall, TokenBucket
from flatirons.errors import SlurmError, SubmitRefused
from flatirons.slurm.alternatives import Alternative
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import JobSpec
from flatirons.units import counted

SCRIPT = "#!/bin/sh\n"
PATIENCE_SECONDS = 2.0
FRESH_SECONDS = 15.0
NOW_SECONDS = 30.0
LONG_WAIT_SECONDS = 600.0
MOST_AT_ONCE = 4
MOST_USERS = 2000
MOST_SUGGESTIONS = 3
MOST_QUESTIONS = 6
"""How many estimates one user may ask for at once."""

QUESTION_SECONDS = 2.0
"""After how many seconds the same user may ask for one more."""


class Kind(Enum):
    """What the estimate says."""

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
        """Is the wait so long that alternatives are worth looking for?"""
        return self.kind is Kind.LATER and self.wait_seconds > LONG_WAIT_SECONDS


SILENT = Estimate(
    Kind.UNKNOWN, "Slurm can't say at the moment when this would start. You can start it all the same."
)
TOO_OFTEN = Estimate(Kind.TOO_OFTEN, "The estimate follows in a moment.")


class Estimator:
    """Asks one cluster for estimates, within a limit for each user: see MOST_QUESTIONS."""

    def __init__(
        self,
        client: SlurmClient,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` returns seconds since 1970; `clock` is the clock, in seconds, by which answers age."""
        self.client = client
        self._now = now
        self._clock = clock
        self._limits: LRUCache[str, TokenBucket] = LRUCache(MOST_USERS)
        self._questions: LRUCache[tuple[str, JobSpec], SharedCall[Estimate]] = LRUCache(MOST_USERS)
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def estimate(self, spec: JobSpec, *, user: str) -> Estimate:
        """When this job of this user would start. Raises no error when Slurm refuses it or doesn't answer."""
        question = self._questions.get((user, spec))
        if question is None or not (question.is_running or question.is_kept(FRESH_SECONDS)):
            if not self._limit_of(user).take():
                return TOO_OFTEN
            question = question or SharedCall(partial(self._ask, spec, user), now=self._clock)
            self._questions[user, spec] = question
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await question.get(FRESH_SECONDS)
        except (TimeoutError, SlurmError):
            return SILENT

    async def find_sooner(
        self, estimate: Estimate, candidates: Sequence[Alternative], *, user: str
    ) -> list[tuple[Alternative, Estimate]]:
        """At most three candidates that would start in less than half the time, soonest first."""
        if not estimate.is_long:
            return []
        answers = await asyncio.gather(*(self.estimate(each.spec, user=user) for each in candidates))
        better = [
            (alternative, answer)
            for alternative, answer in zip(candidates, answers, strict=True)
            if answer.kind is Kind.NOW
            or (answer.kind is Kind.LATER and answer.wait_seconds < estimate.wait_seconds / 2)
        ]
        return sorted(better, key=lambda pair: pair[1].wait_seconds)[:MOST_SUGGESTIONS]

    def _limit_of(self, user: str) -> TokenBucket:
        return self._limits.setdefault(user, TokenBucket(MOST_QUESTIONS, QUESTION_SECONDS, self._clock))

    async def _ask(self, spec: JobSpec, user: str) -> Estimate:
        """Slurm's estimate; raises SlurmError when it gives none."""
        async with self._turns:
            try:
                start, sentence = await self.client.test_only(spec, SCRIPT, user=user)
            except SubmitRefused as refused:
                return Estimate(Kind.REFUSED, refused.user)
        if start is None:
            raise SlurmError(SILENT.sentence, sentence)
        return describe_start(start, datetime.fromtimestamp(self._now(), UTC))


def describe_start(start: datetime, now: datetime) -> Estimate:
    """An estimated start in words, rounded the more, the later it is."""
    wait = (start - now).total_seconds()
    if wait <= NOW_SECONDS:
        return Estimate(Kind.NOW, "Starts at once.")
    return Estimate(Kind.LATER, f"Starts in about {_about(wait)}.", wait)


def _about(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 10:
        return counted(max(round(minutes), 1), "minute")
    if minutes < 55:
        return counted(round(minutes / 5) * 5, "minute")
    hours = minutes / 60
    if hours < 1.5:
        return "an hour"
    if hours < 36:
        return f"{round(hours)} hours"
    return f"{round(hours / 24)} days"
