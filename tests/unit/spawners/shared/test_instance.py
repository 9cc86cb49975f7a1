"""The id of a hub in its database: the same after a restart, another one in a copy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyterhub import orm
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from flatirons.spawners.shared.instance import instance_id, place_of

HUB = "http://hub.example.org:8081/hub/"
LOG = logging.getLogger("test")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "hub.sqlite"


def opened(path: Path) -> Session:
    """A session as JupyterHub makes it, which also checks the tables that it finds."""
    made: Session = orm.new_session_factory(f"sqlite:///{path}")()
    return made


@pytest.fixture
def session(database: Path) -> Iterator[Session]:
    made = opened(database)
    yield made
    made.close()


def test_the_id_is_the_same_after_a_restart_of_the_hub(session: Session, database: Path) -> None:
    first = instance_id(session, HUB, LOG)
    assert len(first) == 8
    assert instance_id(session, HUB, LOG) == first
    session.close()
    again = opened(database)
    assert instance_id(again, HUB, LOG) == first
    again.close()


def test_two_hubs_have_two_ids(session: Session, tmp_path: Path) -> None:
    other = opened(tmp_path / "other.sqlite")
    assert instance_id(other, HUB, LOG) != instance_id(session, HUB, LOG)
    other.close()


def test_a_copy_of_the_database_gets_its_own_id_and_the_log_says_so_once(
    session: Session, database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = instance_id(session, HUB, LOG)
    assert caplog.text == ""
    (tmp_path / "copy.sqlite").write_bytes(database.read_bytes())
    copy = opened(tmp_path / "copy.sqlite")
    second = instance_id(copy, HUB, LOG)
    assert second != first and instance_id(copy, HUB, LOG) == second
    [warning] = [record.getMessage() for record in caplog.records if record.name == LOG.name]
    assert (
        "hub.sqlite" in warning and "copy.sqlite" in warning and "If that hub runs, stop this one" in warning
    )
    assert instance_id(session, HUB, LOG) == first
    copy.close()


def test_a_database_on_another_machine_is_a_copy(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    first = instance_id(session, HUB, LOG)
    monkeypatch.setattr("socket.gethostname", lambda: "test-hub")
    assert instance_id(session, HUB, LOG) != first


def test_a_database_of_a_hub_that_nodes_reach_elsewhere_is_a_copy(session: Session) -> None:
    """Two containers may have the same host name, and their databases the same path."""
    first = instance_id(session, HUB, LOG)
    assert instance_id(session, "http://hub.example.org:18081/hub/", LOG) == first
    assert instance_id(session, "http://test.example.org:8081/hub/", LOG) != first


def test_what_jupyterhub_is_about_to_store_survives(session: Session) -> None:
    session.add(orm.User(name="alice"))
    instance_id(session, HUB, LOG)
    assert session.query(orm.User).one().name == "alice"


def test_a_database_that_can_not_be_written_raises_and_can_be_asked_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(session, "commit", full)
    with pytest.raises(OperationalError):
        instance_id(session, HUB, LOG)
    monkeypatch.undo()
    assert instance_id(session, HUB, LOG)


def test_the_place_of_a_hub_names_no_password_and_no_relative_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "hub1")
    place = "hub1, hub.example.org, postgresql://jupyterhub:***@db/hub"
    assert place_of(HUB, "postgresql://jupyterhub:s3cret@db/hub") == place
    assert place_of("http://hub1:8081/", "sqlite:///x") == f"hub1, sqlite:///{Path('x').absolute()}"
    assert place_of("", "sqlite:////srv/x") == "hub1, sqlite:////srv/x"
