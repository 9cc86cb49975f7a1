"""A standalone Spark cluster as one Slurm job: how big, what is asked, its script, its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.errors import OptionsRefused
from flatirons.job import script
from flatirons.parallel.login_environment import LOG_IN
from flatirons.parallel.options import EngineOptions
from flatirons.slurm.model import JobSpec

JOB_NAME = "spark"
CONFIG = "spark.conf"
"""File with the settings of master and workers in the cluster's directory; it holds the secret."""
MASTER = "master"
"""File in which the master says its URL."""
DAEMONS_MIB = 768  # master and worker on one node, as seen: 200 to 250 MiB each
HEAP_SHARE = 0.6  # of what they leave; the rest is for Python's workers and what Java has besides its heap
WORKER_TIMEOUT = 30  # seconds without a sign of life, after which its work is done elsewhere; Spark says 60
LEAST_HEAP_MIB = 512  # Spark refuses less than 450
LEAST_NODE_MIB = 2048
_PAGES = {
    "spark.ui.killEnabled": "false",  # they have no password, and others may be on this node
    "spark.ui.port": "0",
    # From any page up to the root of the host, whose name we don't know: jupyter-server-proxy would put its
    # own prefix before an absolute path, which has that already.
    "spark.ui.proxyRedirectUri": "/".join([".."] * 16),
}
# From the top: the lifeline to the notebook, which the operating system ends when that ends, even by a kill;
# the master; a worker on each node. Whichever ends first ends the job.
_RUN = """\
if ! exec 3<>"/dev/tcp/$1/$2"; then
    echo "Nothing listens at $1 port $2: the notebook has ended, or this node can't reach it." >&2
    exit 1
fi
folder=$3 words=$4
shift 4
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


@dataclass(frozen=True, slots=True)
class Size:
    """What one node of the cluster has: cores, MiB, and how much of those is Java's heap."""

    cores: int
    memory_mib: int
    heap_mib: int


def own_size(job: Mapping[str, str], cores_seen: int) -> tuple[int, int]:
    """Cores and MiB that the notebook's job has on this node; 0 MiB where Slurm doesn't tell."""
    cores = _number(job, "SLURM_CPUS_ON_NODE") or cores_seen
    return cores, _number(job, "SLURM_MEM_PER_NODE") or _number(job, "SLURM_MEM_PER_CPU") * cores


def node_size(options: EngineOptions, own: tuple[int, int]) -> Size:
    """Each node of a cluster: what is asked, else what the notebook has. Raises OptionsRefused."""
    cores = options.cpus or own[0]
    memory = options.memory or max(own[1], LEAST_NODE_MIB)
    heap = int((memory - DAEMONS_MIB) * HEAP_SHARE)
    if heap < LEAST_HEAP_MIB:
        least = int(LEAST_HEAP_MIB / HEAP_SHARE) + DAEMONS_MIB + 1
        raise OptionsRefused(
            {"memory": f'Spark needs {least}M or more on each node, not {memory}M. Say memory="4G".'}
        )
    return Size(cores, memory, heap)


def local_size(options: EngineOptions, own: tuple[int, int]) -> Size:
    """Spark inside the notebook's own job; it can't have more than that has. Raises OptionsRefused."""
    cores, memory = own
    refused = {}
    if options.cpus > cores:
        refused["cpus"] = f"Your notebook's job has {cores} cores on this node, not {options.cpus}."
    if memory and options.memory > memory:
        refused["memory"] = f"Your notebook's job has {memory}M on this node, not {options.memory}M."
    if refused:
        last = "Ask for no more than that, start a notebook with more, or say nodes=2 for a job of its own."
        raise OptionsRefused({**refused, "nodes": last})
    asked = options.memory or memory
    heap = asked // 2 if asked else 1024
    if heap < LEAST_HEAP_MIB:
        raise OptionsRefused(
            {"memory": f"Spark needs {2 * LEAST_HEAP_MIB}M or more: start a notebook with more memory."}
        )
    return Size(options.cpus or cores, asked, heap)


def job_spec(nodes: int, size: Size, options: EngineOptions, *, comment: str, log: str) -> JobSpec:
    """The job of a cluster: one task on each node, which gets all that is asked there."""
    return JobSpec(
        name=JOB_NAME,
        comment=comment,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        reservation=options.reservation,
        nodes=nodes,
        ntasks=nodes,
        cpus=size.cores,
        memory_mib=size.memory_mib,
        runtime_minutes=options.runtime,
        output=log.replace("%", "%%"),  # sbatch(1), filename pattern
        extra=("--ntasks-per-node=1", "--no-kill"),
    )


def job_script(
    nodes: int,
    size: Size,
    python: Sequence[str],
    *,
    folder: str,
    lifeline: tuple[str, int],
    log_in: str = LOG_IN,
) -> str:
    """The batch script; `python` is the notebook's, container included. Slurm keeps scripts: no secret."""
    node = [*python, "-m", "flatirons.parallel.spark.node"]
    master = [*node, "master", folder]
    step = [
        *("srun", "--export=ALL", f"--ntasks={nodes}", "--ntasks-per-node=1"),
        *(f"--cpus-per-task={size.cores}", "--kill-on-bad-exit=1", "--no-kill", "--label"),
    ]
    worker = [*step, *node, "worker", folder, str(size.cores), str(size.heap_mib)]
    where = [lifeline[0], str(lifeline[1]), folder, str(len(master))]
    return script.compose(log_in, [["exec", "bash", "-c", _RUN, "bash", *where, *master, *worker]])


def secured(secret: str) -> dict[str, str]:
    """Settings by which all of a cluster know each other, and encrypt what they say."""
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
    }


def daemons_settings(secret: str) -> str:
    """The text of the file for master and workers."""
    more = {
        "spark.master.rest.enabled": "false",  # would take jobs from anybody
        "spark.ui.killEnabled": "false",
        "spark.port.maxRetries": "0",  # the master's port is known to others
        "spark.worker.timeout": str(WORKER_TIMEOUT),
    }
    return "".join(f"{name} {text}\n" for name, text in {**secured(secret), **more}.items())


def cluster_settings(master: str, nodes: int, size: Size, address: str, secret: str) -> dict[str, str]:
    """The notebook's settings for a cluster; its first computation waits for all nodes, at most a minute."""
    return {
        **_PAGES,
        **secured(secret),
        "spark.master": master,
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.cores.max": str(nodes * size.cores),
        "spark.executor.cores": str(size.cores),
        "spark.executor.memory": f"{size.heap_mib}m",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "60s",
    }


def local_settings(size: Size) -> dict[str, str]:
    """The notebook's settings without a cluster; nobody else can reach it."""
    return {
        **_PAGES,
        "spark.master": f"local[{size.cores}]",
        "spark.authenticate": "true",  # Spark makes a secret itself
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }


def with_users(settings: Mapping[str, str], users: Mapping[str, Any]) -> dict[str, str]:
    """The settings, the user's own over them but for those that keep others out. Raises OptionsRefused."""
    for name in users:
        if name == "spark.master" or name.startswith(("spark.authenticate", "spark.network.crypto")):
            raise OptionsRefused({"conf": f"{name} is decided by session(); leave it out."})
    return {**settings, **{name: _text(value) for name, value in users.items()}}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(job: Mapping[str, str], name: str) -> int:
    text = job.get(name, "")
    return int(text) if text.isdecimal() else 0
