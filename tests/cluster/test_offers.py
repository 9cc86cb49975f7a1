"""The table test: what Flatirons offers is what Slurm accepts, and the other way round.

Asked is `sbatch --test-only`, which is quick. It isn't the whole truth (seen with Slurm 24.11, and so in
job_start_data() of its job_scheduler.c): it looks neither at partitions that are down nor at limits of a QOS
without DenyOnLimit nor at how many cores a job's memory costs, and it refuses what must wait for the end of a
reservation. So where its answer isn't the expected one, a sample is submitted for real; what it came to has a
name, and no other name is let pass.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from flatirons.errors import SubmitRefused
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.limits import explain_limit
from flatirons.slurm.model import Job, JobSpec
from flatirons.slurm.rights import Rights
from flatirons.spawners.slurm_facts import Outlook
from tests.cluster.offered import USERS, Ask, beyond, elsewhere, everybodys_rights, places, within
from tests.conftest import RealCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

AT_ONCE = 4
ELSEWHERE = 250
STRANGERS = 60
SUBMITTED = 24
CLUSTERS = ("summit", "blanca")
SCRIPT = "#!/bin/sh\nexec sleep 60\n"

REFUSED = "refused"
NEVER_STARTS = "taken, but never starts: a limit of a QOS without DenyOnLimit, or of a group"
IS_DOWN = "taken, but the partition is down"
WAITS = "waits for nodes, or for the end of a reservation"
STARTS = "starts"


@dataclass(frozen=True)
class Slurm:
    """The clusters, and everybody's rights on them."""

    clients: Mapping[str, SlurmClient]
    rights: Mapping[str, Mapping[str, Rights]]
    turn: asyncio.Semaphore

    async def refusals(self, cluster: str, user: str, asks: Iterable[Ask]) -> dict[Ask, str]:
        """What `sbatch --test-only` says to each, "" where it accepts."""
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
        """What becomes of jobs that are submitted for real; each is cancelled when that is known.

        One that waits for nodes may be found to exceed a limit when Slurm looks closer: `patience` is for how
        many seconds that isn't taken for the last word.
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


@pytest.fixture
def clients(cluster: RealCluster) -> dict[str, SlurmClient]:
    runner = cluster.runner()
    return {name: SlurmClient(cluster.clusters[name], runner) for name in CLUSTERS}


async def look(clients: Mapping[str, SlurmClient]) -> Slurm:
    rights = {name: await everybodys_rights(client) for name, client in clients.items()}
    return Slurm(clients, rights, asyncio.Semaphore(AT_ONCE))


def dice() -> random.Random:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return random.Random(seed)


def sample(asks: Sequence[tuple[str, Ask]], count: int) -> list[tuple[str, Ask]]:
    """One of each sort, and of the sorts so many."""
    chance = dice()
    sorts: dict[tuple[str, ...], list[tuple[str, Ask]]] = {}
    for user, ask in asks:
        sorts.setdefault((user, ask.place.account, ask.place.qos, ask.what), []).append((user, ask))
    one_of_each = [chance.choice(alike) for alike in sorts.values()]
    return chance.sample(one_of_each, min(count, len(one_of_each)))


def has_reserved_nodes(rights: Rights, ask: Ask) -> bool:
    names = {name for each in rights.facts.reservations for name in each.node_names}
    return any(node.name in names for node in rights.facts.nodes_of[ask.place.partition])


@pytest.mark.parametrize("cluster_name", CLUSTERS)
async def test_all_that_is_offered_is_accepted(clients: dict[str, SlurmClient], cluster_name: str) -> None:
    slurm = await look(clients)
    refused: list[tuple[str, Ask]] = []
    for user in USERS:
        rights = slurm.rights[cluster_name][user]
        offered = places(rights)
        answers = await slurm.refusals(
            cluster_name, user, (ask for place in offered for ask in within(rights, place))
        )
        no = {ask: sentence for ask, sentence in answers.items() if sentence}
        print(
            f"{cluster_name} {user}: {len(offered)} places, {len(answers)} jobs, {len(no)} refused by a test"
        )
        lies = [f"{ask}: {no[ask]}" for ask in no if not has_reserved_nodes(rights, ask)]
        assert not lies, "\n".join(lies)
        refused += [(user, ask) for ask in no]
    tried = sample(refused, SUBMITTED)
    outcomes = await slurm.outcomes(cluster_name, tried, patience=0)
    print(Counter(outcomes))
    lies = [
        f"{user} {ask}: {outcome}"
        for (user, ask), outcome in zip(tried, outcomes, strict=True)
        if outcome not in (STARTS, WAITS)
    ]
    assert not lies, "\n".join(lies)


@pytest.mark.parametrize("cluster_name", CLUSTERS)
async def test_nothing_that_is_not_offered_would_start(
    clients: dict[str, SlurmClient], cluster_name: str
) -> None:
    slurm = await look(clients)
    everybody = slurm.rights[cluster_name]
    accounts = sorted(
        {name for each in everybody.values() for part in each.partitions for name in each.accounts(part.name)}
    )
    taken: list[tuple[str, Ask]] = []
    chance = dice()
    for user, rights in everybody.items():
        offered = places(rights)
        more = [ask for place in offered for ask in beyond(rights, place)]
        others = elsewhere(rights.facts, accounts, offered)
        more += chance.sample(others, min(ELSEWHERE, len(others)))
        answers = await slurm.refusals(cluster_name, user, more)
        yes = [(user, ask) for ask, sentence in answers.items() if not sentence]
        print(f"{cluster_name} {user}: {len(answers)} jobs, {len(yes)} accepted by a test")
        taken += yes
    tried = sample(taken, SUBMITTED)
    outcomes = await slurm.outcomes(cluster_name, tried, patience=8)
    print(Counter(outcomes))
    hidden = [
        f"{user} {ask}: {outcome}"
        for (user, ask), outcome in zip(tried, outcomes, strict=True)
        if outcome not in (REFUSED, NEVER_STARTS, IS_DOWN, *([WAITS] if ask.place.reservation else []))
    ]
    assert not hidden, "\n".join(hidden)


async def test_an_offer_is_the_same_while_others_have_the_nodes(clients: dict[str, SlurmClient]) -> None:
    idle = await look(clients)
    summit = clients["summit"]
    places_of = {user: places(rights) for user, rights in idle.rights["summit"].items()}
    spec = JobSpec("blocker", partition="sgpu", account="ucb-general", nodes=2, runtime_minutes=5)
    spec = replace(spec, chdir="/tmp", output="none", extra=("--exclusive",))
    blocker = await summit.submit(spec, SCRIPT, user="alice")
    try:
        await until_running(summit, blocker)
        busy = await look(clients)
        for user, rights in busy.rights["summit"].items():
            assert rights.facts.supply["sgpu"].idle_nodes == 0
            assert places(rights) == places_of[user]
            asks = [
                ask for place in places_of[user] if place.partition == "sgpu" for ask in within(rights, place)
            ]
            before = idle.rights["summit"][user]
            assert asks == [
                ask for place in places_of[user] if place.partition == "sgpu" for ask in within(before, place)
            ]
            assert not [said for said in (await busy.refusals("summit", user, asks)).values() if said]
    finally:
        await summit.cancel(blocker, user="alice")


async def until_running(client: SlurmClient, job_id: int) -> None:
    until = time.monotonic() + 30
    while True:
        job = await client.job(job_id)
        if job is not None and job.state.is_running:
            return
        assert time.monotonic() < until, job
        await asyncio.sleep(0.1)


RESERVATIONS = {
    "later": ("StartTime=now+2hours", "Users=bob", "Nodes=shas0102", "CoreCnt=2"),
    "for-group": ("StartTime=now", "Groups=rcops", "Nodes=shas0102", "CoreCnt=2"),
    "not-for-carol": ("StartTime=now", "Users=-carol", "Nodes=shas0102", "CoreCnt=2"),
    "for-knl": ("StartTime=now", "Accounts=ucb-knl", "Nodes=sknl0701", "CoreCnt=1"),
    "anywhere": ("StartTime=now", "Users=alice", "Nodes=sknl0701", "CoreCnt=1", "Flags=FLEX"),
    "floating": ("StartTime=now+10", "Users=alice", "Nodes=shas0102", "CoreCnt=1", "Flags=TIME_FLOAT"),
}


@pytest.fixture
def reservations(cluster: RealCluster) -> Iterator[None]:
    """Reservations of every sort, for as long as the test."""
    scontrol = ["env", f"SLURM_CONF={cluster.clusters['summit'].slurm_conf}", "scontrol"]
    made = []
    try:
        for name, words in RESERVATIONS.items():
            create = [*scontrol, "create", "reservation", f"ReservationName={name}", "Duration=60", *words]
            done = cluster.exec("ctl", create)
            assert done.returncode == 0, done.stderr
            made.append(name)
        yield
    finally:
        for name in made:
            cluster.exec("ctl", [*scontrol, "delete", "reservation", name])


async def test_a_reservation_is_offered_to_whom_slurm_lets_in(
    clients: dict[str, SlurmClient], reservations: None
) -> None:
    slurm = await look(clients)
    offered_to: dict[str, set[str]] = {}
    for user, rights in slurm.rights["summit"].items():
        offered = [place for place in places(rights) if place.reservation in RESERVATIONS]
        offered_to[user] = {place.reservation for place in offered}
        asks = [next(iter(within(rights, place))) for place in offered]
        said = await slurm.refusals("summit", user, asks)
        later = {ask for ask in asks if ask.place.reservation == "later"}
        # A test can't look ahead: it says "Invalid time specified" of what sbatch takes.
        assert not [f"{user} {ask}: {no}" for ask, no in said.items() if no and ask not in later]
        tried = [(user, ask) for ask in sorted(later, key=str)[:4]]
        assert set(await slurm.outcomes("summit", tried, patience=0)) <= {"Reservation"}
        strangers = [
            ask
            for ask in elsewhere(rights.facts, rights.accounts("shas"), places(rights))
            if ask.place.reservation in RESERVATIONS and ask.place.partition != "sdown"
        ]
        few = dice().sample(strangers, min(STRANGERS, len(strangers)))
        said = await slurm.refusals("summit", user, few)
        assert not [f"{user} {ask}" for ask, no in said.items() if not no]
    assert offered_to == {
        "alice": {"not-for-carol", "for-knl", "anywhere"},
        "bob": {"later", "for-group", "not-for-carol"},
        "carol": {"for-group", "for-knl"},
        "dave": set(),
    }


async def test_hidden_partitions_are_offered_and_clusters_do_not_mix(clients: dict[str, SlurmClient]) -> None:
    facts = await Outlook(clients).facts("carol", fresh=True)
    summit, blanca = (facts.rights(name) for name in CLUSTERS)
    assert summit and blanca
    assert "stest" in {each.name for each in summit.partitions}
    assert [each.name for each in blanca.partitions] == ["blanca-csdms", "blanca-sol", "blanca-course"]
    assert summit.accounts("shas") == ("csdms", "knl-students")
    assert blanca.accounts("blanca-course") == ("csdms", "sol")
    assert not summit.bounds("blanca-csdms", "csdms", "normal").shapes
    assert blanca.bounds("blanca-csdms", "csdms", "normal").gpu_types() == {"": 2, "a100": 2}
    assert {each.name for each in summit.facts.reservations} == {"workshop"}
    assert {each.name for each in blanca.facts.reservations} == {"course"}
