"""Kernels that a library starts in our images, as nbclient and papermill do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flatirons.parallel.kernels import NAME, name_provisioner
from tests.repository import REPO

START = """
import json
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
print(json.dumps([manager.transport, manager.transport_encryption]))
client.stop_channels()
manager.shutdown_kernel()
"""


@pytest.fixture
def specification(tmp_path: Path) -> Path:
    """The kernel.json of a kernel `python3`."""
    file = tmp_path / "share/kernels/python3/kernel.json"
    file.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    known = {"argv": argv, "display_name": "Python", "language": "python"}
    file.write_text(json.dumps({**known, "metadata": {"supported_encryption": "curve"}}))
    return file


def start_kernel(folder: Path, sockets: Path) -> Any:
    """Transport and encryption of a kernel that a program without Jupyter's settings starts."""
    entry = folder / "site/flatirons-0.dist-info"
    entry.mkdir(parents=True)
    (entry / "METADATA").write_text("Name: flatirons\nVersion: 0\n")
    lines = f"[jupyter_client.kernel_provisioners]\n{NAME} = flatirons.parallel.kernels:PrivateKernel\n"
    (entry / "entry_points.txt").write_text(lines)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "FLATIRONS_SOCKETS": str(sockets)}
    env |= {"PYTHONPATH": f"{folder / 'site'}:{REPO / 'src'}", "JUPYTER_PATH": str(folder / "share")}
    done = subprocess.run(
        [sys.executable, "-c", START], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_a_kernel_whose_specification_names_the_provisioner_is_private(
    specification: Path, tmp_path: Path
) -> None:
    sockets = tmp_path / "sockets"
    sockets.mkdir(0o700)
    name_provisioner(specification)
    assert start_kernel(tmp_path, sockets) == ["ipc", "disabled"]


def test_outside_of_a_job_its_connections_are_encrypted(specification: Path, tmp_path: Path) -> None:
    name_provisioner(specification)
    assert start_kernel(tmp_path, tmp_path / "nonesuch") == ["tcp", "auto"]


def test_the_rest_of_a_specification_stays_and_so_does_another_provisioner(specification: Path) -> None:
    before = json.loads(specification.read_text())
    name_provisioner(specification)
    after = json.loads(specification.read_text())
    assert after["metadata"].pop("kernel_provisioner") == {"provisioner_name": NAME}
    assert after == before
    other = {"provisioner_name": "k8s", "config": {"image": "x"}}
    specification.write_text(json.dumps({**before, "metadata": {"kernel_provisioner": other}}))
    name_provisioner(specification)
    assert json.loads(specification.read_text())["metadata"] == {"kernel_provisioner": other}


def test_the_distribution_registers_the_provisioner() -> None:
    text = (REPO / "pyproject.toml").read_text()
    assert f'{NAME} = "flatirons.parallel.kernels:PrivateKernel"' in text
