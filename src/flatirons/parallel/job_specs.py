"""What the jobs of engines and of Spark have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flatirons.parallel.options import EngineOptions
from flatirons.slurm.model import JobSpec


def make_job_spec(options: EngineOptions, *, name: str, comment: str, log: str, **more: Any) -> JobSpec:
    """A JobSpec with the options' partition, account, QOS, reservation and time limit.

    `log` is the path of the output file, taken literally. `more` holds further attributes of JobSpec.
    """
    return JobSpec(
        name=name,
        comment=comment,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        reservation=options.reservation,
        runtime_minutes=options.runtime,
        output=log.replace("%", "%%"),  # sbatch(1), filename pattern
        **more,
    )


def read_count(environ: Mapping[str, str], name: str) -> int:
    """The whole number in one of Slurm's variables, 0 when it isn't set or holds something else."""
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def read_memory_mib(environ: Mapping[str, str], cores: int) -> int:
    """MiB that the job of this environment has on this node, where it has `cores`; 0 when Slurm doesn't say.

    Source: SLURM_MEM_PER_NODE and SLURM_MEM_PER_CPU in sbatch(1), output environment variables.
    """
    return read_count(environ, "SLURM_MEM_PER_NODE") or read_count(environ, "SLURM_MEM_PER_CPU") * cores
