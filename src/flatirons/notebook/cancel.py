"""Ends a notebook's job, and says when Slurm has it no more."""

from __future__ import annotations

import asyncio
import time

from flatirons.errors import SlurmError
from flatirons.notebook.record import Record
from flatirons.slurm.client import SlurmClient

SECONDS_TO_END_IN_PEACE = 10.0  # how long a server that is told to end has before Slurm ends its job
PAUSE = 0.3  # between two looks at a job that is to end: Slurm offers nothing to wait on


async def end(
    client: SlurmClient, job_id: int, record: Record | None, hurry: asyncio.Event, patience: float
) -> None:
    """Returns when Slurm says that the job is gone; then its record is gone as well.

    A server that runs is told first, so that it ends its kernels; `hurry` cuts that short. Raises SlurmError
    when Slurm doesn't answer, or hasn't ended the job within `patience` seconds.
    """
    has_started = bool(record and await asyncio.to_thread(record.calls))
    if record and not has_started:
        record.forget()  # whatever becomes of the job, it starts no server
    job = await client.job(job_id)
    if job is None or job.state.is_over:
        return _forget(record)
    if has_started and job.state.is_running:
        await client.cancel(job_id, user=None, signal="TERM")
        if await _is_gone_within(client, job_id, min(SECONDS_TO_END_IN_PEACE, patience), hurry):
            return _forget(record)
    await client.cancel(job_id, user=None)
    if not await _is_gone_within(client, job_id, patience, asyncio.Event()):
        raise SlurmError(
            f"Slurm has not ended job {job_id} yet. See `squeue --me`, and try again in a minute.",
            f"job {job_id} still there {patience} s after scancel",
        )
    return _forget(record)


def _forget(record: Record | None) -> None:
    if record:
        record.forget()


async def _is_gone_within(client: SlurmClient, job_id: int, seconds: float, hurry: asyncio.Event) -> bool:
    last = time.monotonic() + seconds
    while time.monotonic() < last and not hurry.is_set():
        job = await client.job(job_id)
        if job is None or job.state.is_over:
            return True
        await asyncio.sleep(PAUSE)
    return False
