"""The registry: what all servers of a hub share.

It holds a client and a watcher for each cluster, and finds the run that a boot code or a key belongs to. It
lives in the hub's settings, not in a module, so that two hubs in one process share nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from logging import Logger
from typing import Any, Generic, Protocol, Self, TypeVar

from flatirons.runner import Runner
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.estimate import Estimator
from flatirons.slurm.identity import is_same
from flatirons.slurm.model import Cluster, Job
from flatirons.slurm.watcher import Watcher
from flatirons.slurm_form.offers import OfferCache
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.stored_state import Followed, digest
from flatirons.spawners.shared.changes import Changes
from flatirons.spawners.shared.host_names import HostNames
from flatirons.spawners.shared.instance import instance_id
from flatirons.spawners.shared.metrics import Metrics
from flatirons.spawners.shared.node_addresses import NodeAddresses
from flatirons.spawners.shared.orphans import OrphanSearch
from flatirons.spawners.shared.state_writer import StateWriter

SETTINGS_KEY = "flatirons_registry"
SECONDS_BETWEEN_SEARCHES = 30.0
"""From one search for orphans to the next."""

REMINDERS_PER_SEARCH = 2
"""How often every run is reminded between two searches."""


_MARK = r"(?:-(?P<instance>\w{1,16}))?:(?P<spawn>[^:]*):"
"""What follows `Registry.comment_part` in a comment."""


def hub_id(cookie_secret: bytes) -> str:
    """A name for the hubs with this secret: this one, and those that were given a copy of it."""
    return hashlib.sha256(b"flatirons hub id" + cookie_secret).hexdigest()[:12]


class Registered(Followed, Protocol):
    """A run whose starter may call, as the registry sees it."""

    user: str | None
    """Whose job it is."""

    @property
    def phase(self) -> str:
        """What its server is doing, in one word."""

    def remind(self) -> None:
        """Follows the job again if that has failed, and corrects what JupyterHub shows of the server."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a job's comment says: the instance of the hub, "" for an earlier release, and the spawn."""

    instance: str
    spawn_id: str


Run = TypeVar("Run", bound=Registered)


