"""A node that dies under a computation: the notebook names it, says what to do, and keeps working."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster import faults, node
from cluster.demo.visitor import Kernel, Visitor
from tests.cluster.product.cells import start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

DIES = "shas0102"
ENGINES = """
import ipyparallel as ipp, json, os, socket, threading, time
rc = ipp.Cluster(engines="flatirons", n=8).start_and_connect_sync()
hosts = sorted(rc[:].apply_sync(socket.gethostname))
print(json.dumps([hosts, os.environ["FLATIRONS_JOB_ID"]]))
running = rc[:].apply_async(time.sleep, 8)
"""
CAUGHT = """
try:
    running.get()
except Exception as error:
    print(type(error).__name__, error)
while not rc.cluster.engine_registry._reported or any("probe of" in t.name for t in threading.enumerate()):
    time.sleep(0.1)  # so that this cell has what is printed meanwhile
"""
# More than half of a node's cores each: two don't fit on one node.
DASK = """
import json, socket, threading, time
from dask.distributed import Client
from dask_jobqueue import SLURMCluster
cluster = SLURMCluster(cores=5, processes=1)
cluster.scale(jobs=2)
client = Client(cluster)
client.wait_for_workers(2, timeout=60)
print(json.dumps(sorted(client.run(socket.gethostname).values())))
def slow(x):
    time.sleep(2)
    return x, socket.gethostname()
running = client.map(slow, range(30))
"""
GATHERED = """
done = client.gather(running)
def asks():
    return any("probe of" in t.name for t in threading.enumerate())
while len(cluster.scheduler_info["workers"]) == 2 or asks():
    time.sleep(0.1)  # so that this cell has what is printed meanwhile
print(json.dumps([[x for x, _ in done], sorted({host for _, host in done})]))
"""


@pytest.fixture(scope="module")
def slurm(cluster: RealCluster) -> Slurm:
    return Slurm(cluster)


@pytest.fixture
def kernel(cluster: RealCluster, slurm: Slurm) -> Iterator[Kernel]:
    """A kernel in alice's server, on shas0101; at the end her jobs are removed, and the node is up again."""
    alice = Visitor(cluster.hub_url, "alice")
    alice.log_in()
    if not alice.has_server():
        start_server(alice)
    yield alice.kernel()
    if node.recorded(cluster.demo.instance, DIES) is None:
        faults.apply(cluster.demo.instance, "start", DIES)
    alice.stop()
    alice.http.close()
    slurm.end_all()
    state = ("sinfo", "-h", "-n", DIES, "-p", "shas", "-o", "%T")
    eventually(lambda: slurm.ask(*state) in ("idle", "mixed", "reserved"), 60)


@pytest.fixture
def die(cluster: RealCluster) -> Callable[[], None]:
    """Kills a node."""
    return lambda: faults.apply(cluster.demo.instance, "kill", DIES)


def last_json(printed: str) -> Any:
    return json.loads(printed.strip().rpartition("\n")[2])


def test_engines_on_a_node_that_dies_are_reported_and_the_others_keep_running(
    kernel: Kernel, slurm: Slurm, die: Callable[[], None]
) -> None:
    hosts, _ = last_json(kernel.run(ENGINES))
    assert hosts == ["shas0101"] * 4 + [DIES] * 4
    die()
    printed = kernel.run(CAUGHT, 60)
    assert (
        f"Node {DIES} no longer answers: 4 engines are lost with it; 4 on other nodes keep running."
        in printed
    )
    assert len(re.findall(r"EngineError: Engine .* died while running task", printed)) == 4
    assert (
        last_json(kernel.run("print(json.dumps(rc[:].apply_sync(socket.gethostname)))")) == ["shas0101"] * 4
    )
    assert [slurm.state(job) for job in slurm.live("ipengines")] == ["RUNNING"]
    added = "rc.cluster.start_engines_sync(1, nodes=1); rc.wait_for_engines(5); print(len(rc))"
    assert last_json(kernel.run(added, 40)) == 5


def test_a_dask_worker_on_a_node_that_dies_is_reported_and_the_others_repeat_its_work(
    kernel: Kernel, slurm: Slurm, die: Callable[[], None]
) -> None:
    assert last_json(kernel.run(DASK)) == ["shas0101", DIES]
    die()
    printed = kernel.run(GATHERED, 60)
    assert last_json(printed) == [list(range(30)), ["shas0101"]]
    assert re.search(rf"Node {DIES} no longer answers: Dask has lost its worker SLURMCluster-\d", printed)
    assert "the other workers repeat its work" in printed
