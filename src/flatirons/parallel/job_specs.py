"""What the jobs of engines and of Spark have in common. Pure."""

from __future__ import annotations

from typing import Any

from flatirons.errors import FlatironsError
from flatirons.job.script import quote
from flatirons.parallel.options import EngineOptions
from flatirons.slurm import argv
from flatirons.slurm.model import JobSpec


def make_job_spec(options: EngineOptions, *, name: str, comment: str, log: str, **more: Any) -> JobSpec:
    """A JobSpec with the options' partition, account, QOS, reservation and time limit.

    `log` is the path of the output file, taken literally (see `open_log`). `more` holds further attributes of
    JobSpec. Raises FlatironsError for a path that Slurm can't take.
    """
    for path in (log, more.get("chdir", "")):
        _check(path)
    return JobSpec(
        name=name,
        comment=comment,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        reservation=options.reservation,
        runtime_minutes=options.runtime,
        output=argv.output_file(log) or ("/dev/null" if log else ""),
        **more,
    )


def open_log(log: str) -> str:
    """The shell line by which a job script opens its log itself, "" where Slurm does it."""
    return f"exec >{quote([log])} 2>&1\n" if log and not argv.output_file(log) else ""


def _check(path: str) -> None:
    """Raises FlatironsError for a path that can't be given to Slurm."""
    try:
        argv.output_file(path)
    except ValueError as error:
        raise FlatironsError(
            f"Slurm can't take the path {path!r}: it has a control character, or isn't UTF-8. "
            "Rename that folder, or work in another one.",
            str(error),
        ) from None
