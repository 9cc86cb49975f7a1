"""The ledger: stores what becomes known of many servers at the same moment in one transaction.

A commit waits for the disk, and the whole hub waits with it; SQLite's takes some milliseconds. When many
servers start at once, the loop comes round with news of several of them, which one commit stores as well as
many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError


class Entry(Protocol):
    """What the ledger needs of a spawner, as JupyterHub names it."""

    orm_spawner: Any
    user: Any

    def get_state(self) -> dict[str, Any]:
        """What is stored of it."""


class Ledger:
    """Entries that are to be stored when the loop next comes round."""

    def __init__(self) -> None:
        self._due: list[Entry] = []
        self._stored: asyncio.Future[None] | None = None

    def note(self, entry: Entry) -> Awaitable[None]:
        """Done once the entry's state is stored; raises SQLAlchemyError when it can't be.

        Nothing is changed in the session before that: JupyterHub's handlers roll back what they find changed.
        """
        if not any(each is entry for each in self._due):
            self._due.append(entry)
        if self._stored is None:
            loop = asyncio.get_running_loop()
            self._stored = loop.create_future()
            loop.call_soon(self._store, self._stored)
        return asyncio.shield(self._stored)

    def _store(self, stored: asyncio.Future[None]) -> None:
        due, self._due, self._stored = self._due, [], None
        session = due[0].user.db
        try:
            for entry in due:
                entry.orm_spawner.state = entry.get_state()
            session.commit()
        except SQLAlchemyError as error:
            session.rollback()
            stored.set_exception(error)
        else:
            stored.set_result(None)
