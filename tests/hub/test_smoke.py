"""What `scripts/demo` guarantees to its user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.demo.cleanup_check import Resources
from cluster.demo.service import Demo, free_port
from cluster.demo.visitor import Visitor
from tests.conftest import RealCluster
from tests.repository import REPO
from tests.waiting import eventually

pytestmark = pytest.mark.cluster


def test_the_smoke_test_passes_and_proves_who_ran_where(cluster: RealCluster) -> None:
    argv = [sys.executable, "-m", "cluster.demo.smoke", "--name", cluster.name]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 engines answer" in done.stdout
    assert "ran as alice, inside a container, on compute nodes" in done.stdout


def test_the_demo_shows_its_status_ends_at_ctrl_c_and_leaves_nothing(
    cluster: RealCluster, tmp_path: Path
) -> None:
    demo = Demo(f"test-{os.getpid()}-demo", free_port())
    argv = [str(REPO / "scripts/demo"), "--name", demo.instance.name, "--port", str(demo.asked_port)]
    printed = tmp_path / "printed"
    began = time.monotonic()
    with printed.open("w") as output, subprocess.Popen(argv, stdout=output, stderr=output) as running:
        try:
            eventually(lambda: "nodes 6/6 up | jobs: none | servers: 0 ready" in printed.read_text(), 60)
            assert time.monotonic() - began < 20, "everything is cached"
            resources = Resources.of(demo)
            assert resources.processes and resources.namespaces
        finally:
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=60) == 0
    assert "alice/alice" in printed.read_text()
    assert "no process, mount, network or namespace of it is left" in printed.read_text()
    assert resources.remaining() == []
    demo.forget()


@pytest.mark.parametrize(("name", "status", "has_link"), [("dave", 200, True), ("alice", 403, False)])
def test_the_admin_of_the_demo_sees_the_operations_page_and_others_do_not(
    cluster: RealCluster, name: str, status: int, has_link: bool
) -> None:
    visitor = Visitor(cluster.hub_url, name)
    with visitor.http:
        visitor.log_in()
        assert ("flatirons/operations" in visitor.http.get("/hub/home").text) is has_link
        assert visitor.http.get("/hub/flatirons/operations").status_code == status


def test_an_extra_site_that_is_not_toml_gives_one_sentence(tmp_path: Path) -> None:
    extra = tmp_path / "extra.toml"
    extra.write_text("[login\n")
    argv = [str(REPO / "scripts/demo"), "--detach", "--name", "test-nothing", "--site-extra", str(extra)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: {extra} is not TOML: ")
    assert len(done.stderr.splitlines()) == 1


def test_stopping_a_demo_that_does_not_run_is_no_error(cluster: RealCluster) -> None:
    argv = [str(REPO / "scripts/demo"), "--stop", "--name", "test-nothing"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
