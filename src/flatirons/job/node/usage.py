"""Tells the hub how much memory the job uses, for the pages that show its server.

    usage  {memory_mib}, when it has changed

A server whose memory is steady calls every ten minutes, for a hub that was restarted. These calls matter to
nobody but a reader: one that fails isn't repeated, and the next comes after a longer and longer pause.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from flatirons.job.node.calls import Refused, Unreachable
from flatirons.job.node.memory import JobMemory, granted_mib

if TYPE_CHECKING:
    from collections.abc import Callable

    from flatirons.job.node.calls import HubApi

LOOK_SECONDS = 10  # from one look at the memory to the next
CALL_SECONDS = 30  # from one call to the next, at least
STEADY_SECONDS = 600  # for a server whose memory doesn't change
LONGEST_SECONDS = 3600  # the longest pause after calls that failed
SHARE_OF_TIME = 0.01  # of one core, for looking: it is slow where processes must be added up
SMALLEST_STEP = 32  # MiB


class UsageCalls:
    """Decides which of the amounts seen are told, and tells them. Times are in seconds of one clock."""

    def __init__(self, tell: Callable[[int], bool], granted: int) -> None:
        """`tell` returns whether the hub took an amount; `granted` is the job's memory in MiB, 0: unknown."""
        self.tell = tell
        self.granted = granted
        self.told: int | None = None
        self.told_at = 0.0
        self.not_before = 0.0
        self.pause = CALL_SECONDS

    def see(self, used: int, now: float) -> None:
        """Notes that the job uses `used` MiB, and tells the hub if that is due."""
        if now < self.not_before or not (self.is_news(used) or now - self.told_at >= STEADY_SECONDS):
            return
        if self.tell(used):
            self.told, self.told_at, self.pause = used, now, CALL_SECONDS
        else:
            self.pause = min(2 * self.pause, LONGEST_SECONDS)
        self.not_before = now + self.pause

    def is_news(self, used: int) -> bool:
        """Whether it differs from what the hub knows by a fortieth of the job's memory or more."""
        if self.told is None:
            return True
        return abs(used - self.told) >= max((self.granted or self.told) // 40, SMALLEST_STEP)


class UsageReports:
    """Looks at the memory of the job again and again, for the hub."""

    def __init__(self, hub: HubApi, job_id: int) -> None:
        self.hub = hub
        self.memory = JobMemory(str(job_id))
        self.calls = UsageCalls(self.tell, granted_mib(os.environ))
        # many servers may have started together
        self.pause = LOOK_SECONDS * (1 + os.urandom(1)[0] / 256)

    def look(self) -> float:
        """Tells the hub what the job uses, if that is due; returns the seconds until the next look."""
        began = time.monotonic()
        used = self.memory.used_mib()
        took = time.monotonic() - began
        self.calls.see(used, began)
        return max(LOOK_SECONDS, took / SHARE_OF_TIME)

    def tell(self, used: int) -> bool:
        """Makes the call; returns whether the hub took it."""
        try:
            self.hub.post("usage", {"memory_mib": used}, 0)
        except (Refused, Unreachable):
            return False
        return True
