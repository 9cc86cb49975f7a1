"""Whether nodes still answer."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from flatirons.parallel import node_health
from flatirons.parallel.node_health import NodeHealth, falls_silent, is_silent


def test_a_node_that_is_silent_twice_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"n1": [False, True, True], "n2": [True, False, True, False, True, True]}
    monkeypatch.setattr(node_health, "CHECK_PAUSE", 0)
    monkeypatch.setattr(node_health, "is_silent", lambda node: answers[node].pop(0))
    lost: list[str] = []
    health = NodeHealth(["n1", "n2"], lost.append)
    health.start()
    assert health.join(10)
    assert lost == ["n1", "n2"]
    assert answers == {"n1": [], "n2": []}


def test_a_node_that_never_answered_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []
    monkeypatch.setattr(node_health, "CHECK_PAUSE", 0)
    lost: list[str] = []
    health = NodeHealth(["n1"], lost.append)

    def is_silent(node: str) -> bool:
        rounds.append(node)
        if len(rounds) == 5:
            health.stop()
        return True

    monkeypatch.setattr(node_health, "is_silent", is_silent)
    health.start()
    assert health.join(10)
    assert (lost, len(rounds)) == ([], 5)


def test_after_stop_no_node_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_health, "CHECK_PAUSE", 0)
    lost: list[str] = []
    rounds: list[str] = []
    health = NodeHealth(["n1"], lost.append)

    def is_silent(node: str) -> bool:
        rounds.append(node)
        if len(rounds) == 3:
            health.stop()
        return len(rounds) > 1

    monkeypatch.setattr(node_health, "is_silent", is_silent)
    health.start()
    assert health.join(10)
    assert lost == []


def test_a_node_that_answers_or_refuses_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(node_health, "SLURMD_PORT", server.getsockname()[1])
        assert not is_silent("127.0.0.1")
    assert not is_silent("127.0.0.1")


def test_a_node_that_goes_down_is_probed_until_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, False, True]
    monkeypatch.setattr(node_health, "is_silent", lambda host: answers.pop(0))
    monkeypatch.setattr(node_health, "PROBE_PAUSE", 0)
    assert falls_silent("n1")
    assert answers == []


def test_a_node_with_an_unknown_name_is_not_called_silent() -> None:
    assert not is_silent("no-such-node.invalid")


@pytest.mark.parametrize("error", [TimeoutError(), OSError(113, "No route to host")])
def test_a_node_from_which_nothing_comes_is_silent(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    assert is_silent("n1")
