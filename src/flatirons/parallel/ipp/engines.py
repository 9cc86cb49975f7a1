"""A set of engines as one Slurm job, or as a step of the notebook's job: its parts. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flatirons.errors import OptionsRefused
from flatirons.job import script
from flatirons.parallel import liveness
from flatirons.parallel.job_context import JOB_NAME
from flatirons.parallel.job_specs import make_job_spec
from flatirons.parallel.job_variables import read_memory_mib
from flatirons.parallel.login_environment import LOGIN_LINES
from flatirons.parallel.options import EngineOptions
from flatirons.slurm.model import JobSpec
from flatirons.slurm.sizes import cpu_options
from flatirons.slurm.spelling import USUAL, Spelling

# One task on each node starts all engines of that node (ipp.node) and gets all of the job's cores there.
_ONE_TASK_A_NODE = """\
export FLATIRONS_ENGINES="$SLURM_TASKS_PER_NODE" SLURM_NTASKS="$SLURM_JOB_NUM_NODES" SLURM_NTASKS_PER_NODE=1
unset SLURM_NPROCS SLURM_TASKS_PER_NODE SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK SLURM_TRES_PER_TASK
unset SLURM_MEM_PER_CPU SLURM_MEM_PER_NODE SLURM_MEM_PER_GPU
"""
PER_NODE = "FLATIRONS_ENGINES"
"""Variable with the number of engines on each node of the step; a task without it is one engine itself."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")
_TEST_CONNECTION = """\
if ! true <>"/dev/tcp/$1/$2"; then
    echo "Nothing listens at $1 port $2: the notebook has ended, or this node can't reach it." >&2
    exit 1
fi"""
# $4 and all that follows is the command.
_END_WITH_CONTROLLER = (
    liveness.CONNECT
    + """
shift 3
(
    read -r -u 3 2>/dev/null
    echo "The notebook has ended, so its engines end." >&2
    {end}
) &
exec "$@" 3>&-"""
)
_END_JOB = 'scancel "$SLURM_JOB_ID"'
_END_STEP = "kill $$"  # srun, which ends its step
_JOB_ONLY = ("partition", "account", "qos", "reservation", "runtime")


