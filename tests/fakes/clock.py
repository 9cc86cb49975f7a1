"""A clock that a test moves, so that nothing in a test waits for real time."""

from __future__ import annotations

import asyncio

from flatirons.slurm.polling import Clock


class FakeClock(Clock):
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        """Seconds."""
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Returns when `event` is set or the test has advanced by `seconds`."""
        if seconds <= 0:
            return
        bell = asyncio.Event()
        sleeper = (self.time + seconds, bell)
        self._sleepers.append(sleeper)
        waits = [asyncio.ensure_future(one.wait()) for one in (event, bell)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    async def advance(self, seconds: float) -> None:
        """Lets time pass, stopping whenever a waiter must wake up, until nothing more happens."""
        target = self.time + seconds
        await idle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= target]:
            sleeper = min(due, key=lambda one: one[0])
            self._sleepers.remove(sleeper)
            self.time = max(self.time, sleeper[0])
            sleeper[1].set()
            await idle()
        self.time = target
        await idle()


async def idle() -> None:
    """Gives every task its turn until all of them wait."""
    for _ in range(100):
        await asyncio.sleep(0)
