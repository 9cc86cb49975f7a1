"""Orphans: jobs of this hub that belong to none of its servers. They are found and cancelled.

A job becomes an orphan when Slurm takes it without answering, or doesn't answer when it is to be cancelled.
Jobs of another hub that has this hub's cookie secret are found, too, and left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from logging import Logger
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import is_same
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


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A job that another hub with this hub's secret submitted; `at`, in seconds since 1970: first seen.

    `instance` is that hub, "" if it is one of an earlier release.
    """

    at: float
    cluster: str
    job_id: int
    user: str
    state: str
    instance: str


class MarkOfJob(Protocol):
    """What a job's comment says: the instance of the hub, and the spawn."""

    @property
    def instance(self) -> str:
        """The hub that submitted the job, "" for one of an earlier release."""

    @property
    def spawn_id(self) -> str:
        """The spawn that the job belongs to."""


class SearchedHub(Protocol):
    """What the search needs to know of the hub."""

    @property
    def clients(self) -> Mapping[str, SlurmClient]:
        """A client for each cluster."""

    @property
    def instance(self) -> str:
        """Which hub this is, of those with its secret; raises SQLAlchemyError when that can't be read."""

    def watcher(self, cluster: str) -> Watcher:
        """The cluster's watcher."""

    def mark(self, job: Job) -> MarkOfJob | None:
        """What a job's comment says of a hub with this hub's secret, None if nothing."""

    def spawn_ids(self) -> set[str]:
        """The spawns that the hub holds in memory."""

    def is_known(self, cluster: str, job: Job) -> bool:
        """Is this the job of a server that the hub holds in memory, whatever its comment says by now?"""


class OrphanSearch:
    """Searches Slurm's last answers for orphans, which asks Slurm nothing, and lists those that it found.

    Only jobs whose comment names this very hub are cancelled. A copy of the secret, as of a hub that was made
    to try something, proves nothing, and neither does a database that was lost.
    """

    def __init__(self, hub: SearchedHub, log: Logger) -> None:
        self._hub = hub
        self._log = log
        self.found: list[Orphan] = []
        self._left_alone: dict[tuple[str, int], LeftAlone] = {}
        self._abandoned: dict[tuple[str, int], tuple[str, datetime | None]] = {}

    @property
    def left_alone(self) -> list[LeftAlone]:
        """The jobs, of the last answers, that another hub with this hub's secret submitted, oldest first."""
        return list(self._left_alone.values())

    def take(self, cluster: str, job_id: int, user: str, submit: datetime | None) -> None:
        """Takes the job of a server that is gone, which couldn't be cancelled: each search tries again.

        Its comment may have been replaced, so that nothing else would find it.
        """
        self._abandoned[cluster, job_id] = user, submit

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
        now will never be known. Raises SQLAlchemyError when the database can't be read.
        """
        own, watcher = self._hub.instance, self._hub.watcher(cluster)
        snapshot = watcher.snapshot or await watcher.refresh()
        unknown = self._unknown(snapshot.jobs.values(), self._hub.spawn_ids())
        unknown = [(job, mark) for job, mark in unknown if not self._hub.is_known(cluster, job)]
        if unknown:
            unknown = self._unknown((job for job, _ in unknown), stored_spawn_ids())
        orphans = [job for job, mark in unknown if mark.instance == own]
        self._leave_alone(cluster, [(job, mark) for job, mark in unknown if mark.instance != own])
        orphans += await self._find_abandoned(cluster, {job.id for job in orphans})
        for job in orphans:
            await self._cancel(cluster, job)
        if orphans:
            watcher.kick()  # the next search must see what came of it
        return [job.id for job in orphans]

    async def _find_abandoned(self, cluster: str, found: Collection[int]) -> list[Job]:
        """Those of the jobs that were taken which still live, except the ones that were found already."""
        client, live = self._hub.clients[cluster], []
        for (place, job_id), (user, submit) in list(self._abandoned.items()):
            if place != cluster:
                continue
            job = await client.job(job_id) or await client.job(job_id, user=user)
            if job is None or job.state.is_over or not is_same(job, user, submit):
                del self._abandoned[place, job_id]
            elif not (job.state.is_ending or job_id in found):
                live.append(job)
        return live

    def _leave_alone(self, cluster: str, jobs: Iterable[tuple[Job, MarkOfJob]]) -> None:
        """Lists the jobs instead of those that were listed for the cluster, and logs each once."""
        before, now = self._left_alone, time.time()
        self._left_alone = {place: each for place, each in before.items() if each.cluster != cluster}
        for job, mark in jobs:
            place = (cluster, job.id)
            if place not in before:
                self._log.warning(
                    "Leaving alone job %s of %s on %s: another hub with this cookie secret submitted it",
                    *(job.id, job.user, cluster),
                )
            at = before[place].at if place in before else now
            seen = LeftAlone(at, cluster, job.id, job.user, job.state.value, mark.instance)
            self._left_alone[place] = seen

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

    def _unknown(self, jobs: Iterable[Job], known: Collection[str]) -> list[tuple[Job, MarkOfJob]]:
        """The live jobs of hubs with this hub's secret whose spawn isn't among the known ones."""
        return [
            (job, mark)
            for job in jobs
            if not (job.state.is_over or job.state.is_ending)
            if (mark := self._hub.mark(job)) is not None and mark.spawn_id not in known
        ]
