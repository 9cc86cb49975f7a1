"""Where a starter's call comes from: which proxies are trusted, and what a node's name stands for."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from flatirons.errors import SlurmError
from flatirons.hub.handlers.caller import caller_behind, caller_of
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.caller_check import (
    CallerCheck,
    Elsewhere,
    NotExpected,
    Unsettled,
)
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared import host_names as module
from flatirons.spawners.shared.host_names import HostNames, parse_address
from flatirons.spawners.shared.node_addresses import Caller, NodeAddresses
from tests.fakes.resolver import Resolver
from tests.fakes.slurm import FakeSlurm
from tests.waiting import until

NODE, OTHER, PROXY = "192.0.2.1", "192.0.2.2", "198.51.100.1"


def caller(text: str, *, is_here: bool = False) -> Caller:
    return Caller(parse_address(text), is_here)


# -- who calls


@pytest.mark.parametrize(
    ("peer", "hops", "real_ip", "found"),
    [
        (NODE, [], "", NODE),
        (OTHER, [NODE], NODE, OTHER),  # not the proxy: anybody may write a header
        (PROXY, [NODE], "", NODE),
        ("127.0.0.1", [NODE], "", NODE),
        (PROXY, [OTHER], NODE, OTHER),  # the proxy passes on what the caller wrote
        (PROXY, [NODE, OTHER], "", OTHER),  # and appends to it
        (PROXY, ["127.0.0.1", OTHER], NODE, OTHER),
        (PROXY, ["::ffff:192.0.2.1"], "", NODE),
        (PROXY, [NODE, "unknown"], NODE, PROXY),
        (PROXY, [NODE, ""], "", PROXY),
        (PROXY, [], NODE, PROXY),
        # a web server before the proxy, on its machine: it adds to the one, or sets the other
        (PROXY, [NODE, "127.0.0.1"], "", NODE),
        (PROXY, [NODE, PROXY, "::1"], "", NODE),
        (PROXY, ["127.0.0.1"], NODE, NODE),
        (PROXY, [NODE, "127.0.0.1"], NODE, NODE),
        (PROXY, [OTHER, NODE, "127.0.0.1"], NODE, NODE),
        (PROXY, [NODE, "127.0.0.1"], "127.0.0.1", NODE),
        (PROXY, ["127.0.0.1"], "unknown", "127.0.0.1"),
    ],
)
def test_headers_are_read_backwards_as_long_as_they_name_trusted_proxies(
    peer: str, hops: list[str], real_ip: str, found: str
) -> None:
    assert caller_behind(parse_address(peer), hops, real_ip, {parse_address(PROXY)}) == parse_address(found)


@pytest.mark.parametrize(("hop", "real_ip"), [(NODE, OTHER), (OTHER, NODE)])
def test_a_web_server_that_passes_on_two_answers_is_not_trusted(hop: str, real_ip: str) -> None:
    """One of them is the caller's own: nginx sets only configured headers, and passes on the rest."""
    with pytest.raises(Elsewhere, match=f"{hop} or {real_ip}"):
        caller_behind(parse_address(PROXY), [hop, "127.0.0.1"], real_ip, {parse_address(PROXY)})


def request(peer: str, own: str, *forwarded: str, real_ip: str = "") -> Any:
    ends = SimpleNamespace(
        family=socket.AF_INET, getpeername=lambda: (peer, 9), getsockname=lambda: (own, 8081)
    )
    headers = HTTPHeaders({"X-Real-Ip": real_ip})
    for line in forwarded:
        headers.add("X-Forwarded-For", line)
    connection = SimpleNamespace(stream=SimpleNamespace(socket=ends))
    return SimpleNamespace(connection=connection, headers=headers)


@pytest.mark.parametrize(
    ("asked", "proxy_api", "trusted", "found"),
    [
        (request(NODE, PROXY), "", [], NODE),
        (request(NODE, PROXY, OTHER, real_ip=OTHER), "", [], NODE),
        (request(PROXY, PROXY, NODE, real_ip=OTHER), "", [], NODE),  # from this very machine
        (request(PROXY, OTHER, NODE), f"http://{PROXY}:8001", [], NODE),
        (request(PROXY, OTHER, NODE), "", [PROXY], NODE),
        (request(PROXY, OTHER, NODE), "http://nosuch.invalid:8001", ["no address"], PROXY),
        (request(PROXY, PROXY, OTHER, f"{NODE}, 127.0.0.1"), "", [], NODE),  # headers of one name are one
    ],
)
async def test_only_trusted_proxies_can_name_the_caller(
    asked: Any, proxy_api: str, trusted: list[str], found: str
) -> None:
    assert (await caller_of(asked, proxy_api, trusted, HostNames())).address == parse_address(found)


