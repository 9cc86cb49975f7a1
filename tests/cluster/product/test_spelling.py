"""The options of sbatch that a site names for its cluster, also where a plugin admits no others."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.demo.visitor import Kernel, Visitor
from cluster.layout import CONTROLLER
from flatirons.errors import SubmitRefused
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import JobSpec
from flatirons.slurm.spelling import Spelling
from flatirons.slurm_form.offers import OfferCache
from tests.cluster.product.ask_slurm import until_running
from tests.cluster.product.cells import last_json, start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

CONF = "/etc/slurm/summit/slurm.conf"
FILTER = "/etc/slurm/summit/cli_filter.lua"
LUA = """\
function slurm_cli_setup_defaults(o, early) return slurm.SUCCESS end
function slurm_cli_pre_submit(o, offset)
  if o["mem"] ~= nil and o["mem"] ~= "" and o["mem"] ~= "-2" then
    slurm.log_error("this site takes --mem-per-cpu only")
    return slurm.ERROR
  end
  return slurm.SUCCESS
end
function slurm_cli_post_submit(offset, job, step) return slurm.SUCCESS end
"""
SCRIPT = "#!/bin/sh\nexec sleep 60\n"
JOB = JobSpec(
    "spelling",
    partition="sgpu",
    account="ucb-general",
    nodes=1,
    cpus=2,
    memory_mib=1000,
    gpus=1,
    gpu_type="v100",
    runtime_minutes=5,
    chdir="/tmp",
    output="/dev/null",
)
PER_CPU = Spelling(memory="--mem-per-cpu")


def spelled(client: SlurmClient, spelling: Spelling) -> SlurmClient:
    """A client for the same cluster, with other options."""
    return SlurmClient(replace(client.cluster, spelling=spelling), client.runner)


@pytest.fixture
def only_mem_per_cpu(cluster: RealCluster) -> Iterator[None]:
    """A plugin of the site refuses --mem, of sbatch and of srun."""

    def on_controller(line: str, text: str = "") -> None:
        done = cluster.exec(CONTROLLER, ["sh", "-c", line], stdin=text)
        assert done.returncode == 0, done.stderr

    on_controller(f"cat >{FILTER} && chmod 644 {FILTER}", LUA)
    on_controller(f"echo CliFilterPlugins=cli_filter/lua >>{CONF}")
    yield
    on_controller(f"sed -i /^CliFilterPlugins=/d {CONF}")


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": "--mem-per-cpu"},
        {"memory": "--mem-per-gpu"},
        {"gpus": "--gpus"},
        {"gpus": "--gpus-per-node"},
        {"gpus": "--gpus-per-task"},
        {"gpus": "--tres-per-task", "cpus": "--tres-per-task"},
        {"cpus": ["--cpus-per-task", "--cores-per-socket"]},
        {"cpus": "--cores-per-socket"},
    ],
)
async def test_each_spelling_of_a_job_is_the_same_job_for_slurm(
    clients: dict[str, SlurmClient], slurm: Slurm, settings: dict[str, object]
) -> None:
    spelling = Spelling.of({f"sbatch_{key}": value for key, value in settings.items()})
    asked = []
    for client in (clients["summit"], spelled(clients["summit"], spelling)):
        start, _ = await client.test_only(JOB, SCRIPT, user="alice")
        assert start is not None
        job = await client.submit(JOB, SCRIPT, user="alice")
        asked.append(slurm.job(job)["ReqTRES"])
        await client.cancel(job, user="alice")
    assert asked[0] == asked[1]


async def test_where_a_plugin_admits_only_memory_for_each_core_servers_and_estimates_use_it(
    clients: dict[str, SlurmClient], slurm: Slurm, only_mem_per_cpu: None
) -> None:
    client = spelled(clients["summit"], PER_CPU)
    with pytest.raises(SubmitRefused, match="this site takes --mem-per-cpu only"):
        await clients["summit"].submit(JOB, SCRIPT, user="alice")
    start, _ = await client.test_only(JOB, SCRIPT, user="alice")
    assert start is not None
    job = await client.submit(JOB, SCRIPT, user="alice")
    assert slurm.job(job)["MinMemoryCPU"] == "500M"
    await client.cancel(job, user="alice")


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm, only_mem_per_cpu: None) -> Iterator[Kernel]:
    """A new kernel in a notebook whose cluster takes memory for each core only."""
    if not visitor.has_server():
        start_server(visitor, cpus="2", memory="")
    made = visitor.kernel()
    made.run(f"import json, os\nos.environ['FLATIRONS_SBATCH'] = {PER_CPU.as_text()!r}")
    yield made
    gc.collect()
    slurm.end_all()


ENGINES = """
from flatirons.parallel import Cluster
rc = Cluster(n=2, memory="600M"{more}).start_and_connect_sync()
hosts = rc[:].apply_sync(lambda: __import__("socket").gethostname())
print(json.dumps([hosts, rc.cluster.engine_set.job_id]))
"""
DASK = """
from dask_jobqueue import SLURMCluster
from distributed import Client
with SLURMCluster(cores=2, memory="2GiB", n_workers=1) as cluster, Client(cluster) as client:
    client.wait_for_workers(1)
    script = cluster.job_script()
    print(json.dumps([client.submit(sum, [1, 2]).result(), script]))
"""


def test_engines_and_dask_follow_where_a_plugin_admits_only_memory_for_each_core(
    kernel: Kernel, slurm: Slurm
) -> None:
    hosts, job = last_json(kernel.run(ENGINES.format(more="")))
    assert len(hosts) == 2
    assert slurm.job(job)["MinMemoryCPU"] == "600M"
    kernel.run("rc.cluster.stop_cluster_sync()")
    hosts, _ = last_json(kernel.run(ENGINES.format(more=", inside=True").replace(', memory="600M"', "")))
    assert len(hosts) == 2
    kernel.run("rc.cluster.stop_cluster_sync()")
    answer, script = last_json(kernel.run(DASK))
    assert answer == 3
    assert "#SBATCH --mem-per-cpu=1024M" in script and "--mem=" not in script


@pytest.fixture
def sgpu_without_memory(cluster: RealCluster) -> Iterator[None]:
    """Slurm allocates no memory in the partition sgpu."""
    again = f"SLURM_CONF={CONF} scontrol reconfigure"

    def on_controller(line: str) -> None:
        done = cluster.exec(CONTROLLER, ["sh", "-c", f"{line} && {again}"])
        assert done.returncode == 0, done.stderr

    on_controller(f"sed -i '/^PartitionName=sgpu /s/$/ SelectTypeParameters=CR_Core/' {CONF}")
    yield
    on_controller(f"sed -i '/^PartitionName=sgpu /s/ SelectTypeParameters=CR_Core//' {CONF}")


async def test_a_job_asks_for_no_memory_in_a_partition_that_allocates_none(
    clients: dict[str, SlurmClient], slurm: Slurm, sgpu_without_memory: None
) -> None:
    rights = (await OfferCache(clients).facts("alice", fresh=True)).rights("summit")
    assert rights
    assert not rights.bounds("sgpu", "ucb-general", "normal").counts_memory
    assert rights.bounds("shas", "ucb-general", "normal").counts_memory
    spec = rights.countable(JOB)
    job = await clients["summit"].submit(spec, SCRIPT, user="alice")
    await until_running(clients["summit"], job)
    assert "mem=" not in slurm.job(job)["AllocTRES"]
    await clients["summit"].cancel(job, user="alice")
