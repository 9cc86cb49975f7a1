"""The port of a server on its node: on which address, and whose it is after the server's end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flatirons.job.node import ports


@pytest.fixture
def port() -> int:
    return ports.free_port("127.0.0.1", None, set())


@pytest.fixture
def held(port: int) -> Iterator[socket.socket]:
    found = ports.hold("127.0.0.1", port)
    assert found
    yield found
    found.close()


def listener(address: str, port: int, *options: int) -> socket.socket:
    """A server's socket; raises OSError if the port is taken."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    for option in options:
        made.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        made.bind((address, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def test_a_server_can_listen_on_a_port_that_is_held_for_it(held: socket.socket, port: int) -> None:
    with listener("127.0.0.1", port, socket.SO_REUSEADDR), socket.create_connection(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_nobody_can_listen_on_a_locked_port_once_the_server_has_ended(
    held: socket.socket, port: int, address: str, options: tuple[int, ...]
) -> None:
    with listener("127.0.0.1", port, socket.SO_REUSEADDR), socket.create_connection(("127.0.0.1", port)):
        ports.lock(held)
    with pytest.raises(OSError, match="in use"):
        listener(address, port, *options)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_on_which_a_stranger_listens_cannot_be_held(port: int) -> None:
    with listener("127.0.0.1", port, socket.SO_REUSEADDR):
        assert ports.hold("127.0.0.1", port) is None
        assert not ports.is_free("127.0.0.1", port)


# -- who listens

LISTEN = """
import os, socket, sys, time
made = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
made.bind((sys.argv[1], int(sys.argv[2])))
made.listen()
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def stranger(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on the port at another address."""
    argv = [sys.executable, "-c", LISTEN, "127.0.0.2", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listens_on_a_port_is_told_from_who_listens_there_at_another_address(
    stranger: subprocess.Popen[bytes], port: int, address: str
) -> None:
    shell = ["sh", "-c", 'exec 3>&1; "$@" & wait', "sh", sys.executable, "-c", LISTEN, address, str(port)]
    with subprocess.Popen(shell, stdout=subprocess.PIPE) as ours:
        assert ours.stdout and ours.stdout.readline()
        assert ports.listens(ours.pid, port), "a descendant of our process does"
        assert ports.listens(stranger.pid, port)
        members = list(ports.family(ours.pid))
        assert members[0] == ours.pid and len(members) == 2
        for pid in members:
            os.kill(pid, 9)
    assert not ports.listens(ours.pid, port)


# -- the address


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of this node, apart from loopback's; its name is the first one's."""
    found = ["10.1.0.9", "10.9.0.9", "fd00::9"]
    monkeypatch.setattr(ports, "is_own", lambda address: address in found)
    monkeypatch.setattr(ports, "addresses_of", lambda name: ["127.0.1.1", "10.1.0.9"])
    return found


@pytest.mark.parametrize(
    ("known", "address"),
    [
        ([], "10.1.0.9"),  # a hub of an older version
        (["10.1.0.9"], "10.1.0.9"),
        (["10.9.0.9"], "10.9.0.9"),  # the hub is in another network than the one of the node's own name
        (["fd00::9"], "fd00::9"),
        (["203.0.113.1"], "0.0.0.0"),  # behind NAT
        (["2001:db8::1"], "::"),
        (["127.0.0.1"], "0.0.0.0"),
    ],
)
def test_a_server_listens_where_the_hub_finds_its_node(
    own: list[str], known: list[str], address: str
) -> None:
    assert ports.own_address(known) == address


def test_a_name_without_an_address_of_this_node_means_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "nosuch.invalid")
    assert ports.own_address() == "0.0.0.0"
    monkeypatch.setenv("SLURMD_NODENAME", "localhost")
    assert ports.own_address() == "0.0.0.0"


def test_ports_of_ipv6_addresses_are_found_held_and_answered() -> None:
    port = ports.free_port("::1", None, set())
    held = ports.hold("::1", port)
    assert held
    with listener("::1", port, socket.SO_REUSEADDR):
        assert ports.is_answered("::1", port)
        ports.lock(held)
    held.close()
    assert ports.is_free("::1", port)


def test_a_program_of_a_neighbour_whose_name_is_no_text_does_no_harm(port: int) -> None:
    """Seen before: any user of the node could make every start on it fail."""
    odd = "open('/proc/self/comm', 'wb').write(b'\\xff) (\\xfe'); print(flush=True); input()"
    with (
        subprocess.Popen([sys.executable, "-c", odd], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as named,
        listener("127.0.0.1", port),
    ):
        assert named.stdout and named.stdout.readline()
        try:
            assert not ports.listens(named.pid, port)
        finally:
            named.communicate(b"\n")
