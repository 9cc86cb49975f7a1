"""A start that an earlier hub process began, and this one finishes.

To JupyterHub it looks like an ordinary start: there is progress, and it can be cancelled. That takes some of
the private fields by which JupyterHub's Spawner says what it is about; nothing else of ours sets those.
"""

from __future__ import annotations

import asyncio
import contextlib

from jupyterhub.spawner import Spawner

from flatirons.errors import FlatironsError, ServerEnded
from flatirons.spawners.run import ServerRun
from flatirons.spawners.story import StartFailed


class Resumption:
    """Finishes the start of a spawner that JupyterHub is checking."""

    def __init__(self, spawner: Spawner, run: ServerRun, *, stop_seconds: float) -> None:
        """`stop_seconds` is how long a start that is cancelled may take to be stopped."""
        self._spawner = spawner
        self._run = run
        self._stop_seconds = stop_seconds

    async def carry_out(self) -> int | None:
        """None once the server listens, else an exit status."""
        spawner, arrived = self._spawner, asyncio.ensure_future(self._run.arrive())
        spawner._spawn_pending = True
        spawner._spawn_future = asyncio.ensure_future(self._finish(arrived))
        spawner._spawn_future.add_done_callback(self._finished)
        await asyncio.wait([arrived])
        if arrived.cancelled():
            # by DELETE, which stops the server after a second, and refuses to while a check is pending
            spawner._check_pending = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stop_seconds):
                    await self._run.closed.wait()
            return 1
        return 1 if arrived.exception() else None

    async def _finish(self, arrived: asyncio.Task[None]) -> None:
        """To the route in the proxy: JupyterHub adds it once all servers are checked, and another may queue
        for days."""
        spawner = self._spawner
        try:
            await arrived
        except FlatironsError as error:
            spawner.log.error("%s ended while starting: %s", spawner._log_name, error.detail or error)
            raise StartFailed(error) from error
        while spawner._check_pending:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # JupyterHub clears the flag without telling anyone
        if spawner._stop_pending or spawner.server is None:
            raise StartFailed(ServerEnded("The server listened, but did not answer. Please start again."))
        await spawner.user.settings["proxy"].add_user(spawner.user, spawner.name)

    def _finished(self, start: asyncio.Task[None]) -> None:
        """A failure is kept: the page shows it."""
        self._spawner._spawn_pending = False
        if start.cancelled() or start.exception() is None:
            self._spawner._spawn_future = None
