"""The registry: what all servers of a hub process share.

It holds a client and a watcher for each cluster, knows which spawner a boot code or a starter's key belongs
to, and looks after jobs that no server knows of. A hub process has one; it lives in the hub's
settings, not in a module, so that two hubs in one process (tests) don't meet.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from logging import Logger
from typing import Any, Generic, Protocol, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, SlurmError
from flatirons.runner import AsRoot, AsSelf, AsSudo, OverSsh, Runner
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.estimate import Estimator
from flatirons.slurm.model import Cluster, Job
from flatirons.slurm.watcher import Watcher
from flatirons.slurm_form.offers import OfferCache
from flatirons.spawners.run.stored_state import Followed, digest
from flatirons.spawners.shared import metrics
from flatirons.spawners.shared.host_names import HostNames
from flatirons.spawners.shared.state_writer import StateWriter

SETTINGS_KEY = "flatirons_registry"
RECONCILE_SECONDS = 30.0
"""How often the last answer of Slurm is searched for orphans: that asks Slurm nothing."""

ROUNDS = 2
"""How often between two searches it is looked for servers that are over and still shown."""

MOST_ORPHANS = 50


def runner_for(run_as: str, ssh_host: str = "") -> Runner:
    """The runner that `run_as` names: root, sudo, ssh or self."""
    if run_as == "ssh":
        return OverSsh(ssh_host)
    ways: dict[str, type[Runner]] = {"root": AsRoot, "sudo": AsSudo, "self": AsSelf}
    return ways[run_as]()


def hub_id(cookie_secret: bytes) -> str:
    """A name for this hub that no other hub on the cluster has, and that survives its restarts."""
    return hashlib.sha256(b"flatirons hub id" + cookie_secret).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job of this hub that no server knew, and what became of it; `at` is in seconds since 1970."""

    at: float
    cluster: str
    job_id: int
    user: str
    outcome: str


class Expected(Followed, Protocol):
    """A run that a starter may report for, as the registry sees it."""

    @property
    def phase(self) -> str:
        """What its server is doing, in one word."""

    def remind(self) -> None:
        """Has its server cleaned up if that is over for long, and still shown; else its address held."""


Run = TypeVar("Run", bound=Expected)