def job_spec(
    n: int,
    options: EngineOptions,
    spelling: Spelling = USUAL,
    *,
    comment: str = "",
    folder: str = "",
    log: str = "",
) -> JobSpec:
    """The job of `n` engines, one task for each; evenly spread if the options say a number of nodes.

    The engines work in `folder` and write to the file `log`. Raises OptionsRefused, also for what the
    cluster's options can't express.
    """
    if n < 1:
        raise OptionsRefused({"n": f"A set has at least one engine, not {n}."})
    nodes = min(options.nodes, n)
    most = _most_on_a_node(n, nodes, options)
    if options.memory and spelling.memory == "--mem" and not most and n > 1:
        sentence = (
            "This cluster takes memory for whole nodes only. Say also how many nodes, or engines_per_node."
        )
        raise OptionsRefused({"memory": sentence})
    return make_job_spec(
        options,
        name=JOB_NAME,
        comment=comment,
        log=log,
        nodes=nodes,
        ntasks=n,
        ntasks_per_node=most,
        cpus=options.cpus,
        mem_per_cpu_mib=-(-options.memory // max(1, options.cpus)),
        chdir=folder,
        extra=() if options.mpi else ("--no-kill",),  # an MPI program needs all of its nodes
    )


def _most_on_a_node(n: int, nodes: int, options: EngineOptions) -> int:
    """The most engines on one node, 0 where Slurm decides: it may put 7 of 8 engines on one of 2 nodes."""
    most = options.engines_per_node
    if nodes and most and nodes * most < n:
        sentence = f"{n} engines don't fit on {nodes} nodes with at most {most} on each."
        raise OptionsRefused({"nodes": sentence})
    return min(-(-n // nodes) if nodes else most, n)


def engine_argv(
    command: Sequence[str], profile_dir: str, cluster_id: str, more: Sequence[str] = ()
) -> list[str]:
    """The argv of one engine, or of all engines of a node. Keys are in the profile's connection file only.

    An engine ends half a minute after the controller fell silent, so it ends with the notebook in any case.
    """
    return [
        *command,
        f"--profile-dir={profile_dir}",
        *([f"--cluster-id={cluster_id}"] if cluster_id else []),
        "--IPEngine.wait_for_url_file=60",  # seconds; a shared file system may show the file late
        "--IPEngine.timeout=60",  # seconds; hundreds of engines may register at once
        "--IPEngine.max_heartbeat_misses=20",
        *more,
    ]


class ControllerAddress(NamedTuple):
    """Where a controller listens. `liveness` is a port of ipp.controller, 0 for ipyparallel's controller.

    The key to that port is in the file `liveness_key`, which only the user can read.
    """

    host: str
    registration: int
    liveness: int = 0
    liveness_key: str = ""

    @classmethod
    def parse(cls, connection_info: str) -> ControllerAddress | None:
        """The address in the text of an engines' connection file; None when it isn't a network address."""
        if not connection_info:
            return None
        known = json.loads(connection_info)
        protocol, _, host = known["interface"].partition("://")
        if protocol != "tcp":
            return None
        return cls(host, known["registration"], known.get("liveness", 0), known.get("liveness_key", ""))


def parse_counts(text: str) -> list[int]:
    """The number for each node, from Slurm's `4(x2),3`. Raises ValueError.

    Source: output environment variables in sbatch(1).
    """
    found: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part)
        if not match:
            raise ValueError(f"not numbers for each node as Slurm writes them: {text!r}")
        found += [int(match[1])] * int(match[2] or 1)
    return found


def place_inside(n: int, options: EngineOptions, environ: Mapping[str, str]) -> list[int]:
    """How many of `n` engines to start on each node of the notebook's own job. Raises OptionsRefused.

    The engines are spread evenly. `environ` is that of the job. Engines and notebook share the job's cores
    and memory; the job must have enough for each engine.
    """
    if "SLURM_JOB_ID" not in environ:
        raise _no_room("The notebook doesn't run in a job.")
    cores = parse_counts(environ.get("SLURM_JOB_CPUS_PER_NODE") or environ.get("SLURM_CPUS_ON_NODE") or "1")
    room = [_count_room(options, each, environ) for each in cores][: options.nodes or None]
    if sum(room) < n:
        has = f"{sum(cores)} cores" if len(cores) > 1 or cores[0] > 1 else "one core"
        raise _no_room(f"The notebook's job has {has}, room for {sum(room)} such engines, not for {n}.")
    placed = [0] * len(room)
    while sum(placed) < n:
        free = [number for number in range(len(room)) if placed[number] < room[number]]
        placed[min(free, key=placed.__getitem__)] += 1
    while not placed[-1]:
        placed.pop()
    return placed


def _count_room(options: EngineOptions, cores: int, environ: Mapping[str, str]) -> int:
    """How many engines fit on a node where the job has so many cores."""
    limits = [cores // (options.cpus or 1)]
    memory = read_memory_mib(environ, cores)
    if options.memory and memory:
        limits.append(memory // options.memory)
    if options.engines_per_node:
        limits.append(options.engines_per_node)
    return min(limits)


def _no_room(why: str) -> OptionsRefused:
    advice = "Request fewer engines, or leave out inside: then they get a separate job."
    return OptionsRefused({"inside": f"{why} {advice}"})


def refuse_job_options(requested: EngineOptions) -> None:
    """Raises OptionsRefused if engines inside the notebook's job request what only a separate job has."""
    for name in _JOB_ONLY:
        if getattr(requested, name):
            sentence = "Engines inside the notebook's job use what that job has. Leave this out, or inside."
            raise OptionsRefused({name: sentence})


def job_script(
    n: int,
    options: EngineOptions,
    engine: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    controller: ControllerAddress | None = None,
    is_forked: bool = True,
    login: str = LOGIN_LINES,
    spelling: Spelling = USUAL,
) -> str:
    """The batch script, which runs one step. `environment` must hold no secret, because Slurm keeps scripts.

    The step has one task on each node, which forks the engines there; if not `is_forked`, and for MPI, it has
    one task for each engine. The job ends when the `controller` ends, and at once if that is gone already.
    """
    exports = [["export", f"{name}={value}"] for name, value in (environment or {}).items() if _is_name(name)]
    one_a_node = is_forked and not options.mpi
    step = [
        *_srun(),
        *(_node_tasks(spelling) if one_a_node else _engine_tasks(n, options, spelling)),
        *engine,
    ]
    connection_test: list[list[str]] = []
    if controller:
        where = [controller.host, str(controller.liveness or controller.registration)]
        connection_test = [["timeout", "30", "bash", "-c", _TEST_CONNECTION, "bash", *where]]
        step = _end_with(controller, step, _END_JOB)
    prologue = login + (_ONE_TASK_A_NODE if one_a_node else "")
    return script.compose(prologue, [*connection_test, *exports, ["exec", *step]])


def step_argv(
    job_id: str,
    name: str,
    placed: Sequence[int],
    engine: Sequence[str],
    controller: ControllerAddress | None = None,
    spelling: Spelling = USUAL,
) -> list[str]:
    """The srun command that runs engines as a step of the notebook's own job, on all of that job's cores."""
    where = [f"--jobid={job_id}", "--overlap", f"--job-name={name}", "--relative=0"]
    size = [f"--nodes={len(placed)}", f"--ntasks={len(placed)}"]
    step = [*_srun(), *_node_tasks(spelling), *where, *size, *engine]
    variable = f"{PER_NODE}={','.join(str(count) for count in placed)}"
    return ["env", variable, *(_end_with(controller, step, _END_STEP) if controller else step)]


def _end_with(controller: ControllerAddress, step: Sequence[str], end: str) -> list[str]:
    """The step, together with a shell that runs `end` when the controller ends."""
    if not controller.liveness:
        return list(step)
    text = _END_WITH_CONTROLLER.replace("{end}", end)
    where = [controller.host, str(controller.liveness), controller.liveness_key]
    return ["bash", "-c", text, "bash", *where, *step]


def _srun() -> list[str]:
    return [
        *("srun", "--export=ALL"),
        "--kill-on-bad-exit=0",  # an engine that crashes doesn't end the others
        "--wait=0",  # nor does an engine that ends early
        "--label",
    ]


def _node_tasks(spelling: Spelling) -> list[str]:
    """A task on each node with all cores and all memory of the job there.

    A step without --mem gets all memory too, unless the site has another default. A node that fails takes
    only its own engines with it.
    """
    memory = ["--mem=0"] if spelling.memory in ("", "--mem") else []
    return ["--ntasks-per-node=1", "--cpu-bind=none", *memory, "--no-kill"]


def _engine_tasks(n: int, options: EngineOptions, spelling: Spelling) -> list[str]:
    return [
        f"--ntasks={n}",
        *cpu_options(options.cpus, spelling),  # since 22.05 srun doesn't inherit them
        *([f"--mpi={options.mpi}"] if options.mpi else []),
    ]


def _is_name(name: str) -> bool:
    if not _VARIABLE.fullmatch(name):
        raise OptionsRefused({"environment": f"{name!r} can't be the name of an environment variable."})
    return True
