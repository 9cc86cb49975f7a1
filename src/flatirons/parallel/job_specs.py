"""What the jobs of engines and of Spark have in common. Pure."""

from __future__ import annotations

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
