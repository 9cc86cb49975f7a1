"""The options of sbatch and srun for the size of a job, as its cluster wants them; pure.

A JobSpec counts memory and GPUs for each node, and cores for each task. Source: sbatch(1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil

from flatirons.errors import SubmitRefused
from flatirons.slurm.model import JobSpec
from flatirons.slurm.spelling import CPUS, GPUS, Spelling

PER_TASK = "--tres-per-task"
SOCKETS = "--cores-per-socket"
_NEEDS_TASKS = frozenset({"--gpus-per-task", PER_TASK})
"""Options for GPUs that need an explicit number of tasks."""


def size_options(spec: JobSpec, spelling: Spelling) -> list[str]:
    """The options for nodes, tasks, cores, memory, time and GPUs.

    Raises SubmitRefused for a job that the cluster's options can't express.
    """
    cpus, gpus = cpu_options(spec.cpus, spelling), _gpu_options(spec, spelling)
    per_task = [word.removeprefix(f"{PER_TASK}=") for word in (*cpus, *gpus) if word.startswith(PER_TASK)]
    return [
        *_task_options(spec, spelling),
        *(word for word in cpus if not word.startswith(PER_TASK)),
        *_memory_options(spec, spelling),
        *([f"--time={spec.runtime_minutes}"] if spec.runtime_minutes else []),
        *(word for word in gpus if not word.startswith(PER_TASK)),
        *([f"{PER_TASK}={','.join(per_task)}"] if per_task else []),
    ]


def cpu_options(cpus: int, spelling: Spelling) -> list[str]:
    """The options for the cores of each task."""
    named = spelling.cpus or CPUS[:1] if cpus else ()
    return [f"{option}=cpu={cpus}" if option == PER_TASK else f"{option}={cpus}" for option in named]


def constraint(spec: JobSpec, spelling: Spelling) -> str:
    """The features that the job's nodes must have, "" for any node."""
    demanded = [spelling.features]
    if spec.gpus:
        own = [each.partition("=")[2] for each in spelling.gpus if each.startswith("--constraint=")]
        demanded = own or demanded
        demanded += [spec.gpu_type] if "--constraint" in spelling.gpus else []
    return both(spec.constraint, *demanded)


def _task_options(spec: JobSpec, spelling: Spelling) -> list[str]:
    nodes, ntasks = spec.nodes, spec.ntasks
    if spec.gpus and "--gpus" in spelling.gpus:
        nodes = nodes or 1  # without a number, Slurm may take the GPUs from several nodes
    if spec.cpus and spelling.cpus == (SOCKETS,):
        nodes = nodes or 1  # without a number of tasks, Slurm allocates so many cores on each node
    elif spec.cpus and SOCKETS in spelling.cpus:
        ntasks = ntasks or nodes or 1  # otherwise Slurm would multiply both numbers
    if spec.gpus and not _NEEDS_TASKS.isdisjoint(spelling.gpus):
        ntasks = ntasks or nodes or 1
    given = {"--nodes": nodes, "--ntasks": ntasks, "--ntasks-per-node": spec.ntasks_per_node}
    return [f"{option}={count}" for option, count in given.items() if count]


def _memory_options(spec: JobSpec, spelling: Spelling) -> list[str]:
    """The option for memory. Memory for each core is rounded down: more may be more than a node has."""
    per_node, per_cpu = spec.memory_mib, spec.mem_per_cpu_mib
    if not (per_node or per_cpu) or not spelling.takes_memory(spec.partition):
        return []
    cores = ceil(_tasks_of_node(spec) * (spec.cpus or 1) / spec.cpu_step) * spec.cpu_step
    option = spelling.memory or ("--mem" if per_node else "--mem-per-cpu")
    if option == "--mem":
        return [f"--mem={per_node or per_cpu * cores}M"]
    if option == "--mem-per-gpu" and spec.gpus:
        return [f"--mem-per-gpu={max((per_node or per_cpu * cores) // spec.gpus, 1)}M"]
    return [f"--mem-per-cpu={per_cpu or max(per_node // cores, 1)}M"]


def _gpu_options(spec: JobSpec, spelling: Spelling) -> list[str]:
    named = spelling.gpus or GPUS[:1] if spec.gpus else ()
    kind = "" if "--constraint" in named else spec.gpu_type
    return [
        _gpu_option(option, kind, _count(option, spec))
        for option in named
        if not option.startswith("--constraint")
    ]


def _gpu_option(option: str, kind: str, count: int) -> str:
    if option == PER_TASK:
        return f"{option}=gres/gpu:{kind}={count}" if kind else f"{option}=gres/gpu={count}"
    number = f"{kind}:{count}" if kind else str(count)
    return f"{option}=gpu:{number}" if option == "--gres" else f"{option}={number}"


def _count(option: str, spec: JobSpec) -> int:
    """The number that belongs to an option for GPUs."""
    if option == "--gpus":
        return spec.gpus * (spec.nodes or 1)
    if option not in _NEEDS_TASKS:
        return spec.gpus
    tasks = _tasks_of_node(spec)
    if spec.gpus % tasks:
        raise SubmitRefused(
            f"On this cluster each task gets GPUs of its own, and {spec.gpus} can't be shared out equally "
            f"among {tasks} tasks on each node. Choose another number of GPUs or of tasks."
        )
    return spec.gpus // tasks


def _tasks_of_node(spec: JobSpec) -> int:
    """The most tasks of the job on one node, as far as it says."""
    nodes = spec.nodes or 1
    return spec.ntasks_per_node or ceil((spec.ntasks or nodes) / nodes)


def both(*constraints: str) -> str:
    """A constraint that demands all of these. Slurm knows parentheses of one level only."""
    given = list(dict.fromkeys(filter(None, constraints)))
    if len(given) < 2:
        return "".join(given)
    first, rest = given[0], both(*given[1:])
    alternatives = _alternatives(first)
    if len(alternatives) == 1:
        return f"{first}&{f'({rest})' if len(_alternatives(rest)) > 1 else rest}"
    return "|".join(f"({each.strip('()')}&{rest})" for each in alternatives)


def _alternatives(text: str) -> Sequence[str]:
    """The parts between | outside of parentheses and brackets."""
    return re.findall(r"(?:[^|()\[\]]|\([^()]*\)|\[[^\[\]]*\])+", text)
