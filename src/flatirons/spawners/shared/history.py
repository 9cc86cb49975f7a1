"""The last day of a hub, minute by minute: submissions, failures, and how long Slurm took to answer.

It is kept in memory, of a bounded size, and begins anew with the hub. It is for operators: other than the
metrics of Prometheus, it knows whose servers failed.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")

MINUTES_KEPT = 24 * 60
FAILURES_KEPT = 500
"""Failures of which it is known whose they are; older ones are only counted."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A server that did not start, or ended by itself: a cause's kind, and when, in seconds since 1970."""

    kind: str
    user: str
    server: str
    at: float


@dataclass(slots=True)
class Minute:
    """What happened in one minute; `number` counts them since 1970, `slowest` is in seconds, by cluster."""

    number: int
    submissions: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)


class History:
    """A ring of minutes; those in which nothing happened aren't in it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._minutes: deque[Minute] = deque()
        self._failures: deque[Failure] = deque(maxlen=FAILURES_KEPT)

    def count_submission(self) -> None:
        """Slurm took a job."""
        self._now().submissions += 1

    def count_failure(self, kind: str, user: str, server: str) -> None:
        """A server did not start, or ended by itself."""
        self._now().failures[kind] += 1
        self._failures.append(Failure(kind, user, server, self._clock()))

    def count_query(self, cluster: str, seconds: float) -> None:
        """A command that asks Slurm has ended."""
        slowest = self._now().slowest
        slowest[cluster] = max(seconds, slowest.get(cluster, 0.0))

    def submissions(self, minutes: int) -> list[int]:
        """How many in each of the last minutes; the last one is not over yet."""
        return self._series(minutes, lambda minute: minute.submissions, 0)

    def failures(self, minutes: int) -> list[int]:
        """How many in each of the last minutes."""
        return self._series(minutes, lambda minute: minute.failures.total(), 0)

    def slowest_queries(self, cluster: str, minutes: int) -> list[float | None]:
        """Seconds of the slowest query in each of the last minutes, None for one without any."""
        return self._series(minutes, lambda minute: minute.slowest.get(cluster), None)

    def failures_by_kind(self, minutes: int = MINUTES_KEPT) -> Counter[str]:
        """How many of each kind in the last minutes."""
        found: Counter[str] = Counter()
        for minute in self._last(minutes):
            found.update(minute.failures)
        return found

    def newest_failures(self, kind: str, most: int) -> list[Failure]:
        """The last failures of this kind within a day, newest first, one for each server."""
        since, found = 60 * (self._number() - MINUTES_KEPT + 1), dict[tuple[str, str], Failure]()
        for failure in reversed(self._failures):
            if failure.at < since or len(found) == most:
                break
            if failure.kind == kind:
                found.setdefault((failure.user, failure.server), failure)
        return list(found.values())

    def _number(self) -> int:
        return int(self._clock() // 60)

    def _now(self) -> Minute:
        """The current minute; the last one if the clock was set back."""
        number = self._number()
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(Minute(number))
        while self._minutes[0].number <= number - MINUTES_KEPT:
            self._minutes.popleft()
        return self._minutes[-1]

    def _last(self, minutes: int) -> Iterator[Minute]:
        first = self._number() - minutes + 1
        return (minute for minute in self._minutes if minute.number >= first)

    def _series(self, minutes: int, read: Callable[[Minute], Value], nothing: Value) -> list[Value]:
        found = [nothing] * minutes
        first = self._number() - minutes + 1
        for minute in self._last(minutes):
            found[min(minute.number - first, minutes - 1)] = read(minute)
        return found
