"""The state_writer: stores what becomes known of many servers at the same moment in one transaction.

A commit waits for the disk, and the whole hub waits with it; SQLite's takes some milliseconds. When many
servers start at once there is news of several of them within a moment, which one commit stores as well as
many; so there are at most twenty a second. Who starts alone waits for none. They are stored by one plain
UPDATE: the session's own way, a unit of work with its graph of who depends on whom, took a fifth of the hub's
time in a burst of starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from jupyterhub.spawner import Spawner
from sqlalchemy.exc import SQLAlchemyError

from flatirons.spawners.jupyterhub import compat

GAP_SECONDS = 0.05
"""From one commit's end to the next one's begin."""


class StateWriter:
    """Entries that are to be stored when the loop next comes round, or a moment later."""

    def __init__(self) -> None:
        self._due: list[Spawner] = []
        self._stored: asyncio.Future[None] | None = None
        self._next_at = 0.0  # by the loop's clock

    def note(self, entry: Spawner) -> Awaitable[None]:
        """Done once the entry's state is stored; raises SQLAlchemyError when it can't be.

        Nothing is changed in the session before that: JupyterHub's handlers roll back what they find changed.
        """
        if not any(each is entry for each in self._due):
            self._due.append(entry)
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
