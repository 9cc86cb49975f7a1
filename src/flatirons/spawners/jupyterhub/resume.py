"""The answer to JupyterHub's first poll after its restart, for a server that an earlier hub process started.

JupyterHub polls once and takes the answer as final: it then waits half a minute for the server to answer, or
cleans up after it, and has no other hook in between. So this first poll returns only when an unfinished start
is finished, and when a silent server answers or is over. Until then, pages show a start that can be
cancelled, or a server that can be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib

from jupyterhub.spawner import Spawner

from flatirons.errors import FlatironsError, ServerEnded
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.start_failed import StartFailed

SECONDS_FOR_FIRST_NEWS = 10.0
"""How long to wait for Slurm's first news of the job; JupyterHub itself takes longer to give up a server."""


async def status(run: ServerRun) -> int | None:
    """The exit status of a run, once its end is explained; None while its job lives."""
    found = run.exit_status()
    if found is not None:
        await run.explained()
    return found


class Resume:
    """The first poll of a server whose run was begun by an earlier hub process."""

    def __init__(self, spawner: Spawner, run: ServerRun, *, stop_seconds: float) -> None:
        """`spawner` is a SlurmSpawner; a start that is cancelled has `stop_seconds` to be stopped."""
        self._spawner = spawner
        self._run = run
        self._stop_seconds = stop_seconds

    async def status(self) -> int | None:
        """None for a server that JupyterHub is to keep, else an exit status."""
        found = await self._status()
        if compat.is_forgotten(self._spawner):
            # stopped meanwhile: JupyterHub would now clean up after it, and so end the server's next start
            compat.detach(self._spawner)
        return found

    async def _status(self) -> int | None:
        if not self._run.attempt.port and not compat.is_start_pending(self._spawner):
            return await self._finish_start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_FIRST_NEWS):
                await self._run.seen.wait()
        if self._run.attempt.port and self._run.exit_status() is None:
            await self._outlast_silence()
        return await status(self._run)

    # -- a start that isn't finished

    async def _finish_start(self) -> int | None:
        arrived = asyncio.ensure_future(self._run.arrive())
        start = asyncio.ensure_future(self._add_route(arrived))
        compat.begin_start(self._spawner, start)
        start.add_done_callback(self._end_start)
        await asyncio.wait([arrived])
        if arrived.cancelled():
            # by DELETE, which stops the server a second later, unless a check is pending
            compat.set_check_pending(self._spawner, False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stop_seconds):
                    await self._run.closed.wait()
            return 1
        return 1 if arrived.exception() else None

    async def _add_route(self, arrived: asyncio.Task[None]) -> None:
        """Waits for the server and adds its route: JupyterHub does so only after it has checked all servers,
        and another of them may be in the queue for days."""
        spawner = self._spawner
        try:
            await arrived
        except FlatironsError as error:
            name = compat.log_name(spawner)
            spawner.log.error("%s ended while starting: %s", name, error.detail or error)
            raise StartFailed(error) from error
        while compat.is_check_pending(spawner):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # JupyterHub clears the flag without an event
        if compat.is_stop_pending(spawner) or spawner.server is None:
            raise StartFailed(ServerEnded("The server listened, but did not answer. Please start again."))
        await compat.add_route(spawner)

    def _end_start(self, start: asyncio.Task[None]) -> None:
        has_failed = not start.cancelled() and start.exception() is not None
        compat.end_start(self._spawner, has_failed=has_failed)

    # -- a server that may not answer

    async def _outlast_silence(self) -> None:
        """Returns when the server answers or is over.

        JupyterHub would end a server that doesn't answer within `http_timeout`. But if its job lives, its
        node may be cut off or the job suspended, and what runs in it must not be lost. In that time the
        server counts as running: it keeps its route, and any stop was requested by somebody.
        """
        spawner = self._spawner
        await spawner.get_url()
        spawner.correct_address()
        spawner.is_adopted = False
        compat.set_check_pending(spawner, False)
        is_logged = False
        while not self._is_over() and not await compat.has_answered(spawner):
            if not is_logged and not self._is_over():
                spawner.log.warning(
                    "%s doesn't answer, but its job has not ended: waiting", compat.log_name(spawner)
                )
            is_logged = True
        compat.set_check_pending(spawner, spawner.server is not None)
        spawner.is_adopted = True

    def _is_over(self) -> bool:
        is_stopped = compat.is_forgotten(self._spawner) or self._spawner.server is None
        return is_stopped or self._run.exit_status() is not None
