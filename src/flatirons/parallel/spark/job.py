"""A standalone Spark cluster as one Slurm job: its size, its request, its script, its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons import units
from flatirons.errors import OptionsRefused
from flatirons.job import script
from flatirons.parallel import liveness
from flatirons.parallel.job_specs import make_job_spec
from flatirons.parallel.job_variables import read_count, read_memory_mib
from flatirons.parallel.login_environment import LOGIN_LINES
from flatirons.parallel.options import EngineOptions
from flatirons.slurm.model import JobSpec
from flatirons.slurm.sizes import cpu_options
from flatirons.slurm.spelling import USUAL, Spelling

JOB_NAME = "spark"
CONFIG = "spark.conf"
"""File in the cluster's directory with the settings of master and workers; it holds the secret."""
MASTER = "master"
"""File in the cluster's directory with the master's URL."""
LIVENESS_KEY = "liveness.key"
"""File in the cluster's directory with the key to the notebook's liveness port."""
DAEMONS_MIB = 768  # for master and worker on one node; each was seen to use 200 to 250 MiB
HEAP_SHARE = 0.6  # of the rest; the remainder is for Python's workers and for Java outside of its heap
WORKER_TIMEOUT = 30  # seconds without a heartbeat, after which others repeat a worker's work; default 60
LEAST_HEAP_MIB = 512  # Spark refuses less than 450
LEAST_NODE_MIB = 2048
_PAGES = {
    "spark.ui.killEnabled": "false",  # the pages have no password, and others may use this node
    "spark.ui.port": "0",
    # From any page up to the root of the host, whose name isn't known here: jupyter-server-proxy would put
    # its prefix before an absolute path, which has the prefix already.
    "spark.ui.proxyRedirectUri": "/".join([".."] * 16),
}
# In order: the connection to the notebook's liveness port, which ends with the notebook; the master; a worker
# on each node. Whichever ends first ends the job.
_RUN = (
    liveness.CONNECT
    + """
folder=$4 words=$5
shift 5
master=("${@:1:words}")
shift "$words"
(
    read -r -u 3 2>/dev/null
    echo "The notebook has ended, so Spark ends." >&2
    rm -rf -- "$folder"
    scancel "$SLURM_JOB_ID"
) &
"${master[@]}" 3>&- &
"$@" 3>&- &
wait -n"""
)


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What one node of the cluster has: cores, MiB of memory, and how much of that is Java's heap."""

    cores: int
    memory_mib: int
    heap_mib: int


def notebook_size(job: Mapping[str, str], cores_seen: int) -> tuple[int, int]:
    """Cores and MiB of the notebook's job on this node; 0 MiB where Slurm doesn't say."""
    cores = read_count(job, "SLURM_CPUS_ON_NODE") or cores_seen
    return cores, read_memory_mib(job, cores)


def node_size(options: EngineOptions, own: tuple[int, int]) -> NodeSize:
    """Each node of a cluster: what the user requests, else what the notebook has. Raises OptionsRefused."""
    cores = options.cpus or own[0]
    memory = options.memory or max(own[1], LEAST_NODE_MIB)
    heap = int((memory - DAEMONS_MIB) * HEAP_SHARE)
    if heap < LEAST_HEAP_MIB:
        least = int(LEAST_HEAP_MIB / HEAP_SHARE) + DAEMONS_MIB + 1
        sentence = (
            f"Spark needs {least}M or more on each node, not {units.memory(memory)}. Choose memory="
            '"4G", for example.'
        )
        raise OptionsRefused({"memory": sentence})
    return NodeSize(cores, memory, heap)


def local_size(options: EngineOptions, own: tuple[int, int]) -> NodeSize:
    """Spark inside the notebook's own job, with at most what that job has. Raises OptionsRefused."""
    _refuse_more_than(own, options)
    cores, notebook_memory = own
    memory = options.memory or notebook_memory
    heap = memory // 2 if memory else 1024
    if heap < LEAST_HEAP_MIB:
        least = units.memory(2 * LEAST_HEAP_MIB)
        raise OptionsRefused({"memory": f"Spark needs {least} or more: start a notebook with more memory."})
    return NodeSize(options.cpus or cores, memory, heap)


