"""Jobs without memory, where Slurm enforces limits with control groups: servers, kernels, engines."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.demo.visitor import Kernel, SmokeFailure, Visitor
from tests.cluster.product.cells import last_json, start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

HOLD = "x = bytearray(300 << 20)"
EAT = "x = bytearray(3 << 30)"
# Every Python of the server imports this; the server then takes the memory when the file appears.
HUNGRY = """
import os, sys, threading, time
def eat():
    while not os.path.exists("/home/alice/hungry/now"):
        time.sleep(0.1)
    globals()["x"] = bytearray(3 << 30)
if any("singleuser" in word for word in sys.orig_argv):
    threading.Thread(target=eat, daemon=True).start()
"""
ENGINES = "ipengines"
TWO_ENGINES = """
import ipyparallel as ipp, json, time
rc = ipp.Cluster(engines="flatirons", n=2, memory="500M").start_and_connect_sync()
def eat(megabytes):
    return len(bytearray(megabytes << 20))
def lose(engine):
    try:
        rc[engine].apply_async(eat, 3000).get(timeout=60)
    except Exception as error:
        return str(error)
def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
ends = []
rc.cluster.engine_set.on_stop(ends.append)
"""


@pytest.fixture(autouse=True)
def enforced(cluster: RealCluster) -> None:
    """Skips where the machine has no control groups that virtual nodes could use."""
    if "RAMSpace" not in cluster.demo.instance.settings().constrained:
        pytest.skip("Slurm enforces no memory limits on this machine")


@pytest.fixture
def server(visitor: Visitor, slurm: Slurm) -> Iterator[Visitor]:
    """Alice without a server; at the end her jobs are gone."""
    if visitor.has_server():
        visitor.stop()
    yield visitor
    gc.collect()
    slurm.end_all()
    eventually(lambda: not visitor.has_server())


def newest_report(visitor: Visitor) -> dict[str, Any]:
    """The report of alice's default server, once it has ended and accounting knows why."""
    eventually(lambda: not visitor.has_server())

    def explained() -> dict[str, Any] | None:
        reports = visitor.http.get("/hub/api/flatirons/report/alice").json()["reports"]
        return reports[0] if reports and reports[0]["used_memory_mib"] else None

    return eventually(explained)


def test_a_server_that_needs_more_memory_than_its_job_has_is_reported_so(
    server: Visitor, cluster: RealCluster
) -> None:
    make = "rm -rf ~/hungry; mkdir ~/hungry; cat > ~/hungry/sitecustomize.py"
    assert cluster.exec("hub", ["sh", "-ec", f"{make} <<'END'\n{HUNGRY}\nEND"], "alice").returncode == 0
    try:
        start_server(server, memory="1G", python_path="/home/alice/hungry")
        assert cluster.exec("hub", ["touch", "hungry/now"], "alice").returncode == 0
        found = newest_report(server)
    finally:
        cluster.exec("hub", ["rm", "-r", "/home/alice/hungry"], "alice")
    assert (found["kind"], found["was_up"], found["fix"]) == ("out_of_memory", True, {"memory": "2G"}), found
    assert "ran out of memory and was killed. It had asked for 1 GB." in found["sentence"]
    assert 900 < found["used_memory_mib"] <= found["requested_memory_mib"] == 1024


def test_a_server_goes_on_when_its_kernel_is_killed_and_its_own_end_is_told_truly(server: Visitor) -> None:
    start_server(server, memory="1G")
    kernel = server.kernel()
    with pytest.raises((TimeoutError, SmokeFailure)):
        kernel.run(EAT, deadline_s=5)
    assert kernel.run("print(2 + 2)") == "4\n"
    server.shut_down()
    found = newest_report(server)
    assert (found["kind"], found["fix"]) == ("completed", {"memory": "2G"}), found
    assert found["sentence"].startswith(
        "The notebook server ended by itself, without an error. Earlier, a kernel"
    )


def test_home_shows_within_a_minute_how_much_memory_a_server_uses(server: Visitor) -> None:
    start_server(server, memory="1G")
    kernel = server.kernel()
    kernel.run(HOLD)
    assert 300 < eventually(lambda: shown_memory(server)) < 700


def shown_memory(visitor: Visitor) -> int:
    """The MB that alice's Home shows as used, once the bar shows the same; 0 before."""
    page = visitor.http.get("/hub/home").raise_for_status().text
    words, bar = (
        re.search(text, page) for text in (r">(\d+) MB of 1 GB<", r'-memory".*aria-valuenow="(\d+)"')
    )
    return int(words[1]) if words and bar and abs(int(words[1]) / 10.24 - int(bar[1])) <= 1 else 0


@pytest.fixture
def kernel(server: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    start_server(server)
    yield server.kernel()
    slurm.end(ENGINES)


def test_an_engine_without_memory_leaves_the_others_and_the_end_of_the_last_is_explained(
    kernel: Kernel,
) -> None:
    kernel.run(TWO_ENGINES)
    lost = "print(json.dumps([lose(0), wait(lambda: rc.ids == [1]), rc[1].apply_sync(eat, 1)]))"
    error, _, size = last_json(kernel.run(lost))
    assert "Engine 0 died" in error
    assert size == 1 << 20
    ended = "lose(1); wait(lambda: ends); print(json.dumps(ends[0]['why']))"
    assert "ran out of memory and was killed" in last_json(kernel.run(ended))
