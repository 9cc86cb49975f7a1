"""Notices at once that a server is gone: the hub holds an idle connection to it.

However a process ends, the kernel of its node closes its connections. So the hub learns of it even if the
starter was killed together with its server, and can look at the queue at once rather than at its next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Callable
from typing import ClassVar

SECONDS_TO_CONNECT = 10.0
SECONDS_HELD = 1800.0
"""How long a connection is held before another takes its place: servers close those that are idle for long
(tornado after an hour)."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 1800.0
"""Seconds from the loss of a connection to the next one. A server that lives nevertheless closes idle
connections soon, so that each pause is twice as long as the one before."""


class ConnectionWatch:
    """Holds a connection to `host`:`port`, and calls `on_loss` each time that the other end has closed it."""

    running: ClassVar[set[ConnectionWatch]] = set()
    """All of this process, which may have only so many open files."""

    def __init__(self, host: str, port: int, on_loss: Callable[[], None]) -> None:
        self._place = (host, port)
        self._on_loss = on_loss
        self._task = asyncio.ensure_future(self._watch())
        self.running.add(self)

    @classmethod
    def has_room(cls) -> bool:
        """Are more connections possible? They may use half of the files that the process may open."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return most == resource.RLIM_INFINITY or len(cls.running) < most // 2

    def stop(self) -> None:
        """Closes the connection."""
        self._task.cancel()
        self.running.discard(self)

    async def _watch(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if await self._is_lost():
                self._on_loss()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_lost(self) -> bool:
        """Whether the server closed the connection, or refused one. False once it was held long enough."""
        try:
            async with asyncio.timeout(SECONDS_TO_CONNECT):
                reader, writer = await asyncio.open_connection(*self._place)
        except (OSError, TimeoutError):
            return True
        try:
            async with asyncio.timeout(SECONDS_HELD):
                await reader.read(1)  # a server sends nothing before it is asked
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return True
