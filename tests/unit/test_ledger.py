"""The ledger: many states in one transaction, none lost, nothing changed before its time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from flatirons.spawners.ledger import Ledger


class Session:
    """Counts what is done with it."""

    def __init__(self) -> None:
        self.commits = self.rollbacks = 0
        self.trouble: Exception | None = None

    def commit(self) -> None:
        if self.trouble:
            raise self.trouble
        self.commits += 1

    def rollback(self) -> None:
        self.rollbacks += 1


class Entry:
    """A spawner with a number for its state."""

    def __init__(self, session: Session) -> None:
        self.number = 0
        self.orm_spawner: Any = SimpleNamespace(state=None)
        self.user = SimpleNamespace(db=session)

    def get_state(self) -> dict[str, Any]:
        return {"number": self.number}


async def test_what_becomes_known_at_once_is_stored_by_one_commit_with_the_newest_state() -> None:
    session = Session()
    ledger, entries = Ledger(), [Entry(session) for _ in range(5)]
    stored = [ledger.note(each) for each in entries]
    stored.append(ledger.note(entries[0]))
    entries[0].number = 7
    assert [each.orm_spawner.state for each in entries] == [None] * 5
    await asyncio.gather(*stored)
    assert [each.orm_spawner.state["number"] for each in entries] == [7, 0, 0, 0, 0]
    assert session.commits == 1


async def test_what_comes_later_is_stored_by_a_commit_of_its_own() -> None:
    session = Session()
    ledger, entry = Ledger(), Entry(session)
    await ledger.note(entry)
    entry.number = 1
    await ledger.note(entry)
    assert (session.commits, entry.orm_spawner.state) == (2, {"number": 1})


async def test_a_database_that_fails_is_told_to_all_who_wait_and_then_forgotten() -> None:
    session = Session()
    session.trouble = OperationalError("commit", {}, Exception("disk full"))
    ledger, entry = Ledger(), Entry(session)
    both = await asyncio.gather(ledger.note(entry), ledger.note(entry), return_exceptions=True)
    assert both == [session.trouble, session.trouble]
    assert session.rollbacks == 1
    session.trouble = None
    await ledger.note(entry)
    assert session.commits == 1


async def test_who_waits_no_more_keeps_nobody_else_from_being_stored() -> None:
    session = Session()
    ledger, entry = Ledger(), Entry(session)
    waiting, other = (asyncio.ensure_future(ledger.note(entry)) for _ in range(2))
    waiting.cancel()
    await other
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert session.commits == 1
