"""Kernels that neighbours on the node can't reach: real kernels, and the settings that the starter writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config, Configurable
from traitlets.traitlets import Unicode

from flatirons.job.node import kernel_transport
from flatirons.job.script import kernel_settings

START = """
import json, os, sys, zmq
from traitlets.config import Config, PyFileConfigLoader
PyFileConfigLoader(os.environ["SETTINGS"]).load_config()
from jupyter_client.manager import KernelManager
manager = KernelManager(config=Config(json.loads(os.environ["CONFIG"])))
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=30)
import psutil
def listening():
    kernel = psutil.Process(manager.provisioner.pid)
    family = (kernel, *kernel.children(True))
    sockets = [each for process in family for each in process.net_connections("tcp")]
    return sorted({each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN})
def eavesdrop():
    stranger = zmq.Context.instance().socket(zmq.SUB)
    stranger.linger = 0
    stranger.subscribe(b"")
    for port in listening():
        stranger.connect(f"tcp://127.0.0.1:{port}")
    client.execute_interactive("import time; time.sleep(0.3); print('the catch of the day')", timeout=30)
    heard = b""
    while stranger.poll(500):
        heard += b"".join(stranger.recv_multipart())
    return "the catch" in heard.decode(errors="replace")
found = {"transport": manager.transport, "heard": eavesdrop(), "encryption": manager.transport_encryption}
manager.restart_kernel()
client.wait_for_ready(timeout=30)
found["after_restart"] = eavesdrop()
os.kill(manager.provisioner.pid, 9)
manager.provisioner.process.wait()
manager.restart_kernel()
client.wait_for_ready(timeout=30)
found["after_kill"] = eavesdrop()
found["sockets"] = len(os.listdir(os.environ["FLATIRONS_SOCKETS"])) if manager.transport == "ipc" else 0
client.stop_channels()
manager.shutdown_kernel()
found["left"] = os.listdir(os.environ["FLATIRONS_SOCKETS"]) if manager.transport == "ipc" else []
print(json.dumps(found))
"""


def play(folder: Path, sockets: Path, settings: str = "", **config: Any) -> dict[str, Any]:
    """What a program finds that starts a kernel, restarts it, and kills it; and what a stranger hears."""
    file = folder / "jupyter_config.py"
    file.write_text(settings or kernel_settings())
    home = folder / "home"
    home.mkdir()
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home), "SETTINGS": str(file)}
    env |= {"FLATIRONS_SOCKETS": str(sockets), "CONFIG": json.dumps(config)}
    done = subprocess.run(
        [sys.executable, "-c", START], env=env, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    folder = tmp_path / "sockets"
    folder.mkdir(0o700)
    return folder


QUIET = {"heard": False, "after_restart": False, "after_kill": False}


def test_without_the_settings_a_stranger_hears_everything(tmp_path: Path, sockets: Path) -> None:
    """So the other tests can fail."""
    found = play(tmp_path, sockets, settings="\n")
    assert (found["transport"], found["heard"], found["after_restart"]) == ("tcp", True, True)


def test_a_kernel_listens_in_the_jobs_private_directory(tmp_path: Path, sockets: Path) -> None:
    found = play(tmp_path, sockets)
    assert found == {**QUIET, "transport": "ipc", "encryption": "disabled", "sockets": 5, "left": []}


def test_where_a_path_would_be_too_long_the_connections_are_encrypted(tmp_path: Path, sockets: Path) -> None:
    longer = sockets / ("x" * 100)
    longer.mkdir(0o700)
    found = play(tmp_path, longer)
    assert found == {**QUIET, "transport": "tcp", "encryption": "auto", "sockets": 0, "left": []}


def test_in_a_directory_that_others_can_enter_no_kernel_listens(tmp_path: Path, sockets: Path) -> None:
    sockets.chmod(0o711)
    found = play(tmp_path, sockets)
    assert found == {**QUIET, "transport": "tcp", "encryption": "auto", "sockets": 0, "left": []}


def test_what_the_user_chose_is_kept(tmp_path: Path, sockets: Path) -> None:
    chosen = {"KernelManager": {"transport": "tcp", "transport_encryption": "disabled"}}
    assert play(tmp_path, sockets, **chosen)["heard"]


@pytest.mark.parametrize(
    ("argv", "manages"),
    [
        (["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], True),
        (["/opt/conda/bin/python3", "-m", "ipykernel", "-f", "{connection_file}"], True),
        (["python", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"], True),
        (["/usr/lib/R/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"], True),
        (["julia", "-i", "-e", "import IJulia; IJulia.run_kernel()", "{connection_file}"], True),
        (["julia", "-i", "/home/a/.julia/packages/IJulia/e8kqU/src/kernel.jl", "{connection_file}"], False),
        (["java", "-jar", "ijava.jar", "{connection_file}"], False),
        (["/usr/bin/xpython", "-f", "{connection_file}"], False),
        (["tslab", "kernel", "--config-path={connection_file}"], False),
        (["python", "/home/a/ipykernel_launcher.d/other.py"], False),
        ([], False),
    ],
)
def test_only_kernels_that_are_known_to_manage_get_sockets(argv: list[str], manages: bool) -> None:
    assert kernel_transport.manages_sockets(argv) is manages


class Manager(Configurable):
    """What `protect` uses of a KernelManager of jupyter_client 7, which has no encryption."""

    transport = Unicode("tcp", config=True)
    ip = Unicode("127.0.0.1", config=True)

    def __init__(self, *argv: str, **config: Any) -> None:
        super().__init__(config=Config(config))
        self.kernel_spec = SimpleNamespace(argv=list(argv))


@pytest.fixture
def directory(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLATIRONS_SOCKETS", str(sockets))
    return sockets


def test_older_jupyters_have_sockets_too(directory: Path) -> None:
    manager = Manager("python", "-m", "ipykernel_launcher")
    kernel_transport.protect(manager)
    assert (manager.transport, os.path.dirname(manager.ip)) == ("ipc", str(directory))
    first = manager.ip
    kernel_transport.protect(manager)
    assert manager.ip == first, "a restart keeps the paths, because clients know them"


def test_an_unknown_kernel_of_an_older_jupyter_starts_as_before(directory: Path) -> None:
    manager = Manager("java")
    kernel_transport.protect(manager)
    assert (manager.transport, manager.ip) == ("tcp", "127.0.0.1")


@pytest.mark.parametrize("section", ["Manager", "Configurable"])
def test_a_transport_in_the_users_settings_counts(directory: Path, section: str) -> None:
    manager = Manager("python", "-m", "ipykernel_launcher", **{section: {"transport": "tcp"}})
    kernel_transport.protect(manager)
    assert manager.transport == "tcp"


def test_two_kernels_have_different_sockets(directory: Path) -> None:
    assert kernel_transport.place_for(str(directory)) != kernel_transport.place_for(str(directory))


@pytest.mark.parametrize(("length", "fits"), [(87, True), (88, False)])
def test_the_longest_path_of_a_socket_just_fits(tmp_path: Path, length: int, fits: bool) -> None:
    """107 bytes: "/" before a name of 16 letters, and a number of at most two digits after it."""
    place = Path(os.path.join(tmp_path, "x" * (length - len(str(tmp_path)) - 1)))
    place.mkdir(0o700, parents=True)
    assert len(str(place)) == length
    assert bool(kernel_transport.place_for(str(place))) is fits


def test_a_link_to_a_private_directory_is_not_private(sockets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sockets)
    assert kernel_transport.is_private(str(sockets))
    assert not kernel_transport.is_private(str(tmp_path / "link"))
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_without_jupyter_client_the_settings_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "jupyter_config.py"
    file.write_text(f"get_config = lambda: None\n{kernel_settings()}\nprint('read')")
    done = subprocess.run([sys.executable, "-S", "-I", str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "read\n"
