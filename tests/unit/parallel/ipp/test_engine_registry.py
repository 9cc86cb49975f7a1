"""Which engines there are on which node, as clients hear."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from flatirons.parallel.ipp import engine_registry
from flatirons.parallel.ipp.engine_registry import Roll, is_silent

Lost = tuple[str, int, int]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The nodes that don't answer."""
    names: set[str] = set()
    monkeypatch.setattr(engine_registry, "is_silent", names.__contains__)
    monkeypatch.setattr(engine_registry, "WINDOW", 0)
    monkeypatch.setattr(engine_registry, "PAUSE", 0)
    return names


class Told:
    """A roll, and what it told."""

    def __init__(self) -> None:
        self.lost: list[Lost] = []
        self.roll = Roll(lambda *lost: self.lost.append(lost))

    def come(self, *names: str) -> None:
        for name in names:
            self.roll.hear({"event": "register", "uuid": name})

    def go(self, *names: str) -> list[Lost]:
        """What is told when these engines go."""
        self.lost.clear()
        before = set(threading.enumerate())
        for name in names:
            self.roll.hear({"event": "unregister", "uuid": name})
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
        return self.lost


def test_a_node_that_falls_silent_is_told_once_with_its_engines(silent: set[str]) -> None:
    told = Told()
    told.come("a@n1", "b@n2", "c@n2", "c@n2")
    silent.add("n2")
    assert told.go("b@n2") == []
    assert told.go("b@n2", "c@n2", "c@n2") == [("n2", 2, 1)]
    assert not told.roll.is_news("n2")


def test_engines_that_end_on_a_node_that_answers_are_not_told(silent: set[str]) -> None:
    told = Told()
    told.come("a@n1", "b@n2")
    assert told.go("a@n1", "b@n2") == []
    assert told.roll.is_news("n1") and not told.roll.is_news("n1")


def test_a_node_that_came_back_can_be_lost_again(silent: set[str]) -> None:
    told = Told()
    silent.add("n1")
    told.come("a@n1")
    assert told.go("a@n1") == [("n1", 1, 0)]
    told.come("b@n1")
    assert told.go("b@n1") == [("n1", 1, 0)]


def test_an_engine_that_does_not_name_its_node_is_left_aside(silent: set[str]) -> None:
    told = Told()
    told.come("0123-4567")
    assert told.go("0123-4567") == []


async def test_every_client_of_a_cluster_is_heard_and_a_cluster_has_one_roll(silent: set[str]) -> None:
    class Cluster:
        def __init__(self) -> None:
            self.warnings: list[str] = []
            self.log = SimpleNamespace(warning=self.warnings.append)

        async def connect_client(self, **kwargs: Any) -> Any:
            return SimpleNamespace(_registration_callbacks=[], _engines={0: "a@n1"}, **kwargs)

    cluster = Cluster()
    first = Roll.of(cluster)
    assert Roll.of(cluster) is first
    one, other = await cluster.connect_client(timeout=3), await cluster.connect_client()
    assert one.timeout == 3
    silent.add("n1")
    before = set(threading.enumerate())
    for client in (one, other):
        [hear] = client._registration_callbacks
        hear({"event": "unregister", "uuid": "a@n1"})
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert [line.partition(":")[0] for line in cluster.warnings] == ["Node n1 no longer answers"]


def test_a_node_that_answers_or_refuses_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(engine_registry, "SLURMD_PORT", server.getsockname()[1])
        assert not is_silent("127.0.0.1")
    assert not is_silent("127.0.0.1")


def test_a_node_that_goes_down_is_asked_until_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, False, True]
    monkeypatch.setattr(engine_registry, "is_silent", lambda host: answers.pop(0))
    monkeypatch.setattr(engine_registry, "PAUSE", 0)
    assert engine_registry.falls_silent("n1")
    assert answers == []


def test_a_node_of_which_nothing_is_known_is_not_called_lost() -> None:
    assert not is_silent("no-such-node.invalid")


@pytest.mark.parametrize("error", [TimeoutError(), OSError(113, "No route to host")])
def test_a_node_from_which_nothing_comes_is_silent(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    assert is_silent("n1")
