"""dask_jobqueue's stock SLURMCluster from a notebook on the virtual cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from cluster.demo.visitor import Kernel, SmokeFailure, Visitor
from tests.cluster.product.cells import blocks, last_json, start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

WORKERS = "dask-worker"
# More than half of a node's cores each: two don't fit on one node.
TWO_NODES = """
import json, os, socket
from dask.distributed import Client
from dask_jobqueue import SLURMCluster
cluster = SLURMCluster(cores=5, processes=1)
cluster.scale(jobs=2)
client = Client(cluster)
client.wait_for_workers(2, timeout=60)
def probe():
    return {"host": socket.gethostname(), "image": os.environ.get("APPTAINER_CONTAINER", ""),
            "token": "JUPYTERHUB_API_TOKEN" in os.environ}
"""


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    """A new kernel in alice's notebook server; at the end all workers are removed."""
    if not visitor.has_server():
        start_server(visitor)
    yield visitor.kernel()
    slurm.end(WORKERS)


def test_workers_on_two_nodes_compute_in_the_notebooks_image_without_its_token(
    kernel: Kernel, slurm: Slurm
) -> None:
    printed = kernel.run(TWO_NODES + "print(json.dumps([list(client.run(probe).values()), probe()]))")
    workers, notebook = last_json(printed)
    assert "ahead" not in printed, "on an empty cluster nobody is ahead of the workers"
    assert sorted(each["host"] for each in workers) == ["shas0101", "shas0102"]
    assert {each["image"] for each in workers} == {notebook["image"]} != {""}
    assert [each["token"] for each in workers] == [False, False]
    assert notebook["token"]
    assert (
        kernel.run("print(sum(client.gather(client.map(lambda x: x * x, range(100)))))").strip() == "328350"
    )
    kernel.run("client.close(); cluster.close()")
    eventually(lambda: not slurm.live(WORKERS))


def test_the_dashboard_is_behind_the_notebook_server_and_nowhere_else(
    cluster: RealCluster, kernel: Kernel
) -> None:
    link = kernel.run(
        "from dask_jobqueue import SLURMCluster\ncluster = SLURMCluster()\nprint(cluster.dashboard_link)"
    ).strip()
    assert link.startswith("/user/alice/proxy/")
    page = httpx.get(f"{cluster.hub_url}{link}", headers=kernel.headers, timeout=30)
    assert page.status_code == 200
    assert "Dask Diagnostic UI" in page.text
    port = link.split("/")[4]
    [scripts, *_] = re.findall(r'src="([^"]*bokeh[^"]*\.js[^"]*)"', page.text)
    loaded = page.url.join(scripts)
    assert loaded.path.startswith(f"/user/alice/proxy/{port}/"), loaded
    assert httpx.get(loaded, headers=kernel.headers, timeout=30).status_code == 200
    stranger = httpx.get(f"{cluster.hub_url}{link}", timeout=30)
    assert "Dask Diagnostic UI" not in stranger.text
    listening = cluster.exec("shas0101", ["ss", "-Hltn", f"sport = :{port}"]).stdout
    assert f"127.0.0.1:{port}" in listening and "0.0.0.0" not in listening.split()[3]


def test_nobody_can_connect_without_the_users_certificate(cluster: RealCluster, kernel: Kernel) -> None:
    kernel.run("from dask_jobqueue import SLURMCluster\ncluster = SLURMCluster()")
    address = kernel.run("print(cluster.scheduler_address)").strip()
    assert address.startswith("tls://10.")
    file = "/home/alice/.local/state/flatirons/dask/certificate.pem"
    assert cluster.exec("shas0101", ["stat", "-c", "%a %U", file]).stdout.split() == ["600", "alice"]
    host, _, port = address.removeprefix("tls://").partition(":")
    code = (
        "import ssl, socket, sys\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "c.check_hostname, c.verify_mode = False, ssl.CERT_NONE\n"
        "s = c.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2]))))\n"
        "s.settimeout(10); print(s.recv(8))"
    )
    stranger = cluster.exec("shas0102", ["python3", "-c", code, host, port], user="bob")
    assert "certificate required" in stranger.stderr, stranger


def test_the_workers_of_a_kernel_that_dies_end(kernel: Kernel, slurm: Slurm) -> None:
    kernel.run(TWO_NODES)
    assert len(slurm.live(WORKERS)) == 2
    with pytest.raises((SmokeFailure, TimeoutError)):
        kernel.run("import signal; os.kill(os.getpid(), signal.SIGKILL)", deadline_s=5)
    eventually(lambda: not slurm.live(WORKERS))


def test_the_users_settings_override_ours(visitor: Visitor, kernel: Kernel) -> None:
    kernel.run(
        """
from pathlib import Path
place = Path("~/.config/dask/mine.yaml").expanduser()
place.parent.mkdir(parents=True, exist_ok=True)
place.write_text('{jobqueue: {slurm: {cores: 3, walltime: "0:07:00"}}}')
"""
    )
    other = visitor.kernel()
    script = other.run("from dask_jobqueue import SLURMCluster\nprint(SLURMCluster().job_script())")
    kernel.run("place.unlink()")
    assert "#SBATCH --cpus-per-task=3" in script
    assert "#SBATCH -t 0:07:00" in script
    assert "#SBATCH -A ucb-general" in script


def test_a_refusal_is_shown_in_slurms_own_words_with_what_to_do(kernel: Kernel, slurm: Slurm) -> None:
    printed = kernel.run(
        """
import io, sys, time
shown, sys.stderr = sys.stderr, io.StringIO()  # which Dask keeps when it is imported
from dask_jobqueue import SLURMCluster
cluster = SLURMCluster(account="csdms")
cluster.scale(jobs=1)
deadline = time.monotonic() + 20
while "SubmitRefused" not in sys.stderr.getvalue() and time.monotonic() < deadline:
    time.sleep(0.1)
print(sys.stderr.getvalue())
sys.stderr = shown
"""
    )
    last = printed.strip().splitlines()[-1]
    assert "SubmitRefused: Slurm refused the job: Invalid account or account/partition combination" in last
    assert "Choose another" in last
    assert slurm.live(WORKERS) == []


def test_the_notebook_shows_why_workers_wait(kernel: Kernel, slurm: Slurm) -> None:
    printed = kernel.run(
        """
import time
from dask_jobqueue import SLURMCluster
from flatirons.parallel.dask.jobs import worker_jobs
cluster = SLURMCluster(job_extra_directives=["--export=NIL", "--begin=now+1hour"])
cluster.scale(jobs=2)
deadline = time.monotonic() + 20
while not worker_jobs().shown and time.monotonic() < deadline:
    time.sleep(0.1)
""",
        60,
    )
    assert re.search(
        r"of Dask's workers wait, the first \(job \d+\): It may not start yet", printed
    ) or re.search(r"Dask's worker \(job \d+\) waits: It may not start yet", printed)
    kernel.run("cluster.close()")
    eventually(lambda: not slurm.live(WORKERS))


def test_the_tutorial_works_as_written(kernel: Kernel, slurm: Slurm) -> None:
    printed = [kernel.run(block) for block in blocks("tutorial/dask.md")]
    assert "['shas0101', 'shas0102']" in "".join(printed)
    eventually(lambda: not slurm.live(WORKERS))
