"""What a site's own files on the nodes do to servers, engines and workers: a TaskProlog, and /etc/profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from cluster.demo.visitor import Kernel, SmokeFailure, Visitor
from cluster.layout import CONTROLLER
from tests.cluster.product.cells import last_json, start_server
from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS

pytestmark = [
    pytest.mark.cluster,
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

CONF = "/etc/slurm/summit/slurm.conf"
TASK_PROLOG = "/etc/slurm/summit/task_prolog"
PROFILE = "/etc/profile.d/flatirons-surroundings.sh"
NODES = ("shas0101", "shas0102")
PROBE = """
import json, os, socket
def probe():
    import os, socket
    return [socket.gethostname(), os.getcwd(), os.environ.get("OMP_NUM_THREADS"),
            [name for name in ("PYTHONHOME", "PYTHONPATH") if os.environ.get(name)]]
from flatirons.parallel import Cluster
"""
DASK = """
from dask.distributed import Client
from dask_jobqueue import SLURMCluster
cluster = SLURMCluster()
cluster.scale(jobs=1)
client = Client(cluster)
client.wait_for_workers(1, timeout=60)
"""


def root(cluster: RealCluster, node: str, line: str) -> None:
    done = cluster.exec(node, ["sh", "-ec", line])
    assert done.returncode == 0, done.stderr


@pytest.fixture
def task_prolog(cluster: RealCluster) -> Iterator[None]:
    """A TaskProlog that sets variables of the node's own Python in each task, and one of another kind."""
    words = ("PYTHONHOME=/opt/site", "PYTHONPATH=/opt/site/lib", "OMP_NUM_THREADS=3")
    lines = "\\n".join(f"echo export {each}" for each in words)
    reconfigure = f"SLURM_CONF={CONF} scontrol reconfigure"
    root(cluster, CONTROLLER, f"printf '#!/bin/sh\\n{lines}\\n' >{TASK_PROLOG} && chmod 755 {TASK_PROLOG}")
    root(cluster, CONTROLLER, f"echo TaskProlog={TASK_PROLOG} >>{CONF} && {reconfigure}")
    yield
    root(cluster, CONTROLLER, f"sed -i /^TaskProlog=/d {CONF} && {reconfigure}")


@pytest.fixture
def profile(cluster: RealCluster) -> Iterator[Callable[[str], None]]:
    """Adds lines to what /etc/profile of the nodes reads."""

    def write(lines: str) -> None:
        for node in NODES:
            root(cluster, node, f"printf '%s\\n' '{lines}' >{PROFILE}")

    yield write
    for node in NODES:
        root(cluster, node, f"rm -f {PROFILE}")


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    """A kernel in a notebook server of alice's that is started within the test's surroundings."""
    if visitor.has_server():
        visitor.stop()
    start_server(visitor, environment="profile")
    yield visitor.kernel()
    for name in ("ipengines", "dask-worker"):
        slurm.end(name)
    visitor.stop()


def test_a_task_prolog_and_a_profile_leave_the_image_alone(
    task_prolog: None, profile: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    profile("cd /; IFS=/; export PYTHONHOME=/opt/profile")
    kernel: Kernel = request.getfixturevalue("kernel")
    home = "/home/alice"
    assert last_json(kernel.run(f"{PROBE}\nprint(json.dumps(probe()[1:]))")) == [home, "3", []]
    show = ".start_and_connect_sync()\nprint(json.dumps(rc[:].apply_sync(probe)))"
    stop = "rc.cluster.stop_cluster_sync()"
    for more in ("", ', mpi=True, memory="600M"'):
        engines = last_json(kernel.run(f"rc = Cluster(n=2, nodes=2{more}){show}"))
        assert sorted(engines) == [[node, home, "3", []] for node in NODES]
        kernel.run(stop)
    [engine] = last_json(kernel.run(f"rc = Cluster(n=1, inside=True){show}"))
    assert engine[1:] == [home, "3", []]
    kernel.run(stop)
    [worker] = last_json(kernel.run(DASK + "print(json.dumps(list(client.run(probe).values())))"))
    assert worker[1:] == [home, "3", []]
    kernel.run("client.close(); cluster.close()")


def test_a_profile_that_ends_is_named_and_nothing_else_is_blamed(
    cluster: RealCluster, visitor: Visitor, profile: Callable[[str], None]
) -> None:
    start_server(visitor)
    kernel = visitor.kernel()
    profile("exit 3")
    with pytest.raises(SmokeFailure) as failed:
        kernel.run("from flatirons.parallel import Cluster\nrc = Cluster(n=1).start_and_connect_sync()")
    assert re.search(r"/etc/profile of shas010\d ended the job's shell", str(failed.value)), failed.value
    visitor.stop()
    alice = Person(cluster.hub_url, "alice").log_in()
    alice.start(**{**SHAS, "environment": "profile"})
    assert alice.events()[-1].get("failed")
    [report, *_] = alice.rest("GET", "/flatirons/report/alice").json()["reports"]
    assert report["kind"] == "profile"
    assert "(exit code 3)" in report["sentence"]
    alice.http.close()
