"""Which of Slurm's jobs is the one that we submitted; pure.

A job is ours by its id, its user and the time of its submission. Its name and comment prove nothing: a plugin
of the site (job_submit, cli_filter) may replace both at the submission, and `scontrol update` later. They
only help to find a job whose id was lost.

A slurmctld that lost its state assigns the same ids again. A requeued job keeps its id, counts one more
restart (_job_requeue_op in Slurm's job_mgr.c), and gets a new time of submission once its nodes are free
(batch_requeue_fini; nothing else changes that time).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from flatirons.slurm.model import End, Job, JobSpec, JobState

CLOCKS_APART = 300
"""Seconds that the clocks of two machines may differ: munge refuses a credential that is older or newer."""

LONGEST_SUBMISSION = 120
"""Seconds within which Slurm gets a job after its submission was requested, also when it is busy."""
OURS = "flatirons"
"""The comments of all jobs that Flatirons submits contain this, unless somebody replaces them."""

_LONGEST_OFFSET = 26 * 3600  # seconds between two time zones
_OFFSETS = 900  # time zones differ by multiples of a quarter of an hour


def is_same(job: Job, user: str, submitted_at: datetime | None) -> bool:
    """Is this the job that `user` submitted under its id at `submitted_at`? None: that isn't known yet."""
    if job.user and job.user != user:
        return False
    if job.submit is None or submitted_at is None:
        return True
    later = (job.submit - submitted_at).total_seconds()
    if job.has_local_times and abs(later) <= _LONGEST_OFFSET and later % _OFFSETS == 0:
        return True
    return later == 0 or (later > 0 and job.restarts > 0)


def is_end_of(end: End, job: Job) -> bool:
    """Is this the end of the job, and not of another one with its id, nor of an earlier run of the same?"""
    if end.user and job.user and end.user != job.user:
        return False
    known = None if job.has_local_times else job.submit
    return end.submit is None or known is None or end.submit == known


class FirstSeen:
    """Remembers jobs as they were first seen, by id, so that another job with the id isn't taken for one."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}

    def same(self, job: Job) -> Job:
        """The job; if it is another one than was first seen under its id, that one, which has vanished."""
        if job.submit is None or job.has_local_times:
            return job
        first = self._jobs.setdefault(job.id, job)
        return job if is_same(job, first.user, first.submit) else replace(first, state=JobState.VANISHED)


def find_submitted(
    jobs: Iterable[Job], spec: JobSpec, user: str, *, since: float, among: Collection[int] = ()
) -> Job | None:
    """The job that `user` has just submitted with `spec`; None if no job can be it.

    `since`: when that was, in seconds since 1970 by our clock. `among`: the ids that it may have, if any are
    known. The job is the newest one with its comment. Where that was replaced, it is the newest that was
    submitted since then under its name and says nothing of us. Where the name was replaced, too, it is the
    only one of these ids.
    """
    own = [job for job in jobs if job.user == user and (not among or job.id in among)]
    if spec.comment and (found := [job for job in own if spec.comment in job.comment]):
        return max(found, key=_age)
    recent = [job for job in own if job.submit is None or job.submit.timestamp() >= since - CLOCKS_APART]
    if found := [job for job in recent if job.name == spec.name and OURS not in job.comment]:
        return max(found, key=_age)
    return recent[0] if among and len(recent) == 1 else None


def find_by_name(jobs: Iterable[Job], name: str, *, requested_at: float) -> Job | None:
    """The only live job with this name that was submitted about then by our clock, and says nothing of us.

    None if there are several, or none: the user may submit jobs under any name.
    """
    found = [
        job
        for job in jobs
        if job.name == name and not job.state.is_over and OURS not in job.comment
        if job.submit and -60 <= job.submit.timestamp() - requested_at <= LONGEST_SUBMISSION
    ]
    return found[0] if len(found) == 1 else None


def is_submitted_about(job: Job, requested_at: float) -> bool:
    """May the job be the one that was submitted then by our clock? After a requeue Slurm no longer says."""
    if job.submit is None or job.restarts:
        return True
    return abs(job.submit.timestamp() - requested_at) <= CLOCKS_APART + LONGEST_SUBMISSION


def _age(job: Job) -> tuple[float, int]:
    """What is larger for a job that was submitted later."""
    return job.submit.timestamp() if job.submit else 0.0, job.id
