"""The address under which other nodes reach this one."""

from __future__ import annotations

import ipaddress
import socket

import psutil
import pytest

from flatirons.errors import FlatironsError
from flatirons.parallel import address

Names = dict[str, list[str]]


@pytest.fixture
def own() -> str:
    """An address of this machine that isn't a loopback one."""
    for cards in psutil.net_if_addrs().values():
        for card in cards:
            if card.family == socket.AF_INET and not ipaddress.ip_address(card.address).is_loopback:
                return str(card.address)
    pytest.skip("this machine has no network")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The addresses that the resolver knows; this machine is called `node`."""
    known: Names = {}

    def resolve(name: str, *_: object) -> list[tuple[object, ...]]:
        if name not in known:
            raise socket.gaierror(f"no {name}")
        return [(0, 0, 0, "", (found, 0)) for found in known[name]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "gethostname", lambda: "node")
    return known


def test_it_is_the_address_of_the_name_that_slurm_gave_the_node(names: Names, own: str) -> None:
    names.update({"c1": [own], "node": ["192.0.2.1"]})
    assert address.of_this_node({"SLURMD_NODENAME": "c1"}) == own


def test_a_loopback_address_of_the_name_is_skipped(names: Names, own: str) -> None:
    names["node"] = ["127.0.1.1", own]
    assert address.of_this_node({}) == own


def test_the_address_of_another_machine_is_not_taken(names: Names, own: str) -> None:
    names.update({"c1": ["192.0.2.1"], "node": [own]})
    assert address.of_this_node({"SLURMD_NODENAME": "c1"}) == own


def test_else_it_is_the_address_of_the_route_to_the_submit_host(names: Names, own: str) -> None:
    names.update({"node": ["127.0.1.1"], "login": [own]})
    assert address.of_this_node({"SLURM_SUBMIT_HOST": "login"}) == own


def test_a_node_that_nobody_can_reach_raises_an_error(names: Names) -> None:
    names["node"] = ["127.0.1.1"]
    with pytest.raises(FlatironsError, match="controller_ip"):
        address.of_this_node({"SLURM_SUBMIT_HOST": "unknown"})
