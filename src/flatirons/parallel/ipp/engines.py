"""A set of engines as one Slurm job: its JobSpec, its script, the container around each engine. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flatirons.errors import OptionsRefused
from flatirons.job import script
from flatirons.parallel.job_context import JOB_NAME
from flatirons.parallel.login_environment import LOG_IN
from flatirons.parallel.options import EngineOptions
from flatirons.slurm.model import JobSpec

# One task on each node starts all engines of that node (parallel.node): it gets all of the job's cores there.
_A_TASK_EACH_NODE = """\
export FLATIRONS_ENGINES="$SLURM_TASKS_PER_NODE" SLURM_NTASKS="$SLURM_JOB_NUM_NODES" SLURM_NTASKS_PER_NODE=1
unset SLURM_NPROCS SLURM_TASKS_PER_NODE SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK SLURM_MEM_PER_CPU
"""
PER_NODE = "FLATIRONS_ENGINES"
"""Variable with how many engines each node of the step has; a task without it is an engine itself."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")
_KNOCK = """\
if ! true <>"/dev/tcp/$1/$2"; then
    echo "Nothing listens at $1 port $2: the notebook has ended, or this node can't reach it." >&2
    exit 1
fi"""
# The operating system ends this connection when the controller ends, even one that was killed.
_LIFELINE = """\
exec 3<>"/dev/tcp/$1/$2" || exit
shift 2
(
    read -r -u 3 2>/dev/null
    echo "The notebook has ended, so its engines end." >&2
    {end}
) &
exec "$@" 3>&-"""
_END_JOB = 'scancel "$SLURM_JOB_ID"'
_END_STEP = "kill $$"  # srun, which ends its step
_OF_A_JOB = ("partition", "account", "qos", "reservation", "runtime")


def job_spec(
    n: int, options: EngineOptions, *, comment: str = "", folder: str = "", log: str = ""
) -> JobSpec:
    """The job of `n` engines: one task each, spread evenly where a number of nodes is asked for.

    `folder` is where the engines work, `log` where their output goes. Raises OptionsRefused.
    """
    if n < 1:
        raise OptionsRefused({"n": f"A set has at least one engine, not {n}."})
    nodes = min(options.nodes, n)
    return JobSpec(
        name=JOB_NAME,
        comment=comment,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        reservation=options.reservation,
        nodes=nodes,
        ntasks=n,
        cpus=options.cpus,
        runtime_minutes=options.runtime,
        chdir=folder,
        output=log.replace("%", "%%"),  # sbatch(1), filename pattern
        extra=tuple(_placement(n, nodes, options)),
    )


