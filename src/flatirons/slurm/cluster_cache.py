"""What a cluster offers, renewed when somebody needs it and the last answer is too old.

However many people fill in forms, slurmctld is asked at most every few seconds. A failed query changes
nothing: the last answer stays, and its age shows that it is old.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from cachetools import LRUCache

from flatirons.concurrency import BatchedCall, SharedCall
from flatirons.errors import SlurmError
from flatirons.slurm import argv
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.cluster_model import Configuration, Partition
from flatirons.slurm.facts import ClusterFacts

log = logging.getLogger(__name__)

T = TypeVar("T")

SELDOM_SECONDS = 600.0
"""How long QOS, accounts, configuration and names of hosts count as new. They change by hand, and rarely."""

LOOKUP_SECONDS = 2.0
"""How long the snapshot waits for the names of the machine that submits jobs."""

BACK_OFF_SECONDS = 10.0
"""How long after a failure the same query isn't tried again."""

MOST_USERS = 2000
MOST_AT_ONCE = 200
"""The most users whose associations one command asks for."""


class CachedAnswer(Generic[T]):
    """The last good answer of Slurm to one question, renewed when somebody needs it and it is too old.

    `value` is None before the first answer; `trouble` says why the last attempt to renew it failed, "" when
    it didn't.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], now: Callable[[], float]) -> None:
        self.value: T | None = None
        self.trouble = ""
        self._ask = ask
        self._now = now
        self._asked_at = 0.0
        self._failed_at = -math.inf
        self._renewal = SharedCall(self._renew)

    async def get(self, max_age: float, patience: float) -> T | None:
        """The newest answer, not older than `max_age` seconds if Slurm gives one in `patience` seconds."""
        if self.value is None or self._now() - self._asked_at > max_age:
            is_soon = self._now() - self._failed_at < BACK_OFF_SECONDS
            if self._renewal.is_running or not is_soon:
                renewal = self._renewal.start()
                if patience > 0:
                    await asyncio.wait([renewal], timeout=patience)
        return self.value

    async def _renew(self) -> None:
        began = self._now()
        try:
            self.value = await self._ask()
        except SlurmError as error:
            if not self.trouble:
                log.warning("What Slurm offers can't be read: %s", error.detail or error)
            self._failed_at, self.trouble = self._now(), error.user
        else:
            self._asked_at, self._failed_at, self.trouble = began, -math.inf, ""


class ClusterCache:
    """One cluster's facts, and its users' associations."""

    def __init__(self, client: SlurmClient, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is the clock, in seconds, by which answers age."""
        self.client = client
        self._now = now
        self._facts = CachedAnswer(self._ask_facts, now)
        self._seldom = CachedAnswer(self._ask_seldom, now)
        self._hosts = CachedAnswer(lambda: client.submit_hosts(), now)
        self._users: LRUCache[str, CachedAnswer[tuple[Association, ...]]] = LRUCache(MOST_USERS)
        self._associations = BatchedCall(self._ask_associations)

    @property
    def trouble(self) -> str:
        """Why the facts couldn't be renewed the last time, "" when they could."""
        return self._facts.trouble

    async def look(self, *, max_age: float, patience: float) -> ClusterFacts | None:
        """The newest facts, None before Slurm's first answer. Raises nothing when Slurm doesn't answer.

        They aren't older than `max_age` seconds if Slurm answers within `patience` seconds.
        """
        return await self._facts.get(max_age, patience)

    async def associations(
        self, user: str, *, max_age: float, patience: float
    ) -> tuple[Association, ...] | None:
        """The user's associations; None while they aren't known, or where there is no accounting."""
        if not argv.is_name(user):
            return ()  # no name that accounting could have
        answer = CachedAnswer(partial(self._ask_own_associations, user), self._now)
        return await self._users.setdefault(user, answer).get(max_age, patience)

    async def _ask_facts(self) -> ClusterFacts:
        began = self._now()
        seldom = await self._seldom.get(SELDOM_SECONDS, SELDOM_SECONDS)
        if seldom is None:
            raise SlurmError(self._seldom.trouble, "configuration and QOS are not known")
        partitions = await self.client.partitions()
        nodes = await self.client.nodes()
        reservations = await self.client.reservations()
        waiting = await self.client.waiting()
        configuration, qos, accounts = seldom
        facts = ClusterFacts(
            configuration,
            tuple(partitions),
            tuple(nodes),
            tuple(reservations),
            {each.name: each for each in qos},
            waiting,
            began,
            {each.name: each for each in accounts},
            await self._ask_hosts(partitions),
        )
        await asyncio.to_thread(_compute, facts, self._facts.value)
        return facts

    async def _ask_seldom(self) -> tuple[Configuration, list[Qos], list[Account]]:
        configuration = await self.client.configuration()
        if not configuration.enforced:
            return configuration, [], []
        accounts = await self.client.accounts(configuration.cluster_name)
        return configuration, await self.client.qos(), accounts

    async def _ask_hosts(self, partitions: Sequence[Partition]) -> frozenset[str]:
        """The names of the machine that submits, if a partition asks for them; none while DNS is silent."""
        if all(each.alloc_nodes is None for each in partitions):
            return frozenset()
        return await self._hosts.get(SELDOM_SECONDS, LOOKUP_SECONDS) or frozenset()

    async def _ask_own_associations(self, user: str) -> tuple[Association, ...]:
        return (await self._associations.get([user]))[user]

    async def _ask_associations(self, users: Sequence[str]) -> dict[str, tuple[Association, ...]]:
        """The associations of each user: one command for all users who are looked up at the same time."""
        found: dict[str, tuple[Association, ...]] = dict.fromkeys(users, ())
        for first in range(0, len(users), MOST_AT_ONCE):
            for each in await self.client.associations(*users[first : first + MOST_AT_ONCE]):
                found[each.user] = (*found.get(each.user, ()), each)
        return found


def _compute(facts: ClusterFacts, before: ClusterFacts | None) -> None:
    """Computes what every form needs of a snapshot, which takes a while for a large cluster."""
    _ = facts.shapes_of, facts.supply
    if before:
        facts.keep_rules_of(before)
