"""What a cluster offers: queried when somebody needs it, one query at a time, shared by everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.accounting import Association
from flatirons.slurm.cluster_cache import BACK_OFF_SECONDS, ClusterCache
from flatirons.slurm.cluster_model import Configuration, Partition


class Slurm:
    """Replaces the client: counts the queries, and answers while its gate is open."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.looked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_down = False

    async def associations(self, *users: str) -> list[Association]:
        self.asked.append(users)
        await self.gate.wait()
        self._answer()
        return [Association("summit", f"{user}s", user) for user in users]

    def _answer(self) -> None:
        if self.is_down:
            raise SlurmUnreachable("Slurm does not answer.")

    async def partitions(self) -> list[Any]:
        self.looked += 1
        self._answer()
        return []

    async def configuration(self) -> Configuration:
        self._answer()
        return Configuration("summit")

    async def nothing(self) -> list[Any]:
        return []

    nodes = reservations = nothing

    async def waiting(self) -> dict[str, int]:
        return {}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slurm() -> Slurm:
    return Slurm()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(slurm: Slurm, clock: Clock) -> ClusterCache:
    return ClusterCache(slurm, clock)  # type: ignore[arg-type]


async def test_users_who_come_while_a_query_runs_share_the_next_one(
    cache: ClusterCache, slurm: Slurm
) -> None:
    slurm.gate.clear()
    looking = [asyncio.ensure_future(cache.associations(f"u{n}", max_age=60, patience=5)) for n in range(5)]
    while not slurm.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    late = [asyncio.ensure_future(cache.associations(f"v{n}", max_age=60, patience=5)) for n in range(3)]
    slurm.gate.set()
    found = await asyncio.gather(*looking, *late)
    assert [each and each[0].account for each in found] == [
        *("u0s", "u1s", "u2s", "u3s", "u4s", "v0s", "v1s", "v2s"),
    ]
    assert len(slurm.asked) <= 3
    assert sorted(name for names in slurm.asked for name in names) == [
        *("u0", "u1", "u2", "u3", "u4", "v0", "v1", "v2"),
    ]


async def test_names_that_no_account_could_have_are_not_asked_for(cache: ClusterCache, slurm: Slurm) -> None:
    for name in ("", "a,b", "a=b", "a\nb"):
        assert await cache.associations(name, max_age=60, patience=1) == ()
    assert slurm.asked == []


async def test_a_failed_query_leaves_the_last_answer(cache: ClusterCache, slurm: Slurm, clock: Clock) -> None:
    known = await cache.associations("alice", max_age=60, patience=1)
    slurm.is_down, clock.now = True, clock.now + 100
    assert await cache.associations("alice", max_age=60, patience=1) == known
    assert await cache.associations("bob", max_age=60, patience=1) is None


async def test_after_a_failure_slurm_is_not_asked_again_for_a_while(
    cache: ClusterCache, slurm: Slurm, clock: Clock
) -> None:
    slurm.is_down = True
    assert await cache.look(max_age=10, patience=1) is None
    assert cache.trouble == "Slurm does not answer."
    slurm.is_down = False
    assert await cache.look(max_age=10, patience=1) is None
    clock.now += BACK_OFF_SECONDS
    assert await cache.look(max_age=10, patience=1) is not None
    assert cache.trouble == ""


async def test_facts_are_asked_for_again_only_when_they_are_old(
    cache: ClusterCache, slurm: Slurm, clock: Clock
) -> None:
    await asyncio.gather(*(cache.look(max_age=10, patience=1) for _ in range(20)))
    clock.now += 9
    await cache.look(max_age=10, patience=1)
    assert slurm.looked == 1
    clock.now += 2
    await cache.look(max_age=10, patience=1)
    assert slurm.looked == 2


async def test_the_machines_names_are_looked_up_only_for_a_partition_that_asks_for_them(
    cache: ClusterCache, slurm: Slurm, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = []

    async def submit_hosts() -> frozenset[str]:
        lookups.append(1)
        return frozenset({"hub"})

    async def partitions() -> list[Partition]:
        return [Partition("shas", is_up=True, alloc_nodes=("login1",))]

    monkeypatch.setattr(slurm, "submit_hosts", submit_hosts, raising=False)
    facts = await cache.look(max_age=0, patience=1)
    assert facts and facts.submit_hosts == frozenset() and not lookups
    monkeypatch.setattr(slurm, "partitions", partitions)
    clock.now += 1
    facts = await cache.look(max_age=0, patience=1)
    assert facts and facts.submit_hosts == {"hub"}
    clock.now += 1
    await cache.look(max_age=0, patience=1)
    assert len(lookups) == 1
