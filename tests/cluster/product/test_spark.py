"""Spark from a notebook on the virtual cluster: a cluster over two nodes, and inside the notebook's job.

The ordinary run has one session on two nodes and one that Slurm refuses. The others run in the full form
(`--full`), because many clusters that start and end take minutes. See also test_environments.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from cluster import faults
from cluster.demo.visitor import Kernel, SmokeFailure, Visitor
from tests.cluster.product.cells import blocks, command_lines, last_json, start_server
from tests.conftest import RealCluster
from tests.full import IS_FULL
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.images("pyspark"),
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

full = pytest.mark.skipif(not IS_FULL, reason="many clusters take minutes: --full")

JOB = "spark"
START = """
import json, os, socket, subprocess
from flatirons.parallel.spark import session
def host(_):
    import socket
    return socket.gethostname()
"""
TWO_NODES = START + 'spark = session(nodes=2, cpus=2, memory="2G", runtime="0:20:00")\n'
HOSTS = "print(json.dumps(sorted(set(spark.sparkContext.parallelize(range(40), 8).map(host).collect()))))"


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    """A new kernel in alice's notebook server; at the end all Spark clusters are removed."""
    if not visitor.has_server():
        start_server(visitor, environment="pyspark", cpus="2")
    kernel = visitor.kernel()
    yield kernel
    httpx.delete(kernel.channels.replace("ws", "http", 1).removesuffix("/channels"), headers=kernel.headers)
    slurm.end(JOB)


def spark_files(cluster: RealCluster) -> list[str]:
    """The files of clusters in alice's home, except logs."""
    listed = cluster.exec("shas0101", ["ls", "/home/alice/.local/state/flatirons/spark"], user="alice")
    return [name for name in listed.stdout.split() if not name.endswith(".log")]


def test_executors_on_two_nodes_compute_and_are_gone_when_the_session_stops(
    cluster: RealCluster, kernel: Kernel, slurm: Slurm
) -> None:
    printed = kernel.run(TWO_NODES)
    assert "2 nodes with 2 cores each" in printed
    assert last_json(kernel.run(HOSTS)) == ["shas0101", "shas0102"]
    assert "499500" in kernel.run('print(spark.range(1000).selectExpr("sum(id)").collect())')
    assert len(slurm.live(JOB)) == 1
    kernel.run("spark.stop()")
    eventually(lambda: not slurm.live(JOB))
    assert spark_files(cluster) == []
    eventually(lambda: "deploy.worker.Worker" not in command_lines(cluster, "shas0101", "shas0102"))


def test_pyspark_in_the_image_has_the_private_parts_that_we_use(kernel: Kernel) -> None:
    missing = kernel.run("from flatirons.parallel.spark import compat\nprint(compat.check())")
    assert missing.strip() == "[]"


@full
def test_the_secret_is_in_no_command_line_and_in_nothing_that_slurm_keeps(
    cluster: RealCluster, kernel: Kernel, slurm: Slurm
) -> None:
    kernel.run(TWO_NODES)
    kernel.run(HOSTS)
    secret = kernel.run("print(spark.conf.get('spark.authenticate.secret'))").strip()
    assert len(secret) == 64
    [job] = slurm.live(JOB)
    seen = slurm.kept(job) + command_lines(cluster, "shas0101", "shas0102")
    assert "CoarseGrainedExecutorBackend" in seen
    assert secret not in seen
    [folder] = spark_files(cluster)
    place = f"/home/alice/.local/state/flatirons/spark/{folder}"
    modes = cluster.exec("shas0101", ["stat", "-c", "%a", place, f"{place}/spark.conf"]).stdout.split()
    assert modes == ["700", "600"]


@full
def test_sparks_pages_are_behind_the_notebook_server_and_nowhere_else(
    cluster: RealCluster, kernel: Kernel
) -> None:
    kernel.run(TWO_NODES)
    url = kernel.run("print(spark.sparkContext.uiWebUrl)").strip()
    port = url.rpartition(":")[2]
    page = f"{cluster.hub_url}/user/alice/proxy/{port}/"
    shown = httpx.get(page, headers=kernel.headers, follow_redirects=True, timeout=30)
    assert shown.status_code == 200
    assert shown.url.path == f"/user/alice/proxy/{port}/jobs/"
    assert f'href="/user/alice/proxy/{port}/stages/"' in shown.text
    listening = cluster.exec("shas0101", ["ss", "-Hltn", f"sport = :{port}"]).stdout
    assert re.search(rf"\b127\.0\.0\.1\]?:{port}", listening), listening


@full
def test_a_stranger_cannot_join(cluster: RealCluster, kernel: Kernel) -> None:
    kernel.run(TWO_NODES)
    [folder] = spark_files(cluster)
    place = f"/home/alice/.local/state/flatirons/spark/{folder}"
    url = cluster.exec("shas0101", ["cat", f"{place}/master"]).stdout.strip()
    image = kernel.run("print(os.environ['FLATIRONS_IMAGE'])").strip()
    worker = [
        "/opt/spark/bin/spark-class",
        "org.apache.spark.deploy.worker.Worker",
        "--work-dir",
        "/tmp/bob",
        url,
    ]
    done = cluster.exec("shas0102", ["timeout", "20", "apptainer", "exec", image, *worker], user="bob")
    assert "Successfully registered" not in done.stdout + done.stderr
    assert "Failed to connect to master" in done.stdout + done.stderr, done


