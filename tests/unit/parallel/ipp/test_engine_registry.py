"""The registry of a cluster's engines by their nodes."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from flatirons.parallel import node_health
from flatirons.parallel.ipp.engine_registry import EngineRegistry

Lost = tuple[str, int, int]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The nodes that don't answer."""
    names: set[str] = set()
    monkeypatch.setattr(node_health, "is_silent", names.__contains__)
    monkeypatch.setattr(node_health, "SHUTDOWN_TIME", 0)
    monkeypatch.setattr(node_health, "PROBE_PAUSE", 0)
    return names


class Reports:
    """A registry, and the losses that it reported."""

    def __init__(self) -> None:
        self.lost: list[Lost] = []
        self.registry = EngineRegistry(lambda *lost: self.lost.append(lost))

    def register(self, *names: str) -> None:
        for name in names:
            self.registry.note({"event": "register", "uuid": name})

    def unregister(self, *names: str) -> list[Lost]:
        """The losses that are reported when these engines go."""
        self.lost.clear()
        before = set(threading.enumerate())
        for name in names:
            self.registry.note({"event": "unregister", "uuid": name})
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
        return self.lost


def test_a_node_that_falls_silent_is_reported_once_with_its_engines(silent: set[str]) -> None:
    reports = Reports()
    reports.register("a@n1", "b@n2", "c@n2", "c@n2")
    silent.add("n2")
    assert reports.unregister("b@n2") == []
    assert reports.unregister("b@n2", "c@n2", "c@n2") == [("n2", 2, 1)]
    assert not reports.registry.claim_report("n2")


def test_engines_that_end_on_a_node_that_answers_are_not_reported(silent: set[str]) -> None:
    reports = Reports()
    reports.register("a@n1", "b@n2")
    assert reports.unregister("a@n1", "b@n2") == []
    assert reports.registry.claim_report("n1") and not reports.registry.claim_report("n1")


def test_a_node_that_came_back_can_be_lost_again(silent: set[str]) -> None:
    reports = Reports()
    silent.add("n1")
    reports.register("a@n1")
    assert reports.unregister("a@n1") == [("n1", 1, 0)]
    reports.register("b@n1")
    assert reports.unregister("b@n1") == [("n1", 1, 0)]


def test_an_engine_that_does_not_name_its_node_is_ignored(silent: set[str]) -> None:
    reports = Reports()
    reports.register("0123-4567")
    assert reports.unregister("0123-4567") == []


async def test_a_cluster_has_one_registry_which_listens_to_all_its_clients(silent: set[str]) -> None:
    class Cluster:
        def __init__(self) -> None:
            self.warnings: list[str] = []
            self.log = SimpleNamespace(warning=self.warnings.append)

        async def connect_client(self, **kwargs: Any) -> Any:
            return SimpleNamespace(_registration_callbacks=[], _engines={0: "a@n1"}, **kwargs)

    cluster = Cluster()
    first = EngineRegistry.of(cluster)
    assert EngineRegistry.of(cluster) is first
    one, other = await cluster.connect_client(timeout=3), await cluster.connect_client()
    assert one.timeout == 3
    silent.add("n1")
    before = set(threading.enumerate())
    for client in (one, other):
        [note] = client._registration_callbacks
        note({"event": "unregister", "uuid": "a@n1"})
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert [line.partition(":")[0] for line in cluster.warnings] == ["Node n1 no longer answers"]
