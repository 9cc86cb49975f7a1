"""The port by which jobs on other nodes notice the end of the notebook, and strangers at it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flatirons.parallel import liveness
from flatirons.parallel.liveness import CONNECT, LivenessPort
from tests.repository import REPO
from tests.waiting import eventually

ATTACK = 400  # connections; the kernel alone would hold 129 of them before it drops all that come after


@pytest.fixture
def port() -> Iterator[LivenessPort]:
    with contextlib.closing(LivenessPort("127.0.0.1")) as port:
        port.start()
        yield port


def connect(port: LivenessPort, text: str = "") -> socket.socket:
    connection = socket.create_connection((port.host, port.port), timeout=10)
    connection.sendall(text.encode())
    return connection


def is_held(connection: socket.socket, seconds: float = 0.3) -> bool:
    """Whether the other side still holds the connection after some time."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def is_admitted(job: socket.socket, port: LivenessPort) -> bool:
    """Whether the port answers the key, rather than dropping the connection among those of strangers."""
    job.settimeout(10)
    try:
        job.connect((port.host, port.port))
        job.sendall(f"{port.key}\n".encode())
        return job.recv(9) == b"ok\n"
    except ConnectionError:
        return False


def test_whoever_has_the_key_is_held_until_the_port_is_closed(port: LivenessPort) -> None:
    with connect(port, f"{port.key}\n") as job:
        assert job.recv(9) == b"ok\n"
        assert is_held(job)
        port.close()
        assert job.recv(9) == b""


def test_a_key_in_two_packets_counts(port: LivenessPort) -> None:
    with connect(port, port.key[:10]) as job:
        assert is_held(job, 0.1)
        job.sendall(f"{port.key[10:]}\n".encode())
        assert job.recv(9) == b"ok\n"


@pytest.mark.parametrize("said", ["x" * 65, "\n" * 70, "GET / HTTP/1.0\r\n\r\n" * 20, "\0" * 65])
def test_a_stranger_with_another_key_is_dropped_at_once(port: LivenessPort, said: str) -> None:
    began = time.monotonic()
    with connect(port, said) as stranger:
        assert not is_held(stranger, 10)
    assert time.monotonic() - began < liveness.KEY_SECONDS / 2


def test_a_silent_stranger_is_dropped_soon(port: LivenessPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "KEY_SECONDS", 0.2)
    with connect(port) as stranger, connect(port, port.key[:9]) as slow:
        assert not is_held(stranger, 10)
        assert not is_held(slow, 10)


def test_four_hundred_strangers_keep_nobody_out(port: LivenessPort) -> None:
    with contextlib.ExitStack() as attack:
        strangers = [attack.enter_context(connect(port)) for _ in range(ATTACK)]
        with connect(port, f"{port.key}\n") as job:
            assert job.recv(9) == b"ok\n"
        assert not is_held(strangers[0])


def test_a_job_that_is_held_stays_while_strangers_come(port: LivenessPort) -> None:
    with connect(port, f"{port.key}\n") as job, contextlib.ExitStack() as attack:
        assert job.recv(9) == b"ok\n"
        for _ in range(ATTACK):
            attack.enter_context(connect(port))
        assert is_held(job)


def test_a_process_without_free_descriptors_drops_strangers_and_then_answers(port: LivenessPort) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as attack:
        others = [attack.enter_context(socket.socket()) for _ in range(60)]
        attempts = [attack.enter_context(socket.socket()) for _ in range(5)]  # as many as a job makes
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, limits[1]))
        try:
            for each in others:
                each.connect((port.host, port.port))
            assert any(is_admitted(each, port) for each in attempts)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


PROCESS = """
import os, signal, sys, time
from pathlib import Path
from flatirons.parallel.liveness import LivenessPort
port = LivenessPort("127.0.0.1")
port.write_key(Path(sys.argv[1]))
port.start()
print(port.port, flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


def test_a_job_ends_when_the_process_is_killed_even_if_a_child_of_it_lives(tmp_path: Path) -> None:
    key = tmp_path / "key"
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(key)],
        env={**os.environ, "PYTHONPATH": str(REPO / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    number = process.stdout.readline().strip()
    script = CONNECT + '\necho held\nread -r -u 3 2>/dev/null\necho "ended ${#key}"'
    job = subprocess.Popen(
        ["bash", "-c", script, "bash", "127.0.0.1", number, str(key)], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout
    assert job.stdout.readline() == "held\n"
    process.stdin.write("\n")
    process.stdin.flush()
    child = int(process.stdout.readline())
    try:
        process.kill()
        assert job.communicate(timeout=20)[0] == "ended 0\n"
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate(timeout=20)


def test_a_job_with_the_key_of_another_cluster_ends_and_says_so(port: LivenessPort, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x" * 64 + "\n")
    words = ["bash", "-c", CONNECT, "bash", port.host, str(port.port), str(tmp_path / "key")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == f"The notebook at 127.0.0.1 port {port.port} doesn't know this job: it has ended.\n"


def test_the_key_is_in_a_private_file(port: LivenessPort, tmp_path: Path) -> None:
    port.write_key(tmp_path / "key")
    assert (tmp_path / "key").read_text() == f"{port.key}\n"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_job_that_was_dropped_among_strangers_tries_again(
    port: LivenessPort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port.write_key(tmp_path / "key")
    monkeypatch.setattr(liveness, "KEY_SECONDS", 0.0)  # everybody is dropped before a key can come
    dropped: list[socket.socket] = []
    drop = port._drop
    monkeypatch.setattr(port, "_drop", lambda connection: (dropped.append(connection), drop(connection)))
    script = CONNECT + "\necho held\n[[ $(trap) != *PIPE* ]] && echo clean"
    words = ["bash", "-c", script, "bash", port.host, str(port.port), str(tmp_path / "key")]
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: dropped)
    monkeypatch.setattr(liveness, "KEY_SECONDS", 5.0)
    assert job.communicate(timeout=30) == ("held\nclean\n", "")
