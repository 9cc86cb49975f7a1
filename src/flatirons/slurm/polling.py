"""When a watcher asks Slurm: how often, how much less where that is dear, how many times in a row."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass


class Clock:
    """Time as the watcher sees it; a test has its own."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Returns when `event` is set or `seconds` have passed."""
        # not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often Slurm is asked; all in seconds.

    `starting`, `waiting` and `quiet` are the time between two queries while something starts, something
    waits, or neither. A slow Slurm is asked less: at most a tenth of the time is spent in queries. A failing
    one is asked half as often with each failure, down to every `longest`. `burst` queries may follow each
    other at once when there is news to fetch, after that one each `gap`: a query is two RPCs, so that the
    start of many servers asks slurmctld for less than three a second. A job of which slurmctld knows
    nothing, while accounting doesn't answer or believes it alive, counts as vanished after `doubt`. A job
    that has been seen running for `settled` isn't starting any more, even if nobody said so.
    The same trouble is logged once in `warnings` seconds.
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
        """Seconds from one query's end to the next one's start."""
        slow = max(wanted, 9 * query_seconds)
        failing = self.starting * 2.0 ** min(failures, 10) if failures else 0.0
        return min(max(slow, failing), max(self.longest, wanted))
