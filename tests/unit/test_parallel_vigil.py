"""Who looks after the nodes of a running job."""

from __future__ import annotations

import pytest

from flatirons.parallel import vigil
from flatirons.parallel.vigil import Vigil


def test_a_node_that_is_silent_twice_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"n1": [True, True], "n2": [True, False, True, True]}
    monkeypatch.setattr(vigil, "PERIOD", 0)
    monkeypatch.setattr(vigil, "is_silent", lambda node: answers[node].pop(0))
    told: list[str] = []
    watch = Vigil(["n1", "n2"], told.append)
    watch.start()
    assert watch.join(10)
    assert told == ["n1", "n2"]
    assert answers == {"n1": [], "n2": []}


def test_who_is_told_to_stop_tells_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "PERIOD", 0)
    told: list[str] = []
    watch = Vigil(["n1"], told.append)

    def is_silent(node: str) -> bool:
        watch.stop()
        return True

    monkeypatch.setattr(vigil, "is_silent", is_silent)
    watch.start()
    assert watch.join(10)
    assert told == []
