"""Ends of servers with real causes on the node, and what their reports say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster import faults
from tests.conftest import RealCluster
from tests.full import IS_FULL
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import BLOCKED
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

NODE = "sknl0701"
"""The only node of the partition in which all of these servers run."""
CONF = "/etc/slurm/summit/slurm.conf"
FAILING_PROLOG = f"""
printf '#!/bin/sh\\necho no scratch disk >&2\\nexit 1\\n' > /run/prolog
chmod 755 /run/prolog
{{ cat {CONF}; echo Prolog=/run/prolog; }} > /run/slurm.conf
mount --bind /run/slurm.conf {CONF}
"""


def root(cluster: RealCluster, script: str) -> str:
    """The output of a shell script that root runs in the node."""
    done = cluster.exec(NODE, ["sh", "-ec", script])
    assert done.returncode == 0, done
    return done.stdout


def report(person: Person) -> dict[str, Any]:
    """The newest report of the default server, once its start has failed."""
    last = person.events()[-1]
    assert last.get("failed"), last
    [newest, *_] = person.rest("GET", f"/flatirons/report/{person.name}").json()["reports"]
    assert newest["sentence"] in last["message"]
    return dict(newest)


@pytest.fixture
def failing_prolog(cluster: RealCluster, slurm: Slurm) -> Iterator[None]:
    """A node that alone has a prolog, which fails; at the end the node is in service again."""

    def restart_slurmd() -> None:
        for what in ("kill", "start"):
            faults.apply(cluster.demo.instance, what, f"slurmd@{NODE}")

    root(cluster, FAILING_PROLOG)
    try:
        restart_slurmd()
        yield
    finally:
        root(cluster, f"umount {CONF}")
        restart_slurmd()

    def is_back() -> bool:
        state = slurm.ask("sinfo", "-h", "-n", NODE, "-p", "sknl", "-o", "%T")
        if "drain" in state:
            slurm.ask("scontrol", "update", f"nodename={NODE}", "state=resume")
        return state == "idle"

    eventually(is_back)


def test_a_node_whose_prolog_fails_is_named_with_the_advice_to_tell_the_operators(
    alice: Person, slurm: Slurm, failing_prolog: None
) -> None:
    alice.start(**BLOCKED)
    found = report(alice)
    assert (found["kind"], found["node"], found["was_up"]) == ("prolog", NODE, False), found
    assert "prolog" in found["sentence"]
    assert "operator" in found["advice"]
    assert not slurm.jobs("alice"), "Slurm doesn't keep the job in the queue, held"


def test_a_missing_module_that_one_in_the_home_imports_is_named(alice: Person, cluster: RealCluster) -> None:
    code = "import no_such_module"
    script = "mkdir -p ~/shadow; printf '%s\\n' \"$0\" > ~/shadow/tornado.py"
    done = cluster.exec("hub", ["sh", "-ec", script, code], "alice")
    assert done.returncode == 0, done
    try:
        alice.start(**BLOCKED, python_path="/home/alice/shadow")
        found = report(alice)
    finally:
        cluster.exec("hub", ["rm", "-r", "/home/alice/shadow"], "alice")
    assert found["kind"] == "import_error", found
    assert found["sentence"] == "Python found no module no_such_module."
    assert code in [line.strip() for line in found["log"]]


WRITES = "open('/home/alice/result', 'w').write(10**6 * 'x')"


@pytest.fixture
def full_home(cluster: RealCluster) -> Iterator[None]:
    """Alice's home on the node is a full disk; `shadow` in it has a module that writes there."""
    small = "mount -t tmpfs -o size=256k,mode=700,uid=10001,gid=10001 home /home/alice"
    module = f'mkdir /home/alice/shadow; echo "{WRITES}" > /home/alice/shadow/tornado.py'
    root(cluster, f"{small}; {module}; cat /dev/zero > /home/alice/mine 2>/dev/null || true")
    yield
    root(cluster, "umount --lazy /home/alice")


def test_a_server_starts_with_a_full_home(alice: Person, full_home: None) -> None:
    alice.start(**BLOCKED)
    alice.wait_ready()
    assert alice.ask_server("api/status").status_code == 200


def test_a_server_that_ends_because_of_a_full_home_is_reported_so(alice: Person, full_home: None) -> None:
    alice.start(**BLOCKED, python_path="/home/alice/shadow")
    found = report(alice)
    assert found["kind"] == "home_full", found
    assert "A disk that the server writes to is full" in found["sentence"]
    assert any("No space left on device" in line for line in found["log"])


@contextmanager
def listening(cluster: RealCluster, ports: range) -> Iterator[None]:
    """Another user's program listens on these ports of the node."""
    code = (
        "import socket, sys\n"
        "held = [socket.create_server(('', port)) for port in range(int(sys.argv[1]), int(sys.argv[2]))]\n"
        "print('listening', flush=True)\n"
        "sys.stdin.read()\n"
    )
    argv = [*cluster.demo.enter(NODE, "bob"), "python3", "-c", code, str(ports.start), str(ports.stop)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"listening\n"
        yield
        other.communicate()


@pytest.fixture
def few_ports(cluster: RealCluster) -> Iterator[range]:
    """The ports that the site file allows for servers."""
    site = cluster.demo.etc / "site.toml"
    before = site.read_text()
    ports = range(45000, 45003)
    cluster.stop_hub()
    site.write_text(before.replace("[servers]\n", f'[servers]\nports = "{ports.start}-{ports.stop - 1}"\n'))
    try:
        cluster.start_hub()
        yield ports
        cluster.stop_hub()
    finally:
        site.write_text(before)
        cluster.start_hub()


def test_a_node_without_a_free_port_is_reported(
    alice: Person, cluster: RealCluster, few_ports: range
) -> None:
    with listening(cluster, few_ports):
        alice.start(**BLOCKED)
        found = report(alice)
    assert found["kind"] == "port", found
    assert found["sentence"] == "No port between 45000 and 45002 is free on the node."


@pytest.mark.skipif(not IS_FULL, reason="Slurm ends a job up to a minute after its limit: --full")
def test_a_server_at_its_time_limit_is_reported_with_twice_the_time_as_fix(alice: Person) -> None:
    alice.start(**{**BLOCKED, "runtime": "0:01:00"})
    alice.wait_ready()
    eventually(lambda: not (alice.server() or {}).get("ready"), 200)
    [found, *_] = alice.rest("GET", "/flatirons/report/alice").json()["reports"]
    assert (found["kind"], found["was_up"], found["fix"]) == ("time_limit", True, {"runtime": "0:02:00"})
    assert "reached its time limit of 1 minute" in found["sentence"]