def _placement(n: int, nodes: int, options: EngineOptions) -> list[str]:
    """Options of sbatch beyond JobSpec's; without the first, 7 of 8 engines may land on one of 2 nodes."""
    words = [] if options.mpi else ["--no-kill"]  # MPI programs can't lose a node
    most = options.engines_per_node
    if nodes and most and nodes * most < n:
        sentence = f"{n} engines don't fit on {nodes} nodes with at most {most} on each."
        raise OptionsRefused({"nodes": sentence})
    if nodes:
        most = -(-n // nodes)
    if most:
        words.append(f"--ntasks-per-node={min(most, n)}")
    if options.memory:
        words.append(f"--mem-per-cpu={-(-options.memory // max(1, options.cpus))}M")
    return words


def engine_argv(
    command: Sequence[str], profile_dir: str, cluster_id: str, more: Sequence[str] = ()
) -> list[str]:
    """An engine, or all of a node. No key is in any argv: the profile has a connection file.

    It gives up half a minute after the controller fell silent: it ends with the notebook, however that ends.
    """
    return [
        *command,
        f"--profile-dir={profile_dir}",
        *([f"--cluster-id={cluster_id}"] if cluster_id else []),
        "--IPEngine.wait_for_url_file=60",  # a shared filesystem may show the file late
        "--IPEngine.timeout=60",  # hundreds may register at once
        "--IPEngine.max_heartbeat_misses=20",
        *more,
    ]


class Controller(NamedTuple):
    """Where a controller listens; `lifeline` is the port of our own, which lives as long as it."""

    host: str
    registration: int
    lifeline: int = 0

    @classmethod
    def of(cls, connection_info: str) -> Controller | None:
        """What the text of an engines' connection file says; None when it isn't on the network."""
        if not connection_info:
            return None
        known = json.loads(connection_info)
        protocol, _, host = known["interface"].partition("://")
        return cls(host, known["registration"], known.get("lifeline", 0)) if protocol == "tcp" else None


def counts(text: str) -> list[int]:
    """How many each node has, from `4(x2),3`. Raises ValueError. Source: output variables in sbatch(1)."""
    found: list[int] = []
    for part in text.split(","):
        match = _COUNT.fullmatch(part)
        if not match:
            raise ValueError(f"not numbers for each node as Slurm writes them: {text!r}")
        found += [int(match[1])] * int(match[2] or 1)
    return found


def places(n: int, options: EngineOptions, environ: Mapping[str, str]) -> list[int]:
    """How many of `n` engines go on each node of the notebook's own job, evenly. Raises OptionsRefused.

    `environ` is that of the job. Engines share cores and memory with the notebook: each engine's must be
    there, nobody else has them.
    """
    if "SLURM_JOB_ID" not in environ:
        raise _no_room("There is no job here to be inside of.")
    cores = counts(environ.get("SLURM_JOB_CPUS_PER_NODE") or environ.get("SLURM_CPUS_ON_NODE") or "1")
    most = [_most(options, each, environ) for each in cores][: options.nodes or None]
    if sum(most) < n:
        has = f"{sum(cores)} cores" if len(cores) > 1 or cores[0] > 1 else "one core"
        raise _no_room(f"The notebook's job has {has}, room for {sum(most)} such engines, not for {n}.")
    placed = [0] * len(most)
    while sum(placed) < n:
        free = [number for number in range(len(most)) if placed[number] < most[number]]
        placed[min(free, key=placed.__getitem__)] += 1
    while not placed[-1]:
        placed.pop()
    return placed


def _most(options: EngineOptions, cores: int, environ: Mapping[str, str]) -> int:
    """How many engines there is room for on a node where the job has so many cores."""
    limits = [cores // (options.cpus or 1)]
    memory = int(environ.get("SLURM_MEM_PER_NODE") or int(environ.get("SLURM_MEM_PER_CPU") or 0) * cores)
    if options.memory and memory:
        limits.append(memory // options.memory)
    if options.engines_per_node:
        limits.append(options.engines_per_node)
    return min(limits)


def _no_room(why: str) -> OptionsRefused:
    advice = "Ask for fewer engines, or leave inside out: then they are a job of their own."
    return OptionsRefused({"inside": f"{why} {advice}"})


def refuse_a_jobs_wishes(asked: EngineOptions) -> None:
    """Raises OptionsRefused when engines inside the notebook's job are to have what only a job can have."""
    for name in _OF_A_JOB:
        if getattr(asked, name):
            sentence = "Engines inside the notebook's job have what that has. Leave this out, or inside."
            raise OptionsRefused({name: sentence})


def job_script(
    n: int,
    options: EngineOptions,
    engine: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    controller: Controller | None = None,
    is_forked: bool = True,
    log_in: str = LOG_IN,
) -> str:
    """The batch script: one step. Slurm keeps scripts: no secret in `environment`.

    One task on each node, which forks the engines there; if not `is_forked`, or for MPI, a task for each.
    The job ends when the `controller` does, and at once when that is gone by the time that it starts.
    """
    exports = [["export", f"{name}={value}"] for name, value in (environment or {}).items() if _is_name(name)]
    each = is_forked and not options.mpi
    step = [*_srun(), *(_ONE_A_NODE if each else _one_an_engine(n, options)), *engine]
    knock: list[list[str]] = []
    if controller:
        where = [controller.host, str(controller.lifeline or controller.registration)]
        knock = [["timeout", "30", "bash", "-c", _KNOCK, "bash", *where]]
        step = _with_lifeline(step, controller, _END_JOB)
    prologue = log_in + (_A_TASK_EACH_NODE if each else "")
    return script.compose(prologue, [*knock, *exports, ["exec", *step]])


def step_argv(
    job_id: str, name: str, placed: Sequence[int], engine: Sequence[str], controller: Controller | None = None
) -> list[str]:
    """srun, run beside the notebook: engines as a step of its own job, with the cores that all of it has."""
    where = [f"--jobid={job_id}", "--overlap", f"--job-name={name}", "--relative=0"]
    size = [f"--nodes={len(placed)}", f"--ntasks={len(placed)}"]
    step = [*_srun(), *_ONE_A_NODE, *where, *size, *engine]
    variable = f"{PER_NODE}={','.join(str(count) for count in placed)}"
    return ["env", variable, *(_with_lifeline(step, controller, _END_STEP) if controller else step)]


def _with_lifeline(step: Sequence[str], controller: Controller, end: str) -> list[str]:
    """The step, that `end` ends when the controller ends."""
    if not controller.lifeline:
        return list(step)
    text = _LIFELINE.replace("{end}", end)
    return ["bash", "-c", text, "bash", controller.host, str(controller.lifeline), *step]


def _srun() -> list[str]:
    return [
        *("srun", "--export=ALL"),
        "--kill-on-bad-exit=0",  # one engine that crashes leaves the others alone
        "--wait=0",  # for as long as they like
        "--label",
    ]


# All cores and all memory of the job on each node. A node that fails takes its own engines along, no others.
_ONE_A_NODE = ("--ntasks-per-node=1", "--cpu-bind=none", "--mem=0", "--no-kill")


def _one_an_engine(n: int, options: EngineOptions) -> list[str]:
    return [
        f"--ntasks={n}",
        *([f"--cpus-per-task={options.cpus}"] if options.cpus else []),  # since 22.05 srun doesn't inherit it
        *([f"--mpi={options.mpi}"] if options.mpi else []),
    ]


def _is_name(name: str) -> bool:
    if not _VARIABLE.fullmatch(name):
        raise OptionsRefused({"environment": f"{name!r} can't be the name of an environment variable."})
    return True
