"""When a watcher asks Slurm: how often, and how much less often when queries are slow or fail."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass


class Clock:
    """The time that the watcher goes by; tests replace it."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Returns when `event` is set or `seconds` have passed."""
        # not wait_for: before Python 3.12 it loses a cancellation that comes together with the event
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often Slurm is asked; all values are in seconds, except `burst`.

    `starting`, `waiting`, `quiet`: the time between two queries while some job starts, while some job waits,
    and otherwise. A slow Slurm is asked less often, so that queries take at most a tenth of the time. A
    failing one is asked half as often after each failure, down to one query in `longest` seconds.

    `burst`, `gap`: when there is news to fetch, so many queries may follow each other at once, and after that
    one in `gap` seconds. A query is two RPCs, so slurmctld gets fewer than three RPCs per second however many
    servers start.

    `doubt`: a job that slurmctld doesn't know, while accounting doesn't answer or believes it alive, counts
    as vanished after this time. `settled`: a job that has been seen running for this time, and for which
    somebody has waited as long, doesn't count as starting any more. `warnings`: the same problem is logged
    once in this time.
    """

    starting: float = 1.0
    waiting: float = 5.0
    quiet: float = 30.0
    longest: float = 60.0
    gap: float = 0.7
    burst: int = 3
    doubt: float = 30.0
    settled: float = 600.0
    warnings: float = 300.0

    def interval(self, wanted: float, query_seconds: float, failures: int) -> float:
        """Seconds from the end of one query to the start of the next.

        `wanted` is the interval that the jobs need, and `query_seconds` the time that the last query took.
        """
        slow = max(wanted, 9 * query_seconds)
        failing = self.starting * 2.0 ** min(failures, 10) if failures else 0.0
        return min(max(slow, failing), max(self.longest, wanted))
