"""Stores the states of many servers in one transaction.

The whole hub waits while a commit waits for the disk, some milliseconds with SQLite. When many servers start
or end at once, several states change within a moment, and one commit stores them all: there are at most
twenty commits a second. The state of a single server is stored at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from jupyterhub.spawner import Spawner
from sqlalchemy.exc import SQLAlchemyError

from flatirons.spawners.jupyterhub import compat

GAP_SECONDS = 0.05
"""From the end of one commit to the start of the next."""


class StateWriter:
    """The spawners whose states are to be stored, in the loop's next round or a moment later."""

    def __init__(self) -> None:
        self._due: list[Spawner] = []
        self._stored: asyncio.Future[None] | None = None
        self._next_at = 0.0  # by the loop's clock

    def note(self, spawner: Spawner) -> Awaitable[None]:
        """Stores the spawner's newest state soon. Awaiting the result raises SQLAlchemyError if that fails.

        Until then the session isn't touched: JupyterHub's handlers roll back changes that they find in it.
        """
        if not any(each is spawner for each in self._due):
            self._due.append(spawner)
        if self._stored is None:
            loop = asyncio.get_running_loop()
            self._stored = loop.create_future()
            loop.call_at(max(self._next_at, loop.time()), self._store, self._stored)
        return asyncio.shield(self._stored)

    def _store(self, stored: asyncio.Future[None]) -> None:
        due, self._due, self._stored = self._due, [], None
        try:
            compat.store_states(due)
        except SQLAlchemyError as error:
            stored.set_exception(error)
        else:
            stored.set_result(None)
        self._next_at = stored.get_loop().time() + GAP_SECONDS