@full
def test_the_cluster_of_a_kernel_that_dies_ends(cluster: RealCluster, kernel: Kernel, slurm: Slurm) -> None:
    kernel.run(TWO_NODES)
    [job] = slurm.live(JOB)
    with pytest.raises((SmokeFailure, TimeoutError)):
        kernel.run("import signal; os.kill(os.getpid(), signal.SIGKILL)", deadline_s=5)
    eventually(lambda: slurm.state(job) == "CANCELLED")
    assert spark_files(cluster) == []


@full
def test_the_cell_shows_why_a_job_waits_and_an_interrupt_cancels_it(
    kernel: Kernel, slurm: Slurm, sknl_is_taken: Callable[[], None]
) -> None:
    printed = kernel.run(
        START
        + """
import _thread, threading
threading.Timer(6, _thread.interrupt_main).start()
try:
    session(nodes=2, partition="shas", cpus=8, memory="2G")
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    assert "waits: " in printed
    assert printed.strip().endswith("interrupted")
    eventually(lambda: not slurm.live(JOB))


@full
def test_one_node_is_the_notebooks_own_job(kernel: Kernel, slurm: Slurm) -> None:
    printed = kernel.run(START + "spark = session()\nprint(spark.sparkContext.master)\n" + HOSTS)
    assert "local[2]" in printed
    assert last_json(printed) == ["shas0101"]
    assert slurm.live(JOB) == []
    kernel.run("spark.stop(); spark = session(cpus=1)")
    assert kernel.run("print(spark.sparkContext.master)").strip() == "local[1]"
    kernel.run("spark.stop()")


REFUSALS = [
    ("session(nodes=0)", "nodes: Give a whole number from 1 up, not 0"),
    ("session(cpus=16)", "Your notebook's job has 2 cores on this node, not 16.*nodes=2"),
    ('session(nodes=2, memory="1G")', 'Spark needs .* or more on each node, not 1G. Choose memory="4G"'),
    ("session(nodes=2, cpus=99)", "Slurm refused the job: .*"),
    ('session(nodes=2, account="csdms")', "Slurm refused the job: .*account"),
    ('session(nodes=2, conf={"spark.authenticate": False})', r"session\(\) sets spark.authenticate itself"),
    ("session(node=2)", "has no keyword 'node'; it takes nodes"),
]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("session(nodes=7)", "Slurm refused the job: .*"),
        *(pytest.param(*each, marks=full) for each in REFUSALS),
    ],
)
def test_an_impossible_session_is_refused_with_a_sentence(
    kernel: Kernel, slurm: Slurm, call: str, sentence: str
) -> None:
    with pytest.raises(SmokeFailure, match=f"(?s){sentence}"):
        kernel.run(START + call)
    assert slurm.live(JOB) == []


@full
def test_a_second_session_is_refused_and_after_the_first_there_may_be_another(kernel: Kernel) -> None:
    kernel.run(START + "spark = session()")
    with pytest.raises(SmokeFailure, match=r"has a Spark session already. End it first: spark.stop()"):
        kernel.run("session(nodes=2)")
    kernel.run("spark.stop()")
    kernel.run(TWO_NODES)
    assert last_json(kernel.run(HOSTS)) == ["shas0101", "shas0102"]


@full
def test_stopping_the_server_ends_its_cluster(visitor: Visitor, kernel: Kernel, slurm: Slurm) -> None:
    kernel.run(TWO_NODES)
    [job] = slurm.live(JOB)
    visitor.stop()
    eventually(lambda: slurm.state(job) == "CANCELLED")


SLOW = """
import threading, time
def slow(x):
    import socket, time
    time.sleep(2)
    return x, socket.gethostname()
results = []
slow_rdd = spark.sparkContext.parallelize(range(40), 40).map(slow)
work = threading.Thread(target=lambda: results.extend(slow_rdd.collect()))
work.start()
"""


@full
def test_a_node_that_dies_is_reported_and_the_others_repeat_its_work(
    cluster: RealCluster, kernel: Kernel, slurm: Slurm
) -> None:
    kernel.run(TWO_NODES)
    assert last_json(kernel.run(HOSTS)) == ["shas0101", "shas0102"]
    kernel.run(SLOW)
    instance = cluster.demo.instance
    faults.apply(instance, "kill", "shas0102")
    try:
        printed = kernel.run("work.join(); print(json.dumps(sorted(x for x, _ in results)))", 150)
        assert "Node shas0102 no longer answers: Spark has lost the executor on it" in printed
        assert last_json(printed) == list(range(40))
        assert [slurm.state(job) for job in slurm.live(JOB)] == ["RUNNING"]
        kernel.run("spark.stop()")
    finally:
        faults.apply(instance, "start", "shas0102")
    state = ("sinfo", "-h", "-n", "shas0102", "-p", "shas", "-o", "%T")
    eventually(lambda: slurm.ask(*state) in ("idle", "mixed", "reserved"), 60)


@full
def test_the_tutorial_works_as_written(kernel: Kernel, slurm: Slurm) -> None:
    printed = [kernel.run(block) for block in blocks("tutorial/spark.md")]
    assert "['shas0101', 'shas0102']" in "".join(printed)
    eventually(lambda: not slurm.live(JOB))
