"""Flatirons offers exactly what Slurm accepts.

The tests use `sbatch --test-only`, which is quick. Its answer isn't always right (seen with Slurm 24.11; see
job_start_data() in its job_scheduler.c). It ignores partitions that are down, limits of a QOS without
DenyOnLimit, and the number of cores that a job's memory needs. It refuses jobs that must wait for the end of
a reservation. So if its answer isn't the expected one, a sample of jobs is really submitted. Each outcome has
a name, and only the expected names pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from flatirons.errors import SubmitRefused
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.cluster_cache import ClusterCache
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.model import JobSpec
from flatirons.slurm_form.offers import OfferCache
from tests.cluster.product.ask_slurm import (
    CLUSTERS,
    IS_DOWN,
    NEVER_STARTS,
    REFUSED,
    SCRIPT,
    STARTS,
    WAITS,
    dice,
    has_reserved_nodes,
    look,
    sample,
    until_running,
)
from tests.cluster.product.offered_jobs import PATIENCE, USERS, Ask, beyond, elsewhere, places, within
from tests.conftest import RealCluster

pytestmark = pytest.mark.cluster

ELSEWHERE = 250
STRANGERS = 60
SUBMITTED = 16


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
    outcomes = await slurm.outcomes(cluster_name, tried, patience=6)
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
    """Reservations of every sort, until the end of the test."""
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
        # --test-only can't look ahead: for a later start it says "Invalid time specified". In a partition
        # with MaxCPUsPerNode it counts reserved cores as in use until a job has run there.
        refused = [(user, ask) for ask, no in said.items() if no]
        assert all(
            ask.place.reservation == "later"
            or rights.facts.partitions_by_name[ask.place.partition].max_cpus_per_node
            for _, ask in refused
        )
        outcomes = await slurm.outcomes("summit", sample(refused, 6), patience=0)
        assert set(outcomes) <= {STARTS, WAITS, "Reservation"}
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


@pytest.fixture
def admit(cluster: RealCluster) -> Iterator[Callable[[str, str], None]]:
    """Changes whom the partition sgpu admits; at the end it admits everybody again."""
    scontrol = ["env", f"SLURM_CONF={cluster.clusters['summit'].slurm_conf}", "scontrol", "update"]

    def change(key: str, value: str) -> None:
        done = cluster.exec("ctl", [*scontrol, "PartitionName=sgpu", f"{key}={value}"])
        assert done.returncode == 0, done.stderr

    yield change
    change("AllocNodes", "ALL")
    change("AllowGroups", "ALL")


@pytest.mark.parametrize(
    ("hosts", "is_offered"),
    [("ALL", True), ("login[1-2]", False), ("login[1-2],hub", True)],
)
async def test_a_partition_is_offered_where_its_jobs_may_be_submitted(
    clients: dict[str, SlurmClient], admit: Callable[[str, str], None], hosts: str, is_offered: bool
) -> None:
    admit("AllocNodes", hosts)
    rights = (await OfferCache(clients).facts("alice", fresh=True)).rights("summit")
    assert rights
    assert ("sgpu" in {each.name for each in rights.partitions}) is is_offered
    spec = JobSpec("alloc", partition="sgpu", account="ucb-general", runtime_minutes=5, chdir="/tmp")
    if is_offered:
        await clients["summit"].test_only(spec, SCRIPT, user="alice")
    else:
        with pytest.raises(SubmitRefused, match="only from other machines"):
            await clients["summit"].test_only(spec, SCRIPT, user="alice")


async def test_hidden_partitions_are_offered_and_clusters_do_not_mix(clients: dict[str, SlurmClient]) -> None:
    facts = await OfferCache(clients).facts("carol", fresh=True)
    summit, blanca = (facts.rights(name) for name in CLUSTERS)
    assert summit and blanca
    assert "stest" in {each.name for each in summit.partitions}
    assert [each.name for each in blanca.partitions] == ["blanca-csdms", "blanca-sol", "blanca-course"]
    assert summit.accounts("shas") == ("csdms", "knl-students")
    assert blanca.accounts("blanca-course") == ("csdms",), "sol has no reservation there"
    assert not summit.bounds("blanca-csdms", "csdms", "normal").shapes
    assert blanca.bounds("blanca-csdms", "csdms", "normal").gpu_types() == {"": 2, "a100": 2}
    assert {each.name for each in summit.facts.reservations} == {"workshop"}
    assert {each.name for each in blanca.facts.reservations} == {"course"}


TEXTS = (
    "fan replaced\nticket 4711 Partitions=sroot\nb ReservationName=workshop",
    "was:\nNodeName=c99 CPUTot=99 RealMemory=99 State=IDLE Partitions=shas CfgTRES=cpu=99 AllocTRES=",
    "line\u2028separator\x0b and\r others",
)


@pytest.fixture
def texts(cluster: RealCluster) -> Iterator[Callable[[str], None]]:
    """Writes a text wherever an operator may write one on summit; at the end all are removed."""
    scontrol = ["env", f"SLURM_CONF={cluster.clusters['summit'].slurm_conf}", "scontrol"]

    def write(text: str) -> None:
        for node in ("shas0101", "sknl0701"):
            change = ["update", f"NodeName={node}", f"Comment={text}", f"Extra={text}"]
            done = cluster.exec("ctl", [*scontrol, *change])
            assert done.returncode == 0, done.stderr

    yield write
    write("")


async def test_what_operators_write_changes_no_offer(
    clients: dict[str, SlurmClient], texts: Callable[[str], None]
) -> None:
    before = await ClusterCache(clients["summit"]).look(**PATIENCE)
    assert before is not None
    for text in TEXTS:
        texts(text)
        cache = ClusterCache(clients["summit"])
        after = await cache.look(**PATIENCE)
        assert after is not None, cache.trouble
        assert _named(after) == _named(before)
        assert (after.shapes_of, after.partitions) == (before.shapes_of, before.partitions)


def _named(facts: ClusterFacts) -> dict[str, list[str]]:
    return {name: [node.name for node in nodes] for name, nodes in facts.nodes_of.items()}
