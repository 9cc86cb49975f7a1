"""Which of Slurm's jobs is the one that we submitted; pure.

A job's name and comment prove nothing: a plugin of the site (job_submit, cli_filter) may replace both at the
submission, and `scontrol update` later. They only help to find a job whose id was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from flatirons.slurm.model import Job, JobSpec

CLOCKS_APART = 300
"""Seconds that the clocks of two machines may differ: munge refuses a credential that is older or newer."""


def find_submitted(
    jobs: Iterable[Job], spec: JobSpec, user: str, *, since: float, among: Collection[int] = ()
) -> Job | None:
    """The job that `user` has just submitted with `spec`; None if no job can be it.

    `since`: when that was, in seconds since 1970 by our clock. `among`: the ids that it may have, if any are
    known. The job is the newest one with its comment. Where that was replaced, it is the newest that was
    submitted since then under its name. Where the name was replaced, too, it is the only one of these ids.
    """
    own = [job for job in jobs if job.user == user and (not among or job.id in among)]
    if spec.comment and (found := [job for job in own if spec.comment in job.comment]):
        return max(found, key=_age)
    recent = [job for job in own if job.submit is None or job.submit.timestamp() >= since - CLOCKS_APART]
    if found := [job for job in recent if job.name == spec.name]:
        return max(found, key=_age)
    return recent[0] if among and len(recent) == 1 else None


def _age(job: Job) -> tuple[float, int]:
    """What is larger for a job that was submitted later."""
    return job.submit.timestamp() if job.submit else 0.0, job.id