@pytest.mark.parametrize(("peer", "is_here"), [("127.0.0.1", True), (PROXY, True), (NODE, False)])
async def test_a_caller_on_this_machine_is_recognized_by_the_address_that_it_called(
    peer: str, is_here: bool
) -> None:
    assert (await caller_of(request(peer, PROXY), "", [], HostNames())).is_here is is_here


async def test_a_caller_that_is_gone_can_not_be_checked() -> None:
    closed: Any = SimpleNamespace(
        connection=SimpleNamespace(stream=SimpleNamespace(socket=None)), headers=HTTPHeaders()
    )
    with pytest.raises(Unsettled):
        await caller_of(closed, "", [], HostNames())


# -- what a node's name stands for


async def test_a_name_of_this_machine_stands_for_all_of_its_addresses() -> None:
    loopback = await HostNames().addresses("localhost")
    assert caller("127.0.0.1", is_here=True).is_one_of(loopback)
    assert caller(PROXY, is_here=True).is_one_of(loopback)
    assert not caller(OTHER).is_one_of(loopback)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver(c1=NODE, c2=OTHER)
    monkeypatch.setattr(module, "_look_up", made)
    return made


# -- whether it is the job's node


@dataclass
class Placed:
    """A run whose job Slurm shows."""

    attempt: Attempt
    job: Job | None = None
    is_wanted: bool = True

    async def submitted(self) -> None:
        pass

    def learn(self, job: Job) -> Job:
        self.job = job
        return job


@pytest.fixture
def slurm() -> FakeSlurm:
    made = FakeSlurm()
    made.add_job("alice")
    made.run_job(1, "c1")
    return made


@pytest.fixture
def placed() -> Placed:
    return Placed(replace(Attempt.new("summit", "code"), job_id=1))


@pytest.fixture
async def check(placed: Placed, slurm: FakeSlurm, resolver: Resolver) -> CallerCheck:
    client = SlurmClient(Cluster("summit"), slurm)
    return CallerCheck(placed, Watcher(client), NodeAddresses(client, HostNames()))


async def test_the_node_of_the_job_is_admitted_after_one_query(check: CallerCheck, slurm: FakeSlurm) -> None:
    await check.admit(caller(NODE))
    await check.admit(caller(NODE))
    assert slurm.count("squeue") == 1


async def test_another_node_is_refused_and_the_log_names_both_addresses_and_the_key(
    check: CallerCheck,
) -> None:
    with pytest.raises(Elsewhere) as refused:
        await check.admit(caller(OTHER))
    said = str(refused.value)
    assert OTHER in said and NODE in said and "c1" in said and "check_address = false" in said
    assert OTHER in refused.value.told and NODE in refused.value.told and "c1" in refused.value.told


# -- nodes with other names and addresses than DNS knows