@dataclass
class Registry(Generic[Run]):
    """The clients and watchers of a hub, and its runs by boot code and by key.

    `load_instance` tells which hub of this `hub_id` this is, and may raise SQLAlchemyError.
    """

    hub_id: str
    clients: Mapping[str, SlurmClient]
    log: Logger
    watchers: dict[str, Watcher] = field(default_factory=dict)
    estimators: dict[str, Estimator] = field(default_factory=dict)
    state_writer: StateWriter = field(default_factory=StateWriter)
    names: HostNames = field(default_factory=HostNames)
    changes: Changes = field(default_factory=Changes)
    _nodes: dict[str, NodeAddresses] = field(default_factory=dict)
    _offers: OfferCache | None = None
    _by_code: dict[str, Run] = field(default_factory=dict)
    _by_key: dict[str, Run] = field(default_factory=dict)
    _rounds: asyncio.Task[None] | None = None
    began_at: float = field(default_factory=time.time)
    load_instance: Callable[[], str] = lambda: ""
    _instance: str | None = None
    holds_connections: bool = False
    """Whether the hub holds a connection to each server that is up, to notice its end at once."""

    def __post_init__(self) -> None:
        self.metrics = Metrics(self)
        self.orphans = OrphanSearch(self, self.log)
        for client in self.clients.values():
            client.on_command = self.metrics.count_command

    @classmethod
    def of_hub(
        cls,
        settings: dict[str, Any],
        clusters: Mapping[str, Mapping[str, Any]],
        make_runner: Callable[[], Runner],
        log: Logger,
    ) -> Self:
        """The registry in the hub's settings; made with these clusters at the first call."""
        if SETTINGS_KEY not in settings:
            runner = make_runner()
            clients = {name: SlurmClient(Cluster.of(name, facts), runner) for name, facts in clusters.items()}
            made = cls(hub_id(compat.cookie_secret(settings)), clients, log, holds_connections=True)
            if session := compat.session_of(settings):
                made.load_instance = partial(instance_id, session, compat.hub_url(settings), log)
            settings[SETTINGS_KEY] = made
        registry: Self = settings[SETTINGS_KEY]
        return registry

    @property
    def instance(self) -> str:
        """Which hub of this `hub_id` this is; raises SQLAlchemyError when that can't be read."""
        if self._instance is None:
            self._instance = self.load_instance()
        return self._instance

    @property
    def comment_part(self) -> str:
        """What the comments of all jobs of hubs with this `hub_id` contain."""
        return f"flatirons:{self.hub_id}"

    def comment(self, spawn_id: str, server: str) -> str:
        """The job comment by which a spawn's job is found again; `server` is for human readers."""
        instance = f"-{self.instance}" if self.instance else ""
        return f"{self.comment_part}{instance}:{spawn_id}:{server}"

    def mark(self, job: Job) -> Mark | None:
        """What a job's comment says of us, None if nothing.

        A plugin of the site may have put something before it. Earlier releases named no instance.
        """
        found = re.search(re.escape(self.comment_part) + _MARK, job.comment)
        return Mark(found["instance"] or "", found["spawn"]) if found else None

    def spawn_id(self, job: Job) -> str | None:
        """The spawn that a job's comment names, None if it names none of this hub or of one like it."""
        mark = self.mark(job)
        return mark.spawn_id if mark else None

    def is_known(self, cluster: str, job: Job) -> bool:
        """Is this the job of a server, whatever its comment says by now?"""
        return any(
            (run.attempt.cluster, run.attempt.job_id) == (cluster, job.id)
            and is_same(job, run.user or "", run.attempt.submit)
            for run in self.runs
        )

    @property
    def offers(self) -> OfferCache:
        """What the clusters offer to each user."""
        if self._offers is None:
            self._offers = OfferCache(self.clients)
        return self._offers

    def estimator(self, cluster: str) -> Estimator:
        """The object that estimates when a job would start on the cluster."""
        if cluster not in self.estimators:
            self.estimators[cluster] = Estimator(self.clients[cluster])
        return self.estimators[cluster]

    def watcher(self, cluster: str) -> Watcher:
        """The cluster's watcher, running."""
        if cluster not in self.watchers:
            self.watchers[cluster] = Watcher(self.clients[cluster], comment_part=self.comment_part)
            self.watchers[cluster].start()
        return self.watchers[cluster]

    def nodes(self, cluster: str) -> NodeAddresses:
        """Where the cluster's nodes are reached."""
        return self._nodes.setdefault(cluster, NodeAddresses(self.clients[cluster], self.names))

    async def find(self, cluster: str, spawn_id: str, user: str | None) -> Job | None:
        """The live job of a spawn, None when Slurm has none; raises SlurmError when Slurm doesn't answer."""
        snapshot = await self.watcher(cluster).refresh()
        for job in snapshot.jobs.values():
            if self.spawn_id(job) == spawn_id and job.user == user:
                return job
        return None

    def expect(self, run: Run) -> None:
        """Lets the run's starter call from now on."""
        self._by_code[run.attempt.code_digest] = run
        if run.attempt.key_digest:
            self._by_key[run.attempt.key_digest] = run

    def forget(self, run: Run) -> None:
        """Lets nobody call for the run any more."""
        self._by_code.pop(run.attempt.code_digest, None)
        self._by_key.pop(run.attempt.key_digest, None)

    @property
    def runs(self) -> list[Run]:
        """All runs whose starters may call."""
        return list(self._by_code.values())

    def spawn_ids(self) -> set[str]:
        """The spawns of all runs."""
        return {run.attempt.spawn_id for run in self.runs}

    def ages(self) -> dict[str, float]:
        """Seconds since each cluster's last good answer."""
        return {name: watcher.age for name, watcher in self.watchers.items()}

    def phases(self) -> list[tuple[str, str]]:
        """The cluster and the phase of each server."""
        return [(run.attempt.cluster, run.phase) for run in self.runs]

    def by_code(self, code: str) -> Run | None:
        """The run that this boot code was made for, None for any other text."""
        return self._by_code.get(digest(code))

    def by_key(self, key: str) -> Run | None:
        """The run whose starter made this key, None for any other text."""
        return self._by_key.get(digest(key))

    def start_rounds(self, stored_spawn_ids: Callable[[], set[str]]) -> None:
        """Searches for orphans every half minute and reminds the runs more often, from now on.

        `stored_spawn_ids()` returns the spawns of all servers in the database. Does nothing while the rounds
        are running; starts them again after an unexpected error.
        """
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.ensure_future(self._make_rounds(stored_spawn_ids))
            self._rounds.add_done_callback(self._log_failure)

    def stop_rounds(self) -> None:
        """Ends what `start_rounds` began."""
        if self._rounds:
            self._rounds.cancel()

    def _log_failure(self, rounds: asyncio.Task[None]) -> None:
        if not rounds.cancelled() and (error := rounds.exception()):
            self.log.error("The search for orphans failed", exc_info=error)

    async def _make_rounds(self, stored_spawn_ids: Callable[[], set[str]]) -> None:
        while True:
            await self.orphans.search_all(stored_spawn_ids)
            for _ in range(REMINDERS_PER_SEARCH):
                await asyncio.sleep(SECONDS_BETWEEN_SEARCHES / REMINDERS_PER_SEARCH)
                for run in self.runs:
                    run.remind()
