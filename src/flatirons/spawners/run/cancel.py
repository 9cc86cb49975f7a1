"""How a server is ended from the hub: in peace if it can be, and until Slurm says that its job is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from flatirons.errors import SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.progress import StartProgress
from flatirons.spawners.run.stored_state import Followed

SECONDS_TO_END_IN_PEACE = 10.0
"""How long a server that is told to end has before Slurm ends its job."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Ends the job of the run `of`, which is followed meanwhile; `progress` rings when it has changed.

    `seconds` is how long a cancelled job may take to be gone.
    """

    of: Followed
    client: SlurmClient
    watcher: Watcher
    progress: StartProgress
    user: str
    seconds: float

    async def carry_out(self) -> None:
        """Returns when Slurm says that the job is gone; raises SlurmError when it isn't."""
        if await self._ended_in_peace():
            return
        job_id = self.of.attempt.job_id
        await self.client.cancel(job_id, user=self.user)
        if not await self._is_over_within(self.seconds):
            raise SlurmError(
                "Slurm has not ended the job yet. Please try again in a minute.",
                f"job {job_id} still there {self.seconds} s after scancel: {self.of.job}",
            )

    async def _ended_in_peace(self) -> bool:
        """Whether a server that runs has ended when its starter alone was told to.

        scancel without a signal tells all processes at once, the container's file system among them; a server
        that loses that before it has ended crashes, and leaves a core file in the home.
        """
        attempt, job = self.of.attempt, self.of.job
        if not (attempt.key_digest and job and job.state.is_running):
            return False
        await self.client.cancel(attempt.job_id, user=self.user, signal="TERM")
        return await self._is_over_within(min(SECONDS_TO_END_IN_PEACE, self.seconds / 2))

    async def _is_over_within(self, seconds: float) -> bool:
        """Whether Slurm says within this time that the job is over; asks it as soon as there may be news."""
        last = time.monotonic() + seconds
        while not (self.of.job and self.of.job.state.is_over):
            self.watcher.kick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, last - time.monotonic())):
                    await self.progress.changed()
            if time.monotonic() >= last:
                return False
        return True
