"""What a cluster offers, asked for when somebody looks and what is known has grown old.

However many people fill in forms, slurmctld is asked at most every few seconds. A failed query changes
nothing: what was known stays known, and its age tells.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flatirons.errors import SlurmError
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.model import Configuration

log = logging.getLogger(__name__)

T = TypeVar("T")

SELDOM_SECONDS = 600.0
"""How long QOS, accounts and configuration count as new: operators change them by hand."""

BACK_OFF_SECONDS = 10.0
"""How long after a failure Slurm isn't asked the same thing again."""

MOST_USERS = 2000
MOST_AT_ONCE = 200
"""Users whose associations are asked for by one command."""


@dataclass
class Known(Generic[T]):
    """The last good answer to one question; one query at a time, whoever asks."""

    ask: Callable[[], Awaitable[T]]
    now: Callable[[], float]
    value: T | None = None
    at: float = 0.0
    failed_at: float | None = None
    trouble: str = ""
    _query: asyncio.Task[None] | None = field(default=None, repr=False)

    async def get(self, max_age: float, patience: float) -> T | None:
        """The newest answer, not older than `max_age` seconds if Slurm gives one in `patience` seconds."""
        if self.value is None or self.now() - self.at > max_age:
            query = self._running()
            if query and patience > 0:
                await asyncio.wait([query], timeout=patience)
        return self.value

    def _running(self) -> asyncio.Task[None] | None:
        is_soon = self.failed_at is not None and self.now() - self.failed_at < BACK_OFF_SECONDS
        if (self._query is None or self._query.done()) and not is_soon:
            self._query = asyncio.ensure_future(self._ask())
        return None if self._query is None or self._query.done() else self._query

    async def _ask(self) -> None:
        began = self.now()
        try:
            self.value = await self.ask()
        except SlurmError as error:
            if not self.trouble:
                log.warning("What Slurm offers can't be read: %s", error.detail or error)
            self.failed_at, self.trouble = self.now(), error.user
        else:
            self.at, self.failed_at, self.trouble = began, None, ""


class ClusterCache:
    """One cluster's facts, and its users' associations."""

    def __init__(self, client: SlurmClient, now: Callable[[], float] = time.time) -> None:
        """`now` gives seconds since 1970."""
        self.client = client
        self._now = now
        self._facts = Known(self._take, now)
        self._seldom = Known(self._take_seldom, now)
        self._users: OrderedDict[str, Known[tuple[Association, ...]]] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[tuple[Association, ...]]] = {}
        self._asking: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why the facts couldn't be renewed, "" when they could."""
        return self._facts.trouble

    async def look(self, *, max_age: float, patience: float) -> ClusterFacts | None:
        """The newest facts; None while Slurm has never answered. Never raises for a silent Slurm."""
        return await self._facts.get(max_age, patience)

    async def associations(
        self, user: str, *, max_age: float, patience: float
    ) -> tuple[Association, ...] | None:
        """What the user may charge; None while that isn't known, or where there is no accounting."""
        known = self._users.get(user)
        if known is None:
            known = self._users[user] = Known(lambda: self._take_associations(user), self._now)
            while len(self._users) > MOST_USERS:
                self._users.popitem(last=False)
        self._users.move_to_end(user)
        return await known.get(max_age, patience)

    async def _take(self) -> ClusterFacts:
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
        )
        await asyncio.to_thread(_work_out, facts, self._facts.value)
        return facts

    async def _take_seldom(self) -> tuple[Configuration, list[Qos], list[Account]]:
        configuration = await self.client.configuration()
        if not configuration.enforced:
            return configuration, [], []
        accounts = await self.client.accounts(configuration.cluster_name)
        return configuration, await self.client.qos(), accounts

    async def _take_associations(self, user: str) -> tuple[Association, ...]:
        """Those of one user, by a question that is put for all who come while another is answered."""
        if not user or not user.isprintable() or set(user) & set(", ="):
            return ()  # no name that accounting could have
        answer = self._wanted.setdefault(user, asyncio.get_running_loop().create_future())
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask_for_all())
        return await answer

    async def _ask_for_all(self) -> None:
        while self._wanted:
            users = list(self._wanted)[:MOST_AT_ONCE]
            answers = {user: self._wanted.pop(user) for user in users}
            try:
                found = await self.client.associations(*users)
            except SlurmError as error:
                for answer in answers.values():
                    answer.set_exception(error)
                continue
            of: dict[str, list[Association]] = {}
            for each in found:
                of.setdefault(each.user, []).append(each)
            for user, answer in answers.items():
                answer.set_result(tuple(of.get(user, ())))


def _work_out(facts: ClusterFacts, before: ClusterFacts | None) -> None:
    """What every form needs of a snapshot, and costs a large cluster some time."""
    _ = facts.shapes_of, facts.supply
    if before:
        facts.keep_rules_of(before)
