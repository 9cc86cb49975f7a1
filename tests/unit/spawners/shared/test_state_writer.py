"""The state writer: many states in one transaction, none lost, nothing changed early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from flatirons.spawners.shared.state_writer import GAP_SECONDS, StateWriter


class Database:
    """JupyterHub's own tables, in memory, with five servers of one user; counts commits."""

    def __init__(self) -> None:
        self.session: Session = orm.new_session_factory("sqlite:///:memory:")()
        user = orm.User(name="alice")
        self.session.add(user)
        self.rows = [orm.Spawner(name=str(i), user=user, state=None) for i in range(5)]
        self.session.add_all(self.rows)
        self.session.commit()
        self.commits = self.rollbacks = 0
        self.trouble: Exception | None = None
        event.listen(self.session, "before_commit", self._commit)
        event.listen(self.session, "after_rollback", self._rolled_back)

    def _commit(self, _session: Session) -> None:
        if self.trouble:
            raise self.trouble
        self.commits += 1

    def _rolled_back(self, _session: Session) -> None:
        self.rollbacks += 1

    def stored(self) -> list[Any]:
        """The states as another connection of this database would read them."""
        self.session.expire_all()
        return [row.state for row in self.rows]


class Entry:
    """A spawner with a number for its state."""

    def __init__(self, database: Database, number: int = 0) -> None:
        self.number = 0
        self.orm_spawner: Any = database.rows[number]
        self.user = SimpleNamespace(db=database.session)

    def get_state(self) -> dict[str, Any]:
        return {"number": self.number}


@pytest.fixture
def database() -> Iterator[Database]:
    found = Database()
    yield found
    found.session.close()


async def test_changes_at_the_same_time_are_stored_by_one_commit_with_the_newest_state(
    database: Database,
) -> None:
    state_writer, entries = StateWriter(), [Entry(database, i) for i in range(5)]
    stored = [state_writer.note(each) for each in entries]
    stored.append(state_writer.note(entries[0]))
    entries[0].number = 7
    assert [each.orm_spawner.state for each in entries] == [None] * 5
    await asyncio.gather(*stored)
    assert [each.orm_spawner.state["number"] for each in entries] == [7, 0, 0, 0, 0]
    assert database.commits == 1


async def test_a_later_change_is_stored_by_another_commit(database: Database) -> None:
    state_writer, entry = StateWriter(), Entry(database)
    await state_writer.note(entry)
    entry.number = 1
    await state_writer.note(entry)
    assert (database.commits, entry.orm_spawner.state) == (2, {"number": 1})


async def test_in_a_burst_one_commit_stores_all_changes_of_a_moment(database: Database) -> None:
    state_writer, entries = StateWriter(), [Entry(database, i) for i in range(5)]
    await state_writer.note(entries[0])
    began = asyncio.get_running_loop().time()
    waiting = []
    for entry in entries:
        entry.number = 1
        waiting.append(state_writer.note(entry))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert database.commits == 2
    assert GAP_SECONDS * 0.9 < asyncio.get_running_loop().time() - began < 1
    assert database.stored() == [{"number": 1}] * 5


async def test_an_error_of_the_database_is_raised_to_all_who_wait_and_not_kept(database: Database) -> None:
    database.trouble = OperationalError("commit", {}, Exception("disk full"))
    state_writer, entry = StateWriter(), Entry(database)
    both = await asyncio.gather(state_writer.note(entry), state_writer.note(entry), return_exceptions=True)
    assert both == [database.trouble, database.trouble]
    assert database.rollbacks == 1
    database.trouble = None
    await state_writer.note(entry)
    assert database.commits == 1


async def test_a_cancelled_wait_does_not_prevent_other_states_from_being_stored(database: Database) -> None:
    state_writer, entry = StateWriter(), Entry(database)
    waiting, other = (asyncio.ensure_future(state_writer.note(entry)) for _ in range(2))
    waiting.cancel()
    await other
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert database.commits == 1
