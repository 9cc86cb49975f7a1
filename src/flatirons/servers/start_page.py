"""What the page of a start shows: the status, the events, and times in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flatirons import units
from flatirons.servers.progress import Event
from flatirons.servers.status import ServerStatus

STALE_STEP = 10.0
"""Seconds to which the moment of Slurm's last answer is rounded: it is only known as an age."""


@dataclass(frozen=True, slots=True)
class StartPage:
    """A start at the moment `now`, in seconds since 1970.

    With `counts`, it has the words of counters, which a page without JavaScript needs.
    """

    status: ServerStatus
    events: Sequence[Event]
    now: float
    counts: bool = True

    def ago(self, moment: float) -> str:
        """How long ago that was, as a counter's first text."""
        return units.time_in_words(max(self.now - moment, 0.0)) if self.counts else ""

    @property
    def answered_at(self) -> float | None:
        """When Slurm last answered, None while it does."""
        age = self.status.stale_seconds
        return None if age is None else STALE_STEP * round((self.now - age) / STALE_STEP)

    @property
    def without_time(self) -> StartPage:
        """What two pages without counters have in common if they show the same."""
        status = replace(self.status, stale_seconds=self.answered_at)
        return replace(self, status=status, now=0.0)

    @staticmethod
    def took(seconds: float) -> str:
        """How long a part took: `0.3 s`, `12.0 s`, `5 minutes`."""
        return f"{seconds:.1f} s" if seconds < 60 else units.time_in_words(seconds)

    @staticmethod
    def in_words(seconds: float) -> str:
        """A time span in words."""
        return units.time_in_words(seconds)

    @staticmethod
    def utc(moment: float) -> datetime:
        """A moment as templates write it."""
        return datetime.fromtimestamp(moment, UTC)