def _refuse_more_than(own: tuple[int, int], options: EngineOptions) -> None:
    cores, memory = own
    refused = {}
    if options.cpus > cores:
        refused["cpus"] = f"Your notebook's job has {cores} cores on this node, not {options.cpus}."
    if memory and options.memory > memory:
        has, wanted = units.memory(memory), units.memory(options.memory)
        refused["memory"] = f"Your notebook's job has {has} on this node, not {wanted}."
    if refused:
        advice = "Request no more than that, start a larger notebook, or use nodes=2 for a separate job."
        raise OptionsRefused({**refused, "nodes": advice})


def job_spec(nodes: int, size: NodeSize, options: EngineOptions, *, comment: str, log: str) -> JobSpec:
    """The job of a cluster: one task on each node, with all that is requested there."""
    return make_job_spec(
        options,
        name=JOB_NAME,
        comment=comment,
        log=log,
        nodes=nodes,
        ntasks=nodes,
        cpus=size.cores,
        memory_mib=size.memory_mib,
        ntasks_per_node=1,
        extra=("--no-kill",),
    )


def job_script(
    nodes: int,
    size: NodeSize,
    python: Sequence[str],
    *,
    folder: str,
    notebook: tuple[str, int],
    login: str = LOGIN_LINES,
    spelling: Spelling = USUAL,
) -> str:
    """The batch script. It holds no secret, because Slurm keeps scripts.

    `python` is the notebook's, with its container; `notebook` the address of the notebook's liveness port.
    """
    node = [*python, "-m", "flatirons.parallel.spark.node"]
    master = [*node, "master", folder]
    step = [
        *("srun", "--export=ALL", f"--ntasks={nodes}", "--ntasks-per-node=1"),
        *(*cpu_options(size.cores, spelling), "--kill-on-bad-exit=1", "--no-kill", "--label"),
    ]
    worker = [*step, *node, "worker", folder, str(size.cores), str(size.heap_mib)]
    where = [notebook[0], str(notebook[1]), f"{folder}/{LIVENESS_KEY}", folder, str(len(master))]
    return script.compose(login, [["exec", "bash", "-c", _RUN, "bash", *where, *master, *worker]])


def _security_settings(secret: str) -> dict[str, str]:
    """Settings by which the parts of a cluster authenticate each other and encrypt their connections."""
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
    }


def daemon_settings(secret: str) -> str:
    """The text of the settings file for master and workers."""
    more = {
        "spark.master.rest.enabled": "false",  # it would accept jobs from anybody
        "spark.ui.killEnabled": "false",
        "spark.port.maxRetries": "0",  # the master must have the port that was written down
        "spark.worker.timeout": str(WORKER_TIMEOUT),
    }
    return "".join(f"{name} {text}\n" for name, text in {**_security_settings(secret), **more}.items())


def cluster_settings(master: str, nodes: int, size: NodeSize, address: str, secret: str) -> dict[str, str]:
    """The driver's settings for a cluster; its first computation waits up to a minute for all nodes."""
    return {
        **_PAGES,
        **_security_settings(secret),
        "spark.master": master,
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.cores.max": str(nodes * size.cores),
        "spark.executor.cores": str(size.cores),
        "spark.executor.memory": f"{size.heap_mib}m",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
    }


def local_settings(size: NodeSize) -> dict[str, str]:
    """The driver's settings without a cluster; no other node can reach it."""
    return {
        **_PAGES,
        "spark.master": f"local[{size.cores}]",
        "spark.authenticate": "true",  # Spark makes a secret itself
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }


def add_user_settings(settings: Mapping[str, str], users: Mapping[str, Any]) -> dict[str, str]:
    """The settings, overridden by the user's. Raises OptionsRefused for those that `session` sets."""
    for name in users:
        if name == "spark.master" or name.startswith(("spark.authenticate", "spark.network.crypto")):
            raise OptionsRefused({"conf": f"session() sets {name} itself; leave it out."})
    return {**settings, **{name: _text(value) for name, value in users.items()}}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
