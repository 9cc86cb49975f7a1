"""What each field of the Slurm form offers, rule by rule. The whole form: test_form.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flatirons.forms import Choice, Gauge
from flatirons.slurm.bounds import Bounds
from flatirons.slurm.cluster_model import Reservation
from flatirons.slurm.facts import Shape
from flatirons.slurm_form import rules as rules
from flatirons.slurm_form.offers import ClusterOffer, SlurmOffers
from tests.fakes import summit

MINE = summit.rights("alice")
BOBS = summit.rights("bob")
NOBODYS = summit.rights("carol")
SHAS = MINE.bounds("shas", "general", "normal")
SKNL = MINE.bounds("sknl", "knl", "normal")
BARE = BOBS.bounds("bobs", "bobs", "normal")


def values(choices: list[Choice] | None) -> list[str] | None:
    return None if choices is None else [choice.value for choice in choices]


def test_without_facts_fields_are_free_text_and_slurm_decides() -> None:
    assert rules.rights("summit", None) is None
    assert rules.rights("blanca", summit.facts()) is None
    assert rules.rights(None, summit.facts()) is None
    assert rules.bounds(None, "shas", "general", "normal", None) is None
    for rule in (rules.partitions, rules.default_partition):
        assert rule(None) is None
    for offer in (rules.accounts, rules.default_account):
        assert offer(None, "shas") is None
    for offer in (rules.qos, rules.default_qos, rules.reservations):
        assert offer(None, "shas", "general") is None
    assert rules.gpus(frozenset())(None, "python") is None
    assert rules.max_cpus(None, None, None, None) is rules.max_nodes(None, None) is None
    assert rules.max_memory(None, None, None, None, None) is rules.max_runtime(None) is None
    assert not (rules.is_known(None) or rules.knows_accounts(None) or rules.knows_bounds(None))
    assert rules.has_gpus(None) and rules.has_reservations(None, "shas", "general")


def test_an_unknown_partition_has_no_bounds() -> None:
    assert rules.bounds(MINE, None, "general", "normal", None) is None
    assert rules.bounds(MINE, "nosuch", "general", "normal", None) is None


def test_a_cluster_is_offered_if_the_user_may_run_jobs_or_it_hasnt_answered() -> None:
    offer = rules.clusters([Choice("summit"), Choice("blanca")])
    assert values(offer(summit.facts("alice"))) == ["summit", "blanca"]
    assert values(offer(summit.facts("carol"))) == ["blanca"]
    assert values(offer(None)) == ["summit", "blanca"]
    assert (
        values(offer(SlurmOffers({"summit": ClusterOffer(NOBODYS), "blanca": ClusterOffer(NOBODYS)}))) == []
    )


def test_the_partitions_are_those_that_admit_an_account_of_the_user() -> None:
    assert values(rules.partitions(MINE)) == ["shas", "sknl", "lesson"]
    assert values(rules.partitions(BOBS)) == ["shas", "bobs"]
    assert values(rules.partitions(NOBODYS)) == []
    assert (rules.default_partition(MINE), rules.default_partition(NOBODYS)) == ("shas", "")


def test_accounts_and_qos_go_with_the_partition_the_default_first() -> None:
    assert values(rules.accounts(MINE, "shas")) == ["general", "knl"]
    assert values(rules.accounts(MINE, "sknl")) == ["knl"]
    assert values(rules.accounts(MINE, None)) == values(rules.accounts(MINE, "bobs")) == []
    assert values(rules.qos(MINE, "shas", "general")) == ["normal", "debug", "long"]
    assert values(rules.qos(MINE, "sknl", "knl")) == ["normal", "debug"]
    assert rules.qos(MINE, "sknl", "general") == []
    assert rules.default_account(MINE, "sknl") == "knl"
    assert rules.default_qos(MINE, "shas", "general") == "normal"
    assert rules.needs_qos(MINE, "shas", "general") and not rules.needs_qos(MINE, "sknl", "general")


def test_a_reservation_is_offered_to_its_users_in_partitions_with_its_nodes() -> None:
    assert values(rules.reservations(MINE, "shas", "general")) == ["workshop"]
    assert values(rules.reservations(BOBS, "shas", "general")) == ["bobsday"]
    assert rules.reservations(MINE, "sknl", "knl") == []
    assert not rules.has_reservations(MINE, "sknl", "knl")
    assert rules.needs_reservation(MINE, "lesson") and not rules.needs_reservation(MINE, "shas")


ENVIRONMENTS = {
    **{"python": {}, "torch": {"needs_gpu": True}, "knl": {"partitions": ["sknl"]}},
    "old": {"clusters": ["blanca"]},
}


@pytest.mark.parametrize(
    ("cluster", "partition", "bounds", "fitting"),
    [
        ("summit", "shas", SHAS, ["python", "torch"]),
        ("summit", "sknl", SKNL, ["python", "torch", "knl"]),
        ("summit", "bobs", BARE, ["python"]),
        ("blanca", "any", None, ["python", "torch", "old"]),
        ("blanca", None, None, ["python", "torch", "knl", "old"]),
    ],
)
def test_an_environment_is_offered_where_it_fits(
    cluster: str, partition: str | None, bounds: Bounds | None, fitting: list[str]
) -> None:
    offer = rules.environments([Choice(name) for name in ENVIRONMENTS], ENVIRONMENTS)
    assert values(offer(cluster, partition, bounds)) == fitting


def test_gpus_are_offered_by_type_and_by_count_where_there_are_several_types() -> None:
    offer = rules.gpus(frozenset({"torch"}))
    assert values(offer(SHAS, "python")) == ["0", "v100:1", "v100:2"]
    assert values(offer(SHAS, "torch")) == ["v100:1", "v100:2"]
    assert values(offer(SKNL, "python")) == [
        *(str(n) for n in range(7)),
        *("a100:1", "a100:2", "a100:3", "a100:4", "k80:1", "k80:2"),
    ]
    assert values(offer(BARE, "python")) == ["0"]
    assert values(offer(BARE, "torch")) == []
    assert (rules.has_gpus(SHAS), rules.has_gpus(BARE)) == (True, False)


def test_of_many_gpus_powers_of_two_and_the_maximum_are_offered() -> None:
    many = Bounds((Shape(64, 1000, (("h100", 20),)),))
    assert values(rules.gpus(frozenset())(many, "python")) == [
        "0",
        *(f"h100:{n}" for n in (1, 2, 4, 8, 16, 20)),
    ]


def test_with_a_qos_that_demands_gpus_none_is_not_offered() -> None:
    demanding = replace(SHAS, least={"gres/gpu": 2})
    assert values(rules.gpus(frozenset())(demanding, "python")) == ["v100:2"]


def test_sizes_bound_each_other() -> None:
    assert (rules.max_nodes(SHAS, "0"), rules.max_nodes(SHAS, "v100:2"), rules.max_nodes(SKNL, "a100:1")) == (
        2,
        2,
        1,
    )
    assert rules.min_ntasks(None) == 1 and rules.min_ntasks(3) == 3
    assert rules.max_cpus(SHAS, "0", None, None) == 8
    assert rules.max_cpus(SHAS, "0", 2, 4) == 4
    assert rules.max_memory(SHAS, "0", None, None, None) == 16000
    assert rules.max_runtime(SHAS) == 1440
    assert rules.max_runtime(MINE.bounds("shas", "general", "debug")) == 60


def test_an_empty_input_shows_what_it_means() -> None:
    assert rules.nothing_for_runtime(SHAS) == "1:00:00"
    assert rules.nothing_for_runtime(SKNL) == "1-00:00:00", "its MaxTime, where there is no DefaultTime"
    assert rules.nothing_for_runtime(None) == "The partition's default"
    assert rules.nothing_for_memory(SHAS, None, None, None) == "The partition's default"
    per_cpu = replace(SHAS, default_memory_per_cpu_mib=1024)
    assert rules.nothing_for_memory(per_cpu, 1, 2, 4) == "8G"


def test_each_partition_shows_what_is_free() -> None:
    [shas, *_] = rules.partitions(MINE) or []
    assert shas.description == "1 of 2 nodes idle"
    assert shas.gauges == (
        Gauge("nodes idle", 1, 2),
        Gauge("CPUs free", 10, 16),
        Gauge("v100 GPUs", 4, 4),
        Gauge("jobs waiting", 3),
    )


def test_gpus_that_slurm_does_not_count_are_not_shown_as_free() -> None:
    nodes = [replace(each, gpus_not_counted=frozenset({"v100"})) for each in summit.NODES[:2]]
    mine = summit.rights("alice", replace(summit.FACTS, nodes=(*nodes, *summit.NODES[2:]), kept={}))
    [shas, *_] = rules.partitions(mine) or []
    assert [gauge.label for gauge in shas.gauges] == ["nodes idle", "CPUs free", "jobs waiting"]


def test_a_reservation_shows_its_times() -> None:
    end = datetime(2026, 11, 25, 14, tzinfo=UTC)
    facts = replace(
        summit.FACTS,
        reservations=(
            Reservation("now", is_active=True, end=end, partition="shas"),
            Reservation("later", is_active=False, start=end, partition="shas"),
        ),
    )
    found = rules.reservations(summit.rights("alice", facts), "shas", "general") or []
    assert [choice.description for choice in found] == [
        "now, until 25 November 14:00 UTC",
        "from 25 November 14:00 UTC",
    ]
