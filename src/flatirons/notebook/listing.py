"""A user's notebooks without a hub: shown with their addresses, or stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flatirons.errors import FlatironsError, SlurmError
from flatirons.notebook import address, cancel
from flatirons.notebook.follow import explain
from flatirons.notebook.plan import COMMENT, me, record_id
from flatirons.notebook.record import Record, records
from flatirons.servers import messages
from flatirons.servers.causes import StarterEnd
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job

Say = Callable[[str], None]


@dataclass
class Found:
    """What there is: jobs that live, by cluster, and all records; `silent` are sentences of silent Slurms."""

    jobs: list[tuple[SlurmClient, Job]] = field(default_factory=list)
    ended: dict[str, tuple[SlurmClient, Job]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)

    def record(self, job: Job) -> Record | None:
        """A job's record; without one nobody knows its server's token any more."""
        return self.records.get(record_id(job))

    def is_left_over(self, record: Record) -> bool:
        """Whether a record's job is gone for sure."""
        if record.id in self.ended:
            return True
        is_alive = any(record_id(job) == record.id for _, job in self.jobs)
        return not (is_alive or record.cluster in self.silent or record.is_fresh())


async def find(clients: Mapping[str, SlurmClient]) -> Found:
    """Everything that is ours, on all clusters."""
    found = Found(records={record.id: record for record in records()})
    for name, client in clients.items():
        try:
            snapshot = await client.jobs(of=COMMENT, with_queues=True)
        except SlurmError as error:
            found.silent[name] = error.user
            continue
        for job in snapshot.jobs.values():
            if job.user != me() or not record_id(job):
                continue
            if job.state.is_over or job.state.is_ending:
                found.ended[record_id(job)] = client, job
            else:
                found.jobs.append((client, job))
    return found


async def show(clients: Mapping[str, SlurmClient], node: str, local: int | None, say: Say) -> None:
    """Says what runs, waits, or ended since the last look; forgets the latter. Raises SlurmError at the end
    when a cluster didn't answer."""
    found = await find(clients)
    for client, job in found.jobs:
        _show(client, job, found.record(job), node, local, say)
    left_over = [record for record in found.records.values() if found.is_left_over(record)]
    for record in left_over:
        await _tell_end(record, found, say)
        record.forget()
    if not (found.jobs or left_over or found.silent):
        say("No notebook of yours runs or waits.")
    _raise_silence(found)


def _show(
    client: SlurmClient, job: Job, record: Record | None, node: str, local: int | None, say: Say
) -> None:
    name = f"Job {job.id} on {client.cluster.name}"
    calls = record.calls() if record else []
    port = next((int(call["port"]) for call in calls if call["call"] == "ready"), 0)
    name = f"{name} ({record.environment})" if record else name
    if record is None:
        say(
            f"{name}: its record is gone from your home, so its address isn't known. Stop it: --stop {job.id}"
        )
    elif job.state.is_running and port:
        until = f", until {job.end.astimezone():%H:%M %Z on %d %b}" if job.end else ""
        say(f"{name}: up on {job.batch_host}{until}.")
        place = address.Place(job.batch_host, port, local or port)
        say(f"    {place.ssh_line(me(), node)}")
        say(f"    {place.url(record)}")
    elif job.state.is_waiting:
        say(f"{name}: {messages.QueueMessage().sentence(job, None)}")
    else:
        say(f"{name}: {messages.booting(job) if job.state.is_starting else messages.running(job)}")


async def _tell_end(record: Record, found: Found, say: Say) -> None:
    """Why a server ended whose record is still there, as far as it can be known."""
    calls = record.calls()
    client, job = found.ended.get(record.id, (None, None))
    said = next((call for call in calls if call["call"] == "end"), None)
    end = StarterEnd.from_call(said) if said else None
    was_up = any(call["call"] == "ready" for call in calls)
    number = job.id if job else next((call["job_id"] for call in calls if call["call"] == "boot"), 0)
    if not number:
        return  # it was never submitted, as far as anybody knows
    if client and job:
        has_booted = any(call["call"] == "boot" for call in calls)
        cause = await explain(client, job, end, was_up=was_up, has_booted=has_booted)
        told = f"{cause.sentence} {cause.advice}".strip()
        say(f"Job {number} on {record.cluster} ({record.environment}) is over. {told}")
    else:
        say(f"Job {number} on {record.cluster} ({record.environment}) is over.")


async def stop(clients: Mapping[str, SlurmClient], job_id: int, patience: float, say: Say) -> None:
    """Ends one notebook, the only one for 0. Raises FlatironsError when it isn't clear which."""
    found = await find(clients)
    meant = [(client, job) for client, job in found.jobs if job_id in (0, job.id)]
    if not meant:
        _raise_silence(found)
        which = (
            f"Job {job_id} is no notebook of yours that runs or waits" if job_id else "No notebook of yours"
        )
        raise FlatironsError(
            f"{which}. See: flatirons notebook --list" if job_id else f"{which} runs or waits."
        )
    if len(meant) > 1:
        jobs = " or ".join(f"--stop {job.id}" for _, job in meant)
        raise FlatironsError(f"You have several notebooks. Say which: {jobs}")
    [(client, job)] = meant
    await cancel.end(client, job.id, found.record(job), asyncio.Event(), patience)
    say(f"Job {job.id} is gone.")


def _raise_silence(found: Found) -> None:
    for name, sentence in found.silent.items():
        raise SlurmError(f"{name}: {sentence}")
