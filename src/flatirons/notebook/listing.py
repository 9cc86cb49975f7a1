"""Lists a user's notebooks without a hub, with their addresses, and stops them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flatirons.errors import FlatironsError, SlurmError
from flatirons.notebook import address
from flatirons.notebook.plan import COMMENT, me, record_id
from flatirons.notebook.record import NotedJob, Record, records
from flatirons.notebook.run import NotebookRun
from flatirons.servers import messages
from flatirons.servers.causes import RECORD, StarterEnd
from flatirons.servers.end_lookup import EndLookup
from flatirons.servers.follow import Limits
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job

Say = Callable[[str], None]


@dataclass
class Found:
    """Jobs that live or have ended, with their clusters, and all records by id.

    `silent` holds a sentence for each cluster whose Slurm didn't answer.
    """

    jobs: list[tuple[SlurmClient, Job]] = field(default_factory=list)
    ended: dict[str, tuple[SlurmClient, Job]] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)

    noted: dict[str, NotedJob] = field(default_factory=dict)
    """The jobs of records, by the records' ids."""

    def id_of(self, client: SlurmClient, job: Job) -> str:
        """The id of a job's record, "" for a job that is no notebook.

        The record knows its job. The comment, which may have been replaced, says it only where none does.
        """
        for name, noted in self.noted.items():
            if self.records[name].cluster == client.cluster.name and noted.is_same(job):
                return name
        named = record_id(job)
        return "" if named in self.noted else named

    def record(self, client: SlurmClient, job: Job) -> Record | None:
        """A job's record; without it nobody knows the server's token any more."""
        return self.records.get(self.id_of(client, job))

    def is_left_over(self, record: Record) -> bool:
        """Whether a record's job is certainly gone."""
        if record.id in self.ended:
            return True
        is_alive = any(self.id_of(client, job) == record.id for client, job in self.jobs)
        return not (is_alive or record.cluster in self.silent or record.is_fresh())


async def find(clients: Mapping[str, SlurmClient]) -> Found:
    """All notebooks of this user, on all clusters."""
    found = Found(records={record.id: record for record in records()})
    found.noted = {name: noted for name, record in found.records.items() if (noted := record.job())}
    ids = {noted.id for noted in found.noted.values()}
    for name, client in clients.items():
        try:
            snapshot = await client.jobs(comment_part=COMMENT, ids=ids, with_queues=True)
        except SlurmError as error:
            found.silent[name] = error.user
            continue
        for job in snapshot.jobs.values():
            if job.user != me() or not (name := found.id_of(client, job)):
                continue
            if job.state.is_over or job.state.is_ending:
                found.ended[name] = client, job
            else:
                found.jobs.append((client, job))
    return found


async def show(clients: Mapping[str, SlurmClient], node: str, local: int | None, say: Say) -> None:
    """Prints what runs, waits, or has ended since the last listing; removes the records of the latter.

    Raises SlurmError at the end when a cluster didn't answer.
    """
    found = await find(clients)
    for client, job in found.jobs:
        _show(client, job, found.record(client, job), node, local, say)
    left_over = [record for record in found.records.values() if found.is_left_over(record)]
    for record in left_over:
        await _tell_end(record, found, say)
        record.forget()
    if not (found.jobs or left_over or found.silent):
        say("None of your notebooks runs or waits.")
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
        server = address.ServerAddress(job.batch_host, port, local or port)
        say(f"    {server.ssh_line(me(), node)}")
        say(f"    {server.url(record)}")
    elif job.state.is_waiting:
        say(f"{name}: {messages.QueueMessage().sentence(job, None)}")
    else:
        say(f"{name}: {messages.booting(job) if job.state.is_starting else messages.running(job)}")


async def _tell_end(record: Record, found: Found, say: Say) -> None:
    """Prints why a server ended whose record is left over, as far as that can be known."""
    calls = {call["call"]: call for call in record.calls()}
    client, job = found.ended.get(record.id, (None, None))
    number = job.id if job else calls.get("boot", {}).get("job_id", 0)
    if not number:
        return  # it was never submitted, as far as anybody knows
    why = ""
    if client and job:
        lookup = EndLookup(client, logging.getLogger(__name__), RECORD)
        said = StarterEnd.from_call(calls["end"]) if "end" in calls else None
        was_up, has_starter_called = "ready" in calls, "boot" in calls
        end = await lookup.accounted(job.id, job)
        cause = await lookup.cause(job, end, said, was_up=was_up, has_starter_called=has_starter_called)
        why = f" {cause.text}"
    say(f"Job {number} on {record.cluster} ({record.environment}) has ended.{why}")


async def stop(clients: Mapping[str, SlurmClient], job_id: int, patience: float, say: Say) -> None:
    """Ends one notebook, the only one for 0. Raises FlatironsError when it isn't clear which."""
    found = await find(clients)
    matching = [(client, job) for client, job in found.jobs if job_id in (0, job.id)]
    if not matching:
        _raise_silence(found)
        if job_id:
            sentence = f"Job {job_id} is none of your notebooks. See: flatirons notebook --list"
        else:
            sentence = "None of your notebooks runs or waits."
        raise FlatironsError(sentence)
    if len(matching) > 1:
        jobs = " or ".join(f"--stop {job.id}" for _, job in matching)
        raise FlatironsError(f"You have several notebooks. Say which: {jobs}")
    [(client, job)] = matching
    limits = Limits(queue=math.inf, node=math.inf, stop=patience)
    async with NotebookRun(client, found.record(client, job), job.id, limits) as run:
        run.learn(job)
        await run.cancel()
    say(f"Job {job.id} is gone.")


def _raise_silence(found: Found) -> None:
    for name, sentence in found.silent.items():
        raise SlurmError(f"{name}: {sentence}")
