"""dask_jobqueue's job scripts, with the options of sbatch that the cluster takes. Pure.

dask_jobqueue writes `#SBATCH --cpus-per-task=4` and `#SBATCH --mem=8G`, whatever the cluster takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flatirons import units
from flatirons.errors import Refusal
from flatirons.slurm import sizes
from flatirons.slurm.model import JobSpec
from flatirons.slurm.spelling import USUAL, Spelling

PREFIX = "#SBATCH "
_LONG = {"-p": "--partition", "-C": "--constraint", "-c": "--cpus-per-task"}
_SIZE = ("--cpus-per-task", "--mem", "--mem-per-cpu", "--constraint")


def respelled(script: str, spelling: Spelling) -> str:
    """The script, with cores, memory and features of nodes as the cluster takes them.

    A script with an amount of memory that can't be read stays as it is: sbatch will say so.
    """
    if spelling == USUAL:
        return script
    lines = script.split("\n")
    given = dict(_directive(line) for line in lines if line.startswith(PREFIX))
    try:
        spec = _job_spec(given)
    except Refusal:
        return script
    kept = [line for line in lines if not (line.startswith(PREFIX) and _directive(line)[0] in _SIZE)]
    added = [f"{PREFIX}{word}" for word in _words(spec, spelling)]
    place = next((number for number, line in enumerate(kept) if line.startswith(PREFIX)), len(kept))
    return "\n".join([*kept[:place], *added, *kept[place:]])


def _directive(line: str) -> tuple[str, str]:
    """The long name and the value of an option: `--mem=8G`, `--mem 8G`, `-p shas`."""
    name, _, value = line.removeprefix(PREFIX).strip().replace("=", " ", 1).partition(" ")
    return _LONG.get(name, name), value.strip().strip("\"'")


def _job_spec(given: Mapping[str, str]) -> JobSpec:
    cpus = given.get("--cpus-per-task", "")
    return JobSpec(
        "dask",
        partition=given.get("--partition", ""),
        constraint=given.get("--constraint", ""),
        cpus=int(cpus) if cpus.isdecimal() else 0,
        memory_mib=units.mebibytes(given["--mem"]) if "--mem" in given else 0,
        mem_per_cpu_mib=units.mebibytes(given["--mem-per-cpu"]) if "--mem-per-cpu" in given else 0,
    )


def _words(spec: JobSpec, spelling: Spelling) -> Iterator[str]:
    if constraint := sizes.constraint(spec, spelling):
        yield f"--constraint={constraint}"
    yield from sizes.size_options(spec, spelling)
