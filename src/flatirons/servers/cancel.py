"""Ends a server: gracefully where possible, and until Slurm says that its job is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time

from flatirons.errors import SlurmError
from flatirons.servers.follow import JobFollower

SECONDS_TO_END_GRACEFULLY = 10.0
"""How long a server that gets SIGTERM may take to end before Slurm ends its job."""


class Cancellation:
    """Ends the job of a follower, which keeps following it; `Limits.stop` says how long that may take."""

    def __init__(self, run: JobFollower) -> None:
        self._run = run
        self._is_hurried = False

    def hurry(self) -> None:
        """Leaves the server no more time to end by itself."""
        self._is_hurried = True
        self._run.progress.ring()

    async def carry_out(self) -> None:
        """Returns when Slurm says that the job is gone; raises SlurmError when it doesn't."""
        run = self._run
        if run.job and run.job.state.is_over:  # another job may have the id by now
            return
        run.set_urgent(True)
        if await self._has_ended_gracefully():
            return
        await run.client.cancel(run.job_id, user=run.user)
        if not await self._is_over_within(run.limits.stop, can_hurry=False):
            raise SlurmError(
                f"Slurm has not ended job {run.job_id} yet. Please try again in a minute.",
                f"job {run.job_id} still there {run.limits.stop} s after scancel: {run.job}",
            )

    async def _has_ended_gracefully(self) -> bool:
        """Whether a running server ended when only its starter got a signal.

        scancel without --signal signals all processes at once, also that of the container's file system. A
        server that loses its file system before it has ended crashes, and leaves a core file in the home.
        """
        run = self._run
        if not (run.has_starter_called and run.job and run.job.state.is_running):
            return False
        await run.client.cancel(run.job_id, user=run.user, signal="TERM")
        return await self._is_over_within(min(SECONDS_TO_END_GRACEFULLY, run.limits.stop / 2), can_hurry=True)

    async def _is_over_within(self, seconds: float, *, can_hurry: bool) -> bool:
        """Whether Slurm says within this time that the job is over; asks it as soon as there may be news."""
        run, last = self._run, time.monotonic() + seconds
        while not (run.job and run.job.state.is_over):
            if time.monotonic() >= last or (can_hurry and self._is_hurried):
                return False
            run.watcher.kick()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, last - time.monotonic())):
                    await run.progress.changed()
        return True
