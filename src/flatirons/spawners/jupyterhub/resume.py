"""What an earlier hub process began: a start, which this one finishes, or a server, which may not answer yet.

To JupyterHub the one looks like an ordinary start: there is progress, and it can be cancelled; and the other
like a server that runs. That takes some of the private fields by which JupyterHub's Spawner says what it is
about; nothing else of ours sets those.
"""

from __future__ import annotations

import asyncio
import contextlib

from jupyterhub.spawner import Spawner

from flatirons.errors import FlatironsError, ServerEnded
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.start_failed import StartFailed


class Resume:
    """Finishes the start of a spawner that JupyterHub is checking."""

    def __init__(self, spawner: Spawner, run: ServerRun, *, stop_seconds: float) -> None:
        """`stop_seconds` is how long a start that is cancelled may take to be stopped."""
        self._spawner = spawner
        self._run = run
        self._stop_seconds = stop_seconds

    async def carry_out(self) -> int | None:
        """None once the server listens, else an exit status."""
        spawner, arrived = self._spawner, asyncio.ensure_future(self._run.arrive())
        start = asyncio.ensure_future(self._finish(arrived))
        compat.begin_start(spawner, start)
        start.add_done_callback(self._finished)
        await asyncio.wait([arrived])
        if arrived.cancelled():
            # by DELETE, which stops the server after a second, and refuses to while a check is pending
            compat.set_check_pending(spawner, False)
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
            spawner.log.error("%s ended while starting: %s", compat.log_name(spawner), error.detail or error)
            raise StartFailed(error) from error
        while compat.is_check_pending(spawner):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # JupyterHub clears the flag without telling anyone
        if compat.is_stop_pending(spawner) or spawner.server is None:
            raise StartFailed(ServerEnded("The server listened, but did not answer. Please start again."))
        await compat.add_route(spawner)

    def _finished(self, start: asyncio.Task[None]) -> None:
        """A failure is kept: the page shows it."""
        has_failed = not start.cancelled() and start.exception() is not None
        compat.end_start(self._spawner, has_failed=has_failed)


async def outlast_silence(spawner: Spawner, run: ServerRun) -> None:
    """Returns when the server answers, or is over.

    JupyterHub, when it starts, ends each server that doesn't answer within `http_timeout` (half a minute;
    some more where a request hangs). A node that is cut off, or a suspended job, is no reason to lose what
    runs. Meanwhile it counts as running: it keeps its route, and can be stopped.
    """
    compat.set_check_pending(spawner, False)
    is_told = False
    while spawner.server and run.exit_status() is None and not await compat.has_answered(spawner):
        if not is_told:
            spawner.log.warning("%s doesn't answer, and its job lives: waiting", compat.log_name(spawner))
        is_told = True
    compat.set_check_pending(spawner, spawner.server is not None)
