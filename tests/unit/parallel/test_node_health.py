"""Who looks after the nodes of a running job."""

from __future__ import annotations

import pytest

from flatirons.parallel import node_health
from flatirons.parallel.node_health import Vigil


def test_a_node_that_is_silent_twice_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"n1": [False, True, True], "n2": [True, False, True, False, True, True]}
    monkeypatch.setattr(node_health, "PERIOD", 0)
    monkeypatch.setattr(node_health, "is_silent", lambda node: answers[node].pop(0))
    told: list[str] = []
    watch = Vigil(["n1", "n2"], told.append)
    watch.start()
    assert watch.join(10)
    assert told == ["n1", "n2"]
    assert answers == {"n1": [], "n2": []}


def test_a_node_that_never_answered_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []
    monkeypatch.setattr(node_health, "PERIOD", 0)
    told: list[str] = []
    watch = Vigil(["n1"], told.append)

    def is_silent(node: str) -> bool:
        rounds.append(node)
        if len(rounds) == 5:
            watch.stop()
        return True

    monkeypatch.setattr(node_health, "is_silent", is_silent)
    watch.start()
    assert watch.join(10)
    assert (told, len(rounds)) == ([], 5)


def test_who_is_told_to_stop_tells_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_health, "PERIOD", 0)
    told: list[str] = []
    rounds: list[str] = []
    watch = Vigil(["n1"], told.append)

    def is_silent(node: str) -> bool:
        rounds.append(node)
        if len(rounds) == 3:
            watch.stop()
        return len(rounds) > 1

    monkeypatch.setattr(node_health, "is_silent", is_silent)
    watch.start()
    assert watch.join(10)
    assert told == []
