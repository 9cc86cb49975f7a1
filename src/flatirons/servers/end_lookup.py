"""Finds out why a server ended: asks accounting, and where it helps, about the node."""

from __future__ import annotations

import asyncio
import contextlib
import pwd
from dataclasses import replace
from logging import Logger

from flatirons.errors import SlurmError
from flatirons.servers.causes import Cause, Receiver, StarterEnd
from flatirons.servers.diagnosis import diagnose
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import is_end_of
from flatirons.slurm.model import End, Job, JobState

SECONDS_FOR_ACCOUNTING = 4.0
"""How long accounting may take to say why a job ends that squeue still shows."""


class EndLookup:
    """Asks Slurm about the end of one job. When Slurm doesn't answer, it logs that and continues without."""

    def __init__(self, client: SlurmClient, log: Logger, receiver: Receiver) -> None:
        self._client = client
        self._log = log
        self._receiver = receiver
        self._end: End | None = None

    async def accounted(self, job_id: int, job: Job | None = None) -> End | None:
        """What accounting says about the job, with the name of who cancelled it; else its last answer.

        With `job`, what Slurm last said of it, the end of another job that was given its id isn't taken.
        """
        try:
            end = (await self._client.ends([job_id])).get(job_id)
            if end and (job is None or is_end_of(end, job)):
                self._end = await with_name(end)
        except SlurmError as error:
            self._log.warning("Accounting doesn't answer about job %s: %s", job_id, error.detail or error)
        return self._end

    async def accounted_early(self, job_id: int, job: Job | None = None) -> End | None:
        """The end of a job that squeue still shows, None where accounting doesn't know one in time.

        slurmctld tells accounting why a job ends before it waits for the nodes' epilogs (job_mgr.c,
        `job_completion_logger` in `_job_timed_out` and `job_signal`). Until they are over, squeue says
        COMPLETING, and not who or what ended the job.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_ACCOUNTING):
                end = await self.accounted(job_id, job)
                return end if end and end.state.is_over else None
        return None

    async def cause(
        self, job: Job, end: End | None, said: StarterEnd | None, *, was_up: bool, has_starter_called: bool
    ) -> Cause:
        """The cause, from all that is known; `said` is what the starter reported."""
        reason = "" if has_starter_called else await self._node_reason(job)
        return diagnose(
            job,
            end,
            said,
            was_up=was_up,
            has_starter_called=has_starter_called,
            node_reason=reason,
            receiver=self._receiver,
        )

    async def _node_reason(self, job: Job) -> str:
        """Why the node is out of service, for a job that was cancelled before its starter made a call."""
        if job.state is not JobState.CANCELLED or not job.batch_host:
            return ""
        try:
            return await self._client.node_reason(job.batch_host)
        except SlurmError as error:
            self._log.warning("Slurm doesn't answer about node %s: %s", job.batch_host, error.detail or error)
            return ""


async def with_name(end: End) -> End:
    """The end with the name of who cancelled the job, where this machine knows the account."""
    if not end.cancelled_by:
        return end
    return replace(end, cancelled_by_name=await asyncio.to_thread(account_name, end.cancelled_by))


def account_name(number: int) -> str:
    """The name of the account with this id on this machine, "" where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return ""
