"""Which of Slurm's jobs is the job of a run, and what this hub may do to it unasked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flatirons.slurm.identity import find_by_name, is_same
from flatirons.slurm.model import Job, JobState
from flatirons.spawners.run.stored_state import Followed
from flatirons.spawners.shared.registry import Registry


class JobIdentity:
    """Knows the job of one run by its id, its user and the time of its submission."""

    def __init__(self, of: Followed, registry: Registry[Any], *, user: str, job_name: str) -> None:
        """`job_name` is what the job was called at its submission."""
        self._run = of
        self._registry = registry
        self._client = registry.clients[of.attempt.cluster]
        self._user = user
        self._job_name = job_name

    def is_ours(self, job: Job) -> bool:
        """Is it ours? While the time of the submission isn't known, a comment may say that it isn't.

        That it is ours, no text says: the user or a plugin of the site may have replaced comment and name.
        """
        attempt = self._run.attempt
        if not is_same(job, self._user, attempt.submit):
            return False
        if attempt.submitted_at:
            return True
        spawn_id = self._registry.spawn_id(job)
        if spawn_id is not None:
            return spawn_id == attempt.spawn_id
        return bool(attempt.requested_at) or job.name in ("", self._job_name)  # "" in accounting

    def as_vanished(self, job: Job) -> Job:
        """Our job, which is gone: Slurm shows another `job` under its id."""
        attempt = self._run.attempt
        last = self._run.job or Job(job.id, JobState.VANISHED, user=self._user, submit=attempt.submit)
        return replace(last, state=JobState.VANISHED)

    async def find(self) -> Job | None:
        """The live job whose id was lost, by its comment; raises SlurmError.

        Or by its name, for a site whose plugin replaces comments, if only one job can be it.
        """
        attempt = self._run.attempt
        job = await self._registry.find(attempt.cluster, attempt.spawn_id, self._user)
        if job or not attempt.requested_at:
            return job
        jobs = await self._client.jobs_of(self._user, as_user=self._user)
        unknown = [each for each in jobs if not self._registry.is_known(attempt.cluster, each)]
        return find_by_name(unknown, self._job_name, requested_at=attempt.requested_at)

    async def look_up(self) -> Job | None:
        """What Slurm has under the job's id, None if nothing; raises SlurmError."""
        job_id = self._run.attempt.job_id
        return await self._client.job(job_id) or await self._client.job(job_id, user=self._user)

    @property
    def may_cancel_unasked(self) -> bool:
        """May this hub end the job although nobody asked it to?

        Not if another hub submitted it, whose database this one has: that hub may still need it.
        """
        return self._run.attempt.instance in ("", self._registry.instance)  # "": by an earlier release
