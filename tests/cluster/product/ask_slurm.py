"""Asks Slurm whether it accepts a job: by --test-only, and if that isn't enough, by submitting it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flatirons.errors import SubmitRefused
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.explain.limits import explain_limit
from flatirons.slurm.model import Job
from flatirons.slurm.rights import Rights
from tests.cluster.product.offered_jobs import Ask, everybodys_rights
from tests.full import SEED

AT_ONCE = 4
CLUSTERS = ("summit", "blanca")
SCRIPT = "#!/bin/sh\nexec sleep 60\n"

REFUSED = "refused"
NEVER_STARTS = "taken, but never starts: a limit of a QOS without DenyOnLimit, or of a group"
IS_DOWN = "taken, but the partition is down"
WAITS = "waits for nodes, or for the end of a reservation"
STARTS = "starts"


@dataclass(frozen=True)
class Clusters:
    """The clusters, and the rights of all users on them."""

    clients: Mapping[str, SlurmClient]
    rights: Mapping[str, Mapping[str, Rights]]
    turn: asyncio.Semaphore

    async def refusals(self, cluster: str, user: str, asks: Iterable[Ask]) -> dict[Ask, str]:
        """What `sbatch --test-only` says about each job; "" where it accepts the job."""
        found = list(asks)
        said = await asyncio.gather(*(self._test(cluster, user, ask) for ask in found))
        return dict(zip(found, said, strict=True))

    async def _test(self, cluster: str, user: str, ask: Ask) -> str:
        async with self.turn:
            try:
                await self.clients[cluster].test_only(ask.spec, SCRIPT, user=user)
            except SubmitRefused as error:
                return error.user
            return ""

    async def outcomes(self, cluster: str, asks: Sequence[tuple[str, Ask]], *, patience: float) -> list[str]:
        """What happens to jobs that are really submitted; each is cancelled when that is known.

        Slurm may find later that a job which waits for nodes exceeds a limit. So waiting counts as the
        outcome only after `patience` seconds.
        """
        return await asyncio.gather(*(self._outcome(cluster, *each, patience) for each in asks))

    async def _outcome(self, cluster: str, user: str, ask: Ask, patience: float) -> str:
        client = self.clients[cluster]
        async with self.turn:
            try:
                job_id = await client.submit(ask.spec, SCRIPT, user=user)
            except SubmitRefused:
                return REFUSED
            try:
                return await _fate(client, job_id, patience)
            finally:
                await client.cancel(job_id, user=user)


async def _fate(client: SlurmClient, job_id: int, patience: float) -> str:
    began = time.monotonic()
    while True:
        job = await client.job(job_id)
        assert job is not None
        fate, waited = _named(job), time.monotonic() - began
        if fate and (fate != WAITS or waited > patience):
            return fate
        if waited > 20:
            return f"nothing in 20 seconds: {job}"
        await asyncio.sleep(0.1)  # Slurm looks at waiting jobs once a second


def _named(job: Job) -> str:
    if job.state.is_waiting:
        if explain_limit(job.reason):
            return NEVER_STARTS
        if job.reason in ("Resources", "Priority") or job.reason.startswith("Nodes required for job"):
            return WAITS
        return {"None": "", "": "", "PartitionDown": IS_DOWN}.get(job.reason, job.reason)
    return STARTS


async def look(clients: Mapping[str, SlurmClient]) -> Clusters:
    rights = {name: await everybodys_rights(client) for name, client in clients.items()}
    return Clusters(clients, rights, asyncio.Semaphore(AT_ONCE))


def dice() -> random.Random:
    return random.Random(SEED)


def sample(asks: Sequence[tuple[str, Ask]], count: int) -> list[tuple[str, Ask]]:
    """One of each sort, of at most so many sorts."""
    chance = dice()
    sorts: dict[tuple[str, ...], list[tuple[str, Ask]]] = {}
    for user, ask in asks:
        sorts.setdefault((user, ask.place.account, ask.place.qos, ask.what), []).append((user, ask))
    one_of_each = [chance.choice(alike) for alike in sorts.values()]
    return chance.sample(one_of_each, min(count, len(one_of_each)))


def has_reserved_nodes(rights: Rights, ask: Ask) -> bool:
    names = {name for each in rights.facts.reservations for name in each.node_names}
    return any(node.name in names for node in rights.facts.nodes_of[ask.place.partition])


async def until_running(client: SlurmClient, job_id: int) -> None:
    until = time.monotonic() + 30
    while True:
        job = await client.job(job_id)
        if job is not None and job.state.is_running:
            return
        assert time.monotonic() < until, job
        await asyncio.sleep(0.1)