@dataclass
class Registry(Generic[Run]):
    """Clients, watchers and the index of servers on their way."""

    hub_id: str
    clients: Mapping[str, SlurmClient]
    log: Logger
    watchers: dict[str, Watcher] = field(default_factory=dict)
    estimators: dict[str, Estimator] = field(default_factory=dict)
    state_writer: StateWriter = field(default_factory=StateWriter)
    names: HostNames = field(default_factory=HostNames)
    _outlook: OfferCache | None = None
    _by_code: dict[str, Run] = field(default_factory=dict)
    _by_key: dict[str, Run] = field(default_factory=dict)
    _reconciling: asyncio.Task[None] | None = None
    orphans: list[Orphan] = field(default_factory=list)
    began_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        for client in self.clients.values():
            client.on_command = metrics.count_command
        metrics.GAUGES.hub = weakref.ref(self)

    @classmethod
    def of_hub(
        cls,
        settings: dict[str, Any],
        clusters: Mapping[str, Mapping[str, str]],
        make_runner: Callable[[], Runner],
        log: Logger,
    ) -> Self:
        """The registry in the hub's settings; put there, with these clusters, when the first asks for it."""
        if SETTINGS_KEY not in settings:
            runner = make_runner()
            clients = {
                name: SlurmClient(
                    Cluster(name, facts.get("slurm_conf", ""), facts.get("bin_dir", "")), runner
                )
                for name, facts in clusters.items()
            }
            settings[SETTINGS_KEY] = cls(hub_id(settings["cookie_secret"]), clients, log)
        registry: Self = settings[SETTINGS_KEY]
        return registry

    @property
    def comment_prefix(self) -> str:
        """What the comments of all jobs of this hub begin with."""
        return f"flatirons:{self.hub_id}:"

    def comment(self, spawn_id: str, server: str) -> str:
        """The job comment by which a spawn's job is found again; `server` is for human readers."""
        return f"{self.comment_prefix}{spawn_id}:{server}"

    def spawn_id(self, job: Job) -> str | None:
        """The spawn that a job belongs to, None for a job that isn't of this hub."""
        parts = job.comment.split(":", 3)
        return parts[2] if parts[:2] == ["flatirons", self.hub_id] and len(parts) == 4 else None

    @property
    def offers(self) -> OfferCache:
        """What the clusters offer to whom."""
        if self._outlook is None:
            self._outlook = OfferCache(self.clients)
        return self._outlook

    def estimator(self, cluster: str) -> Estimator:
        """Who asks when a job of the cluster would start."""
        if cluster not in self.estimators:
            self.estimators[cluster] = Estimator(self.clients[cluster])
        return self.estimators[cluster]

    def watcher(self, cluster: str) -> Watcher:
        """The cluster's watcher, running."""
        if cluster not in self.watchers:
            self.watchers[cluster] = Watcher(self.clients[cluster], of=self.comment_prefix)
            self.watchers[cluster].start()
        return self.watchers[cluster]

    async def find(self, cluster: str, spawn_id: str, user: str) -> Job | None:
        """The live job of a spawn, None when Slurm has none; raises SlurmError when Slurm doesn't answer."""
        snapshot = await self.watcher(cluster).refresh()
        for job in snapshot.jobs.values():
            if self.spawn_id(job) == spawn_id and job.user == user:
                return job
        return None

    def expect(self, run: Run) -> None:
        """From now on the run's starter may report."""
        self._by_code[run.attempt.code_digest] = run
        if run.attempt.key_digest:
            self._by_key[run.attempt.key_digest] = run

    def forget(self, run: Run) -> None:
        """The run is over; nobody reports for it any more."""
        self._by_code.pop(run.attempt.code_digest, None)
        self._by_key.pop(run.attempt.key_digest, None)

    @property
    def runs(self) -> list[Run]:
        """All runs that a starter may still report for."""
        return list(self._by_code.values())

    def ages(self) -> dict[str, float]:
        """Seconds since each cluster's last good answer."""
        return {name: watcher.age for name, watcher in self.watchers.items()}

    def phases(self) -> list[tuple[str, str]]:
        """The cluster and the phase of each server."""
        return [(run.attempt.cluster, run.phase) for run in self.runs]

    def by_code(self, code: str) -> Run | None:
        """The run that this boot code was made for."""
        return self._by_code.get(digest(code))

    def by_key(self, key: str) -> Run | None:
        """The run whose starter made this key."""
        return self._by_key.get(digest(key))

    def start_reconciling(self, known_spawn_ids: Callable[[], set[str]]) -> None:
        """Looks for orphans now and every half minute; `known_spawn_ids()` says what isn't one.

        Looks already, it goes on; ended by a mistake of ours, it begins again.
        """
        if self._reconciling is None or self._reconciling.done():
            self._reconciling = asyncio.ensure_future(self._reconcile_forever(known_spawn_ids))
            self._reconciling.add_done_callback(self._report)

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.log.error("Looking for orphans ended by a mistake", exc_info=error)

    async def _reconcile_forever(self, known_spawn_ids: Callable[[], set[str]]) -> None:
        while True:
            for cluster in self.clients:
                try:
                    await self.reconcile(cluster, known_spawn_ids)
                except (SlurmError, SQLAlchemyError) as error:
                    said = getattr(error, "detail", "") or error
                    self.log.warning("Can't look for orphans on %s: %s", cluster, said)
            for _ in range(ROUNDS):
                await asyncio.sleep(RECONCILE_SECONDS / ROUNDS)
                for run in self.runs:
                    run.remind()

    async def reconcile(self, cluster: str, known_spawn_ids: Callable[[], set[str]]) -> list[int]:
        """Cancels jobs of this hub that no server knows; gives their ids. Raises SlurmError for no answer.

        A spawn is stored before its job is submitted, so a job that isn't known now never will be.
        """
        watcher = self.watcher(cluster)
        snapshot = watcher.snapshot or await watcher.refresh()
        orphans = list(self._orphans(snapshot.jobs.values(), {run.attempt.spawn_id for run in self.runs}))
        if orphans:  # only then is the database asked, which has all servers
            orphans = list(self._orphans(orphans, known_spawn_ids()))
        for job in orphans:
            await self._cancel_orphan(cluster, job)
        if orphans:
            watcher.kick()  # the next search is to see what came of it
        return [job.id for job in orphans]

    async def _cancel_orphan(self, cluster: str, job: Job) -> None:
        """Cancels the job; it is listed once, however often that is tried."""
        self.log.warning("Cancelling job %s of %s on %s: no server knows it", job.id, job.user, cluster)
        outcome = "cancelled"
        try:
            await self.clients[cluster].cancel(job.id, user=job.user)
        except FlatironsError as error:
            outcome = f"not cancelled: {error.user}"
            self.log.error("Can't cancel orphan %s: %s", job.id, error.detail or error)
        others = [each for each in self.orphans if (each.cluster, each.job_id) != (cluster, job.id)]
        self.orphans = [*others, Orphan(time.time(), cluster, job.id, job.user, outcome)][-MOST_ORPHANS:]

    def _orphans(self, jobs: Iterable[Job], known: set[str]) -> Iterable[Job]:
        for job in jobs:
            spawn_id = self.spawn_id(job)
            alive = not (job.state.is_over or job.state.is_ending)
            if alive and spawn_id is not None and spawn_id not in known:
                yield job
