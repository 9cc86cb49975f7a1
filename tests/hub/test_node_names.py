"""Nodes whose names the hub's machine doesn't know as Slurm does: reached by NodeAddr, or told of at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import BLOCKED
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

NODE = "sknl0701"
"""The only node of the partition in which all of these servers run."""


@pytest.fixture
def known_as(cluster: RealCluster) -> Iterator[Callable[[str], None]]:
    """Makes the node's name stand for another address, or for none, on the hub's machine."""

    def on_hub(script: str) -> str:
        done = cluster.exec("hub", ["sh", "-ec", script])
        assert done.returncode == 0, done
        return str(done.stdout)

    def change(address: str) -> None:
        line = f"{address} {NODE}" if address else f"# {NODE}"
        cluster.stop_hub()  # it keeps addresses for some minutes
        on_hub(f"grep -v {NODE} /root/hosts > /etc/hosts; echo '{line}' >> /etc/hosts")
        cluster.start_hub()

    on_hub("cp /etc/hosts /root/hosts")
    yield change
    on_hub("cat /root/hosts > /etc/hosts")
    cluster.stop_hub()
    cluster.start_hub()


@pytest.mark.parametrize("address", ["", "192.0.2.1"], ids=["unknown", "another"])
def test_a_node_that_slurm_knows_better_than_dns_serves_its_users(
    cluster: RealCluster, slurm: Slurm, known_as: Callable[[str], None], address: str
) -> None:
    known_as(address)
    alice = Person(cluster.hub_url, "alice").log_in()
    try:
        alice.start(**BLOCKED)
        alice.wait_ready()
        assert alice.ask_server("api/status").status_code == 200
        own = re.search(r"NodeAddr=(\S+)", slurm.ask("scontrol", "show", "node", NODE))
        route = re.findall(r"to proxy /user/alice/ => http://([\d.]+):", cluster.hub_log.read_text())
        assert own and route[-1] == own[1]
        alice.stop()
    finally:
        slurm.end_all("alice")
        alice.http.close()


def test_a_node_that_calls_from_an_address_that_nobody_knows_is_told_of_at_once(
    cluster: RealCluster, alice: Person, slurm: Slurm
) -> None:
    own = cluster.exec("hub", ["getent", "hosts", NODE]).stdout.split()[0]
    other = f"{own.rpartition('.')[0]}.250"
    device = cluster.exec(NODE, ["sh", "-c", f"ip -o addr show to {own}"]).stdout.split()[1]
    cluster.exec(NODE, ["sh", "-ec", f"ip addr add {other}/24 dev {device}"])
    hub = cluster.exec("hub", ["getent", "hosts", "hub"]).stdout.split()[0]
    cluster.exec(NODE, ["sh", "-ec", f"ip route add {hub}/32 dev {device} src {other}"])
    try:
        alice.start(**BLOCKED)
        last = alice.events()[-1]
        assert last["failed"] and f"from {other}: its job runs on {NODE}, which has {own}" in last["message"]
        report = alice.rest("GET", "/flatirons/report/alice").json()["reports"][0]
        assert report["kind"] == "call_refused"
        assert eventually(lambda: "check_address = false" in cluster.hub_log.read_text())
    finally:
        cluster.exec(NODE, ["sh", "-c", f"ip route del {hub}/32; ip addr del {other}/24 dev {device}"])
        slurm.end_all("alice")
