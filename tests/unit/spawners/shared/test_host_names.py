"""The addresses of machines by name: looked up once at a time, and kept for a while."""

from __future__ import annotations

import asyncio
import socket

import pytest

from flatirons.spawners.shared import host_names as module
from flatirons.spawners.shared.host_names import HostNames, parse_address
from tests.fakes.resolver import Resolver

NODE, OTHER = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver(c1=NODE, c2=OTHER)
    monkeypatch.setattr(module, "_look_up", made)
    return made


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("::ffff:192.0.2.1", NODE),
        ("::FFFF:c000:201", NODE),
        (" 192.0.2.1", NODE),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_ipv4_address_that_is_written_as_ipv6_is_the_same(text: str, same: str) -> None:
    assert parse_address(text) == parse_address(same)


@pytest.mark.parametrize("text", ["", "unknown", "192.0.2.1:80", "192.0.2.256", "_hidden", "[::1]"])
def test_a_text_that_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


async def test_a_name_is_looked_up_once_for_many_callers_and_kept(resolver: Resolver) -> None:
    names = HostNames()
    await asyncio.gather(*(names.addresses("c1") for _ in range(50)))
    await names.addresses("c1")
    assert resolver.asked == ["c1"]
    await names.addresses("c1", anew=True)
    assert resolver.asked == ["c1", "c1"]


async def test_an_unknown_name_is_looked_up_again(resolver: Resolver) -> None:
    names = HostNames()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.addresses("c3")
    resolver.names["c3"] = NODE
    assert await names.addresses("c3") == {parse_address(NODE)}


async def test_an_address_is_not_kept_for_ever(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    names = HostNames()
    await names.addresses("c1")
    monkeypatch.setattr(module, "SECONDS_KEPT", 0.0)
    resolver.names["c1"] = OTHER
    assert await names.addresses("c1") == {parse_address(OTHER)}
