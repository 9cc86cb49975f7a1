"""Users whose homes have blanks, quotes, percent signs, commas or backslashes in their names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.demo.visitor import Kernel, Visitor
from tests.cluster.product.cells import last_json, start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.images("pyspark"),
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

NODES = ("shas0101", "shas0102")
HOMES = ["/home/ann smith", '/home/o\'brien "x" 50%j,a#b', r"/home/DOM\bob $é🙂"]
JOBS = ("ipengines", "dask-worker", "spark")
# /etc/passwd is edited, because usermod refuses some of these names.
MOVE = """
import os, pwd, sys
who, home = pwd.getpwnam("bob"), sys.argv[1]
lines = open("/etc/passwd").read().split("\\n")
lines = [":".join([*each.split(":")[:5], home, *each.split(":")[6:]]) if each.startswith("bob:") else each
         for each in lines]
open("/etc/passwd", "w").write("\\n".join(lines))
os.makedirs(home, exist_ok=True)
os.chown(home, who.pw_uid, who.pw_gid)
"""
START = """
import json, os, pathlib, subprocess
home = str(pathlib.Path.home())
"""
ENGINES = """
from flatirons.parallel import Cluster
rc = Cluster(n=2, nodes=2).start_and_connect_sync()
where = rc[:].apply_sync(lambda: __import__("os").getcwd())
log = pathlib.Path(rc.cluster.engine_set.output_file)
print(json.dumps([where, str(log), log.is_file()]))
"""
DASK = """
from dask.distributed import Client
from dask_jobqueue import SLURMCluster
cluster = SLURMCluster()
cluster.scale(jobs=1)
client = Client(cluster)
client.wait_for_workers(1, timeout=60)
[home_of_worker] = client.run(lambda: str(__import__("pathlib").Path.home())).values()
logs = pathlib.Path(home, ".local/state/flatirons/dask/log").glob("dask-worker-*.err")
print(json.dumps([home_of_worker, any(each.stat().st_size for each in logs)]))
"""
SPARK = """
from flatirons.parallel.spark import session
spark = session(nodes=2, cpus=2, memory="2G", runtime="0:20:00")
print(json.dumps(spark.sparkContext.parallelize(range(8), 4).map(lambda x: x * x).sum()))
"""


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest, cluster: RealCluster, slurm: Slurm) -> Iterator[str]:
    """Bob's home on the nodes has this name."""

    def move(place: str) -> None:
        for node in NODES:
            done = cluster.exec(node, ["python3", "-c", MOVE, place])
            assert done.returncode == 0, done.stderr

    move(request.param)
    yield request.param
    move("/home/bob")
    done = cluster.exec(NODES[0], ["rm", "-rf", request.param])
    assert done.returncode == 0, done.stderr


@pytest.fixture
def kernel(cluster: RealCluster, slurm: Slurm, home: str) -> Iterator[Kernel]:
    """A kernel in Bob's notebook server."""
    bob = Visitor(cluster.hub_url, "bob")
    bob.log_in()
    start_server(bob, environment="pyspark", cpus="2")
    yield bob.kernel()
    for name in JOBS:
        slurm.end(name, "bob")
    bob.stop()
    slurm.end_all("bob")
    bob.http.close()


def test_server_engines_workers_and_spark_work_in_an_unusual_home(
    kernel: Kernel, home: str, slurm: Slurm
) -> None:
    assert last_json(kernel.run(START + "print(json.dumps([home, os.getcwd()]))")) == [home, home]
    where, log, is_file = last_json(kernel.run(ENGINES))
    kernel.run("rc.cluster.stop_cluster_sync()")
    assert where == [home, home]
    assert log.startswith(f"{home}/.ipython/profile_default/log/") and is_file
    assert last_json(kernel.run(DASK)) == [home, True]
    kernel.run("client.close(); cluster.close()")
    assert last_json(kernel.run(SPARK)) == 140
    kernel.run("spark.stop()")
    eventually(lambda: not any(slurm.live(name, "bob") for name in JOBS))
