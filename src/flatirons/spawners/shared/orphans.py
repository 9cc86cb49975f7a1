"""Orphans: jobs of this hub that belong to none of its servers. They are found and cancelled.

A job becomes an orphan when Slurm takes it without answering, or doesn't answer when it is to be cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from logging import Logger
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job
from flatirons.slurm.watcher import Watcher

MOST_KEPT = 50
"""How many orphans the list holds; the oldest leave it."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An orphan and what became of it; `at` is in seconds since 1970."""

    at: float
    cluster: str
    job_id: int
    user: str
    outcome: str


class SearchedHub(Protocol):
    """What the search needs to know of the hub."""

    @property
    def clients(self) -> Mapping[str, SlurmClient]:
        """A client for each cluster."""

    def watcher(self, cluster: str) -> Watcher:
        """The cluster's watcher."""

    def spawn_id(self, job: Job) -> str | None:
        """The spawn that a job belongs to, None for a job that isn't of this hub."""

    def spawn_ids(self) -> set[str]:
        """The spawns that the hub holds in memory."""

    def is_known(self, cluster: str, job: Job) -> bool:
        """Is this the job of a server that the hub holds in memory, whatever its comment says by now?"""


class OrphanSearch:
    """Searches Slurm's last answers for orphans, which asks Slurm nothing, and lists those that it found."""

    def __init__(self, hub: SearchedHub, log: Logger) -> None:
        self._hub = hub
        self._log = log
        self.found: list[Orphan] = []

    async def search_all(self, stored_spawn_ids: Callable[[], set[str]]) -> None:
        """Searches every cluster; one that can't be searched now is logged, for the next search."""
        for cluster in self._hub.clients:
            try:
                await self.search(cluster, stored_spawn_ids)
            except (SlurmError, SQLAlchemyError) as error:
                reason = getattr(error, "detail", "") or error
                self._log.warning("Can't look for orphans on %s: %s", cluster, reason)

    async def search(self, cluster: str, stored_spawn_ids: Callable[[], set[str]]) -> list[int]:
        """Cancels the cluster's orphans and returns their ids; raises SlurmError if Slurm doesn't answer.

        `stored_spawn_ids()` returns the spawns of all servers in the database, which is asked only about jobs
        that are unknown in memory. A spawn is stored before its job is submitted, so a job that is unknown
        now will never be known.
        """
        watcher = self._hub.watcher(cluster)
        snapshot = watcher.snapshot or await watcher.refresh()
        orphans = self._unknown(snapshot.jobs.values(), self._hub.spawn_ids())
        orphans = [job for job in orphans if not self._hub.is_known(cluster, job)]
        if orphans:
            orphans = self._unknown(orphans, stored_spawn_ids())
        for job in orphans:
            await self._cancel(cluster, job)
        if orphans:
            watcher.kick()  # the next search must see what came of it
        return [job.id for job in orphans]

    async def _cancel(self, cluster: str, job: Job) -> None:
        """Cancels the job; it is listed once, however often that is tried."""
        self._log.warning("Cancelling job %s of %s on %s: no server knows it", job.id, job.user, cluster)
        outcome = "cancelled"
        try:
            await self._hub.clients[cluster].cancel(job.id, user=job.user)
        except FlatironsError as error:
            outcome = f"not cancelled: {error.user}"
            self._log.error("Can't cancel orphan %s: %s", job.id, error.detail or error)
        others = [each for each in self.found if (each.cluster, each.job_id) != (cluster, job.id)]
        self.found = [*others, Orphan(time.time(), cluster, job.id, job.user, outcome)][-MOST_KEPT:]

    def _unknown(self, jobs: Iterable[Job], known: Collection[str]) -> list[Job]:
        """The live jobs of this hub whose spawn isn't among the known ones."""
        return [
            job
            for job in jobs
            if not (job.state.is_over or job.state.is_ending)
            if (spawn_id := self._hub.spawn_id(job)) is not None and spawn_id not in known
        ]
