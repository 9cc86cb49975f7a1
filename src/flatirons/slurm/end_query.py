"""One question to accounting at a time: what is asked for meanwhile shares the next.

When a partition goes down, a thousand servers end together; slurmdbd is asked twice then, not a thousand
times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from flatirons.slurm.model import End

Ask = Callable[[Sequence[int]], Awaitable[dict[int, End]]]


class EndQuery:
    """Gathers the ids of jobs for `ask`, which is never under way twice."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._due: set[int] = set()
        self._next: asyncio.Task[dict[int, End]] | None = None  # still takes ids
        self._present: asyncio.Task[dict[int, End]] | None = None  # is being answered, and takes none

    async def answer(self, job_ids: Iterable[int]) -> dict[int, End]:
        """What `ask`, called from now on, gives for these jobs; raises as it does.

        Who is cancelled meanwhile doesn't take the answer away from the others.
        """
        wanted = set(job_ids)
        if not wanted:
            return {}
        self._due |= wanted
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._ask_next())
            self._next.add_done_callback(_retrieve)
        found = await asyncio.shield(self._next)
        return {job_id: found[job_id] for job_id in wanted if job_id in found}

    async def _ask_next(self) -> dict[int, End]:
        if self._present and not self._present.done():
            await asyncio.wait([self._present])
        self._present, self._next = self._next, None
        due, self._due = self._due, set()
        return await self._ask(sorted(due))


def _retrieve(question: asyncio.Task[dict[int, End]]) -> None:
    """Marks a failed question's error as seen, should nobody wait for it any more."""
    if not question.cancelled():
        question.exception()