@pytest.mark.parametrize("address", ["10.1.0.9", "c1-ib", "fd00::9"])
async def test_a_node_whose_name_is_unknown_here_is_known_by_the_address_in_slurm(
    check: CallerCheck, slurm: FakeSlurm, resolver: Resolver, address: str
) -> None:
    resolver.names |= {"10.1.0.9": "10.1.0.9", "fd00::9": "fd00::9", "c1-ib": "10.1.0.9"}
    resolver.names["c1"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    slurm.node_addresses["c1"] = (address, "c1")
    await check.admit(caller("fd00::9" if address == "fd00::9" else "10.1.0.9"))
    assert (await check.place()).host == address
    with pytest.raises(Elsewhere):
        await check.admit(caller(OTHER))


async def test_a_node_that_calls_itself_otherwise_is_known_by_that_name(
    check: CallerCheck, slurm: FakeSlurm, resolver: Resolver
) -> None:
    resolver.names["node-17.example.org"] = "10.1.0.17"
    del resolver.names["c1"]
    slurm.node_addresses["c1"] = ("c1", "node-17.example.org")
    await check.admit(caller("10.1.0.17"))
    assert (await check.place()).host == "node-17.example.org"


@pytest.mark.parametrize(("address", "host"), [(NODE, "c1"), ("10.9.0.1", "10.9.0.1")])
async def test_a_node_in_two_networks_may_call_from_both_and_is_reached_where_it_called_from(
    check: CallerCheck, slurm: FakeSlurm, resolver: Resolver, address: str, host: str
) -> None:
    """Also if its name stands for another machine by mistake, which would get its users' requests."""
    resolver.names["10.9.0.1"] = "10.9.0.1"
    slurm.node_addresses["c1"] = ("10.9.0.1", "c1")
    await check.admit(caller(address))
    place = await check.place()
    assert (place.host, place.addresses) == (host, frozenset({parse_address(address)}))


async def test_of_several_addresses_of_a_name_hub_and_proxy_use_one(
    check: CallerCheck, resolver: Resolver
) -> None:
    """A server listens on one, and a neighbour could listen on the same port of the others."""
    resolver.names["c1"] = ["10.9.0.2", "fd00::1", "10.9.0.10"]
    for address in ("fd00::1", "10.9.0.10", "10.9.0.2"):
        await check.admit(caller(address))
        assert (await check.place()).host == "10.9.0.2"


async def test_a_node_with_an_address_in_slurm_needs_no_name_server(
    check: CallerCheck, slurm: FakeSlurm, resolver: Resolver
) -> None:
    resolver.names["c1"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    resolver.names["10.9.0.1"] = "10.9.0.1"
    slurm.node_addresses["c1"] = ("10.9.0.1", "c1")
    await check.admit(caller("10.9.0.1"))
    assert (await check.place()).host == "10.9.0.1"
    with pytest.raises(Unsettled):  # its name may stand for this address
        await check.admit(caller(OTHER))


async def test_slurm_is_asked_about_a_node_only_if_its_name_is_not_enough_and_seldom(
    check: CallerCheck, slurm: FakeSlurm
) -> None:
    await check.admit(caller(NODE))
    await check.place()
    assert slurm.count("scontrol") == 0
    for _ in range(3):
        with pytest.raises(Elsewhere):
            await check.admit(caller(OTHER))
    assert slurm.count("scontrol") == 1


async def test_while_slurm_cannot_be_asked_about_a_node_its_starter_may_try_again(
    check: CallerCheck, slurm: FakeSlurm
) -> None:
    slurm.fail("scontrol", "slurm_load_node error: Unable to contact slurm controller (connect failure)")
    with pytest.raises(SlurmError):
        await check.admit(caller(OTHER))
    with pytest.raises(Elsewhere):
        await check.admit(caller(OTHER))


@pytest.mark.parametrize("name", ["a..b", "x" * 70, "."])
async def test_a_name_that_no_machine_can_have_has_no_address(slurm: FakeSlurm, name: str) -> None:
    nodes = NodeAddresses(SlurmClient(Cluster("summit"), slurm), HostNames())
    slurm.node_addresses["nosuch.invalid"] = (name, name)
    found = await nodes.find("nosuch.invalid")
    assert (found.place(None).host, found.addresses) == ("nosuch.invalid", frozenset())


async def test_a_job_that_was_requeued_to_another_node_is_admitted_from_there(
    check: CallerCheck, placed: Placed, slurm: FakeSlurm
) -> None:
    await check.admit(caller(NODE))
    slurm.run_job(1, "c2")
    await check.admit(caller(OTHER))
    assert check.admitted == "c2"
    with pytest.raises(Elsewhere):
        await check.admit(caller(NODE))


async def test_a_node_whose_address_changed_is_looked_up_again(
    check: CallerCheck, resolver: Resolver
) -> None:
    await check.admit(caller(NODE))
    resolver.names["c1"] = "192.0.2.9"
    await check.admit(caller("192.0.2.9"))


async def test_a_node_without_an_address_is_refused_until_it_has_one(
    check: CallerCheck, slurm: FakeSlurm, resolver: Resolver
) -> None:
    slurm.run_job(1, "c3")
    with pytest.raises(Elsewhere, match="on c3, which has no address here"):
        await check.admit(caller(NODE))
    resolver.names["c3"] = NODE
    await check.admit(caller(NODE))


async def test_while_names_cannot_be_looked_up_a_starter_may_try_again(
    check: CallerCheck, resolver: Resolver
) -> None:
    resolver.names["c1"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    with pytest.raises(Unsettled, match="c1 can't be looked up: Temporary failure"):
        await check.admit(caller(NODE))


async def test_a_call_for_a_job_that_waits_in_the_queue_is_refused(
    check: CallerCheck, slurm: FakeSlurm
) -> None:
    """Others may have read its script, and such a caller could cause queries to Slurm for hours."""
    slurm.change(1, state="PENDING", nodes="", host="n/a")
    with pytest.raises(NotExpected, match="waits in the queue"):
        await check.admit(caller(NODE))
    assert slurm.count("squeue") == 1


async def test_an_answer_from_before_the_call_is_no_reason_to_refuse_it(
    check: CallerCheck, slurm: FakeSlurm
) -> None:
    gate = slurm.hold("squeue")
    # c1 as a word: the mark between the fields may have these letters, too
    slurm.tamper("squeue", lambda text: re.sub(r"\bc1\b", "n/a", text.replace("RUNNING", "PENDING")))
    on_its_way = asyncio.ensure_future(check._watcher.refresh())
    await until(lambda: slurm.count("squeue"))
    admitted = asyncio.ensure_future(check.admit(caller(NODE)))
    await asyncio.sleep(0)
    gate.set()
    await admitted
    await on_its_way
    assert slurm.count("squeue") == 2
