"""The end of a server, as the proxy has to learn of it: at once, before another user can take the port.

Three may tell: the starter, Slurm, and the kernel of the node, which closes the connection that the hub holds
to the server (connection_watch.py). The last one proves nothing, so Slurm is asked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from logging import Logger
from typing import Protocol

from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.connection_watch import ConnectionWatch

SECONDS_TO_WITHDRAW = 5.0
"""How long a starter's call `end` waits for the proxy. A proxy that is down has no routes anyway."""

SECONDS_SUSPECT = 5.0
"""How long Slurm is asked often after a server has closed its connection. It notices an end in a second."""


class Departing(Protocol):
    """A run whose server may end."""

    watcher: Watcher

    @property
    def is_wanted(self) -> bool:
        """Does anybody wait for the server, or use it?"""

    @property
    def is_urgent(self) -> bool:
        """Does somebody wait for the job's server, or for the job's end?"""

    def set_urgent(self, is_urgent: bool) -> None:
        """Makes the watcher ask Slurm often."""


class Departure:
    """Takes one server out of the proxy when it ends, and looks for the end when there are signs of it."""

    def __init__(self, of: Departing, withdraw: Callable[[], Awaitable[None]], log: Logger) -> None:
        """`withdraw` takes the server out of the proxy."""
        self.is_suspected = False  # the server has closed its connection a moment ago
        self._run = of
        self._withdraw = withdraw
        self._log = log
        self._withdrawal: asyncio.Future[None] | None = None
        self._connection: ConnectionWatch | None = None

    def begin(self) -> None:
        """Takes the server out of the proxy from now on; only the first time."""
        if self._withdrawal is None:
            self._withdrawal = asyncio.ensure_future(self._withdraw())
            self._withdrawal.add_done_callback(self._log_failure)

    async def is_out(self) -> None:
        """Returns once a server that ended has no route, or when the proxy hasn't answered for a while."""
        if self._withdrawal:
            await asyncio.wait([self._withdrawal], timeout=SECONDS_TO_WITHDRAW)

    def watch(self, host: str, port: int) -> None:
        """Holds a connection to the server from now on, unless the process holds too many."""
        if self._connection is None and ConnectionWatch.has_room():
            self._connection = ConnectionWatch(host, port, self._suspect)

    def close(self) -> None:
        """Gives the connection up."""
        if self._connection:
            self._connection.stop()
            self._connection = None

    def _log_failure(self, withdrawal: asyncio.Future[None]) -> None:
        if not withdrawal.cancelled() and (error := withdrawal.exception()):
            self._log.error("The route of a server that ended can't be removed yet", exc_info=error)

    def _suspect(self) -> None:
        if self._run.is_wanted:
            self.is_suspected = True
            self._run.set_urgent(True)
            self._run.watcher.kick()
            asyncio.get_running_loop().call_later(SECONDS_SUSPECT, self._believe)

    def _believe(self) -> None:
        self.is_suspected = False
        self._run.set_urgent(self._run.is_urgent)
