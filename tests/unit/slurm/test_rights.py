"""Who may combine what, and how much of it: the rights that follow from a cluster's facts."""

from __future__ import annotations

from dataclasses import replace

from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.cluster_model import Configuration, Node, Partition, Reservation
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.model import Cluster, JobSpec
from flatirons.slurm.rights import Rights

ENFORCED = frozenset({"associations", "limits", "qos"})
SHAS = Partition("shas", is_up=True, is_default=True, max_minutes=7 * 1440, default_minutes=60)
SKNL = Partition(
    "sknl", is_up=True, allow_accounts=("ucb-knl",), allow_qos=("normal", "debug"), max_minutes=1440
)
NODES = (
    Node("a1", "IDLE", partitions=("shas",), cpus=8, memory_mib=16000),
    Node("a2", "MIXED", partitions=("shas",), cpus=8, cpus_in_use=6, memory_mib=16000, gpus={"v100": 2}),
    Node("b1", "DOWN", partitions=("sknl",), cpus=64, memory_mib=96000, gpus={"a100": 4, "k80": 2}),
)
QOS = {
    "normal": Qos("normal", max_minutes=1440),
    "long": Qos("long", max_minutes=7 * 1440),
    "debug": Qos("debug", max_minutes=60, max_tres_per_user={"cpu": 4}),
}
ALICE = (
    Association("summit", "general", "alice", "", ("debug", "long", "normal"), "normal", is_default=True),
    Association("summit", "ucb-knl", "alice", "", ("debug", "normal"), "normal"),
    Association("blanca", "csdms", "alice", "", ("normal",), "normal", is_default=True),
)
FACTS = ClusterFacts(Configuration("summit", ENFORCED), (SHAS, SKNL), NODES, (), QOS, {"shas": 3})


def rights(
    facts: ClusterFacts = FACTS,
    associations: tuple[Association, ...] | None = ALICE,
    groups: frozenset[str] | None = None,
) -> Rights:
    return Rights(facts, associations, "alice", groups)


def names(mine: Rights) -> list[str]:
    return [partition.name for partition in mine.partitions]


def changed(partition: Partition, **settings: object) -> ClusterFacts:
    others = [each for each in FACTS.partitions if each.name != partition.name]
    return replace(FACTS, partitions=(replace(partition, **settings), *others))  # type: ignore[arg-type]


def test_only_valid_combinations_are_offered() -> None:
    mine = rights()
    assert names(mine) == ["shas", "sknl"]
    assert mine.default_partition == "shas"
    assert mine.accounts("shas") == ("general", "ucb-knl")
    assert mine.accounts("sknl") == ("ucb-knl",)
    assert mine.qos("shas", "general") == ("normal", "debug", "long")
    assert mine.qos("sknl", "ucb-knl") == ("normal", "debug")
    assert mine.qos("sknl", "general") == mine.qos("nowhere", "general") == ()


def test_a_user_without_an_account_here_is_offered_nothing() -> None:
    assert names(rights(associations=())) == []
    assert names(rights(associations=ALICE[2:])) == []


def test_nothing_is_refused_because_it_is_not_known() -> None:
    mine = rights(associations=None)
    assert names(mine) == ["shas", "sknl"]
    assert not mine.knows_accounts
    assert mine.accounts("shas") == ()
    assert mine.qos("sknl", "whatever") == ()
    assert mine.qos("sknl", "ucb-knl") == ("normal", "debug")
    free = replace(FACTS, configuration=Configuration("summit"))
    assert names(rights(free, ())) == ["shas", "sknl"]


def test_the_lists_of_a_partition_apply() -> None:
    assert names(rights(changed(SHAS, is_up=False))) == ["sknl"]
    assert names(rights(changed(SHAS, allow_groups=("staff",)), groups=frozenset({"users"}))) == ["sknl"]
    assert "shas" in names(rights(changed(SHAS, allow_groups=("staff",)), groups=frozenset({"staff"})))
    assert "shas" in names(rights(changed(SHAS, allow_groups=("staff",)), groups=None))
    assert rights(changed(SHAS, deny_accounts=("general",))).accounts("shas") == ("ucb-knl",)
    assert rights(changed(SHAS, deny_qos=("long",))).qos("shas", "general") == ("normal", "debug")


def test_a_partition_is_offered_only_where_its_jobs_may_be_submitted() -> None:
    limited = changed(SHAS, alloc_nodes=("login1", "login2"))
    assert names(rights(replace(limited, submit_hosts=frozenset({"hub", "hub.example.org"})))) == ["sknl"]
    assert "shas" in names(rights(replace(limited, submit_hosts=frozenset({"login2", "10.0.0.2"}))))
    assert "shas" in names(rights(limited)), "the machine's names aren't known"
    assert "shas" in names(rights(replace(FACTS, submit_hosts=frozenset({"hub"})))), "any machine will do"


def test_an_association_for_one_partition_counts_there_only() -> None:
    bound = (replace(ALICE[0], partition="shas", max_tres_per_job={"cpu": 2}), ALICE[1])
    mine = rights(associations=bound)
    assert mine.accounts("shas") == ("general", "ucb-knl")
    assert mine.bounds("shas", "general", "normal").max_cpus() == 2
    assert mine.bounds("shas", "ucb-knl", "normal").max_cpus() == 8


def test_an_association_for_one_partition_replaces_the_one_for_all_including_its_qos() -> None:
    here = replace(ALICE[0], partition="shas", qos=("normal",), max_minutes=30)
    wide = replace(QOS["normal"], max_minutes=None)
    mine = rights(replace(FACTS, qos={**QOS, "normal": wide}), (ALICE[0], here, ALICE[1]))
    assert mine.qos("shas", "general") == ("normal",)
    assert mine.bounds("shas", "general", "normal").max_minutes == 30
    assert rights(associations=(here,)).accounts("sknl") == ()


def test_the_first_time_limit_counts_and_that_of_the_partition_always() -> None:
    mine = rights()
    assert mine.bounds("shas", "general", "normal").max_minutes == 1440
    assert mine.bounds("shas", "general", "long").max_minutes == 7 * 1440
    assert mine.bounds("sknl", "ucb-knl", "debug").max_minutes == 60
    over = replace(QOS["long"], flags=frozenset({"PartitionTimeLimit"}), max_minutes=10 * 1440)
    mine = rights(replace(FACTS, qos={**QOS, "long": over}))
    assert mine.bounds("shas", "general", "long").max_minutes == 10 * 1440
    endless = replace(over, max_minutes=None)
    mine = rights(replace(FACTS, qos={**QOS, "long": endless}))
    assert mine.bounds("shas", "general", "long").max_minutes is None
    part = replace(
        FACTS, qos={**QOS, "part": Qos("part", max_minutes=30)}, partitions=(replace(SHAS, qos="part"),)
    )
    assert rights(part).bounds("shas", "general", "normal").max_minutes == 30
    strong = replace(QOS["normal"], flags=frozenset({"OverPartQOS"}))
    part = replace(part, qos={**part.qos, "normal": strong})
    assert rights(part).bounds("shas", "general", "normal").max_minutes == 1440


def test_limits_that_are_not_enforced_do_not_count() -> None:
    facts = replace(FACTS, configuration=Configuration("summit", frozenset({"associations"})))
    bounds = rights(facts).bounds("shas", "general", "debug")
    assert (bounds.max_minutes, bounds.max_cpus()) == (7 * 1440, 8)


def test_sizes_come_from_the_nodes_that_fit() -> None:
    bounds = rights().bounds("shas", "general", "normal")
    assert bounds.gpu_types() == {"": 2, "v100": 2}
    assert (bounds.max_nodes(), bounds.max_nodes("v100:1"), bounds.max_nodes("3")) == (2, 1, 0)
    assert (bounds.max_ntasks(), bounds.max_ntasks(1), bounds.max_ntasks(None, "1")) == (16, 8, 8)
    assert (bounds.max_cpus(), bounds.max_cpus(1, 3), bounds.max_cpus(2, 4)) == (8, 2, 4)
    assert bounds.max_memory_mib() == 16000
    mixed = rights().bounds("sknl", "ucb-knl", "normal")
    assert mixed.gpu_types() == {"": 6, "a100": 4, "k80": 2}
    assert mixed.max_cpus(None, None, "a100:4") == 64


def test_limits_of_a_user_or_a_group_also_limit_one_job() -> None:
    bounds = rights().bounds("shas", "general", "debug")
    assert (bounds.max_cpus(), bounds.max_cpus(None, 2), bounds.max_ntasks(), bounds.max_nodes()) == (
        4,
        2,
        4,
        2,
    )
    group = (replace(ALICE[0], group_tres={"gres/gpu": 1, "mem": 4096}),)
    bounds = rights(associations=group).bounds("shas", "general", "normal")
    assert bounds.gpu_types() == {"": 1, "v100": 1}
    assert (bounds.max_memory_mib(), bounds.max_memory_mib(2)) == (4096, 2048)


def test_a_limit_of_the_qos_replaces_that_of_the_association() -> None:
    loose = replace(
        QOS["normal"], max_tres_per_node={"cpu": 6}, max_tres_per_job={"mem": 9000}, group_tres={"node": 2}
    )
    tight = replace(
        ALICE[0],
        max_tres_per_node={"cpu": 3, "mem": 5000},
        max_tres_per_job={"mem": 8000, "gres/gpu": 1},
        group_tres={"node": 1, "cpu": 7},
    )
    bounds = rights(replace(FACTS, qos={"normal": loose}), (tight,)).bounds("shas", "general", "normal")
    assert (bounds.per_node, bounds.max_nodes()) == ({"cpu": 6, "mem": 5000}, 2)
    assert bounds.per_job == {"mem": 9000, "gres/gpu": 1, "node": 2, "cpu": 7}


def test_without_a_number_of_nodes_a_limit_per_node_is_for_one_node() -> None:
    qos = {"normal": Qos("normal", max_tres_per_node={"cpu": 3})}
    bounds = rights(replace(FACTS, qos=qos)).bounds("shas", "general", "normal")
    assert (bounds.max_ntasks(), bounds.max_ntasks(1), bounds.max_ntasks(2)) == (3, 3, 6)
    assert (bounds.max_cpus(), bounds.max_cpus(None, 2), bounds.max_cpus(2, 2)) == (3, 1, 3)
    part = rights(changed(SHAS, max_cpus_per_node=3)).bounds("shas", "general", "normal")
    assert (part.max_ntasks(), part.max_ntasks(1), part.max_cpus(None, 2)) == (6, 3, 3)


def test_the_minimum_of_a_qos_is_the_least_that_a_job_may_ask_for() -> None:
    least = {"cpu": 4, "mem": 3000, "node": 2, "gres/gpu:v100": 1, "gres/gpumem": 9}
    qos = {"normal": Qos("normal", min_tres_per_job=least)}
    bounds = rights(replace(FACTS, qos=qos)).bounds("shas", "general", "normal")
    assert (bounds.least_gpus, bounds.min_nodes()) == (1, 2)
    assert (bounds.min_cpus(), bounds.min_cpus(2), bounds.min_cpus(1, 3)) == (4, 2, 2)
    assert (bounds.min_memory_mib(), bounds.min_memory_mib(2)) == (3000, 1500)
    free = rights().bounds("shas", "general", "normal")
    assert (free.least_gpus, free.min_nodes(), free.min_cpus(), free.min_memory_mib()) == (0, 1, 1, 1)


def test_a_limit_for_a_type_of_gpu_applies_to_jobs_that_name_the_type() -> None:
    # resource_limits.html: "if a user requests a generic gres, the type's limit will not be enforced"
    qos = {"normal": Qos("normal", max_tres_per_job={"gres/gpu:v100": 1})}
    bounds = rights(replace(FACTS, qos=qos)).bounds("shas", "general", "normal")
    assert bounds.gpu_types() == {"": 2, "v100": 1}


def test_a_reservation_is_offered_to_whom_it_admits_and_limits_the_job() -> None:
    workshop = Reservation(
        "workshop",
        True,
        partition="shas",
        users=("alice", "carol"),
        total_nodes=1,
        cpus=2,
        node_names=("a2",),
    )
    others = [
        replace(workshop, name="bobs", users=("bob",)),
        replace(workshop, name="knl", users=(), accounts=("ucb-knl",)),
        replace(workshop, name="not-alice", users=("-alice",)),
        replace(workshop, name="elsewhere", node_names=("b1",)),
    ]
    mine = rights(replace(FACTS, reservations=(workshop, *others)))
    assert [each.name for each in mine.reservations("shas", "general")] == ["workshop"]
    assert [each.name for each in mine.reservations("shas")] == ["workshop", "knl"]
    assert [each.name for each in mine.reservations("sknl", "ucb-knl")] == ["elsewhere"]
    bounds = mine.bounds("shas", "general", "normal", "workshop")
    assert (bounds.max_nodes(), bounds.max_cpus(), bounds.gpu_types()) == (1, 2, {"": 2, "v100": 2})
    needing = changed(SHAS, needs_reservation=True)
    assert names(rights(needing)) == ["sknl"]
    assert "shas" in names(rights(replace(needing, reservations=(workshop,))))
    assert rights(replace(needing, reservations=(others[1],))).accounts("shas") == ("ucb-knl",)


def test_users_and_groups_of_a_directory_are_found_in_slurms_lists() -> None:
    workshop = Reservation("workshop", is_active=True, users=("DOM\\Alice",), groups=("domain users",))
    facts = replace(changed(SHAS, allow_groups=("domain users",)), reservations=(workshop,))
    mine = Rights(facts, None, "dom\\alice", frozenset({"domain users"}))
    assert [each.name for each in mine.reservations("shas")] == ["workshop"]
    assert "shas" in names(mine)
    others = Rights(facts, None, "dom\\bob", frozenset({"domain", "users"}))
    assert others.reservations("shas") == () and "shas" not in names(others)


def test_the_flags_of_a_reservation_say_whether_a_job_is_restricted_to_its_nodes() -> None:
    flex = Reservation("flex", True, total_nodes=1, cpus=2, node_names=("b1",), flags=frozenset({"FLEX"}))
    floating = replace(flex, name="floating", flags=frozenset({"TIME_FLOAT"}))
    mine = rights(replace(FACTS, reservations=(flex, floating)))
    assert [each.name for each in mine.reservations("shas", "general")] == ["flex"]
    assert [each.name for each in mine.reservations("sknl", "ucb-knl")] == ["flex"]
    assert mine.bounds("shas", "general", "normal", "flex").max_ntasks() == 16


def test_lists_of_accounts_include_all_accounts_below() -> None:
    # slurm.conf(5): "This list is hierarchical, meaning subaccounts are included automatically."
    tree = {
        each.name: each for each in (Account("root"), Account("ucb-knl", "root"), Account("lab", "ucb-knl"))
    }
    lab = (Association("summit", "lab", "alice", "", ("normal",), "normal", is_default=True),)
    facts = replace(FACTS, accounts=tree)
    assert facts.lineage("lab") == ("lab", "ucb-knl", "root")
    assert rights(facts, lab).accounts("sknl") == ("lab",)
    denied = replace(changed(SHAS, deny_accounts=("ucb-knl",)), accounts=tree)
    assert rights(denied, lab).accounts("shas") == ()
    old = replace(FACTS.configuration, version=(22, 5, 8))
    assert rights(replace(facts, configuration=old), lab).accounts("sknl") == ()
    assert rights(replace(denied, configuration=old), lab).accounts("shas") == ("lab",)
    new = replace(FACTS.configuration, version=(23, 2))
    assert rights(replace(facts, configuration=new), lab).accounts("sknl") == ("lab",)
    knl = Reservation("knl", True, accounts=("ucb-knl",), node_names=("a1",))
    assert rights(replace(facts, reservations=(knl,)), lab).reservations("shas", "lab") == (knl,)
    assert rights(replace(FACTS, reservations=(knl,)), lab).reservations("shas", "lab") == ()


def test_accounts_that_are_each_others_parents_do_not_cause_an_endless_loop() -> None:
    circle = {"a": Account("a", "b"), "b": Account("b", "a")}
    assert replace(FACTS, accounts=circle).lineage("a") == ("a", "b")


def test_limits_of_an_account_and_of_those_above_it_also_limit_one_job() -> None:
    tree = {
        "ucb-knl": Account("ucb-knl", "root", {"cpu": 5, "node": 1}),
        "general": Account("general", "ucb-knl", {"cpu": 6, "mem": 900}),
    }
    bounds = rights(replace(FACTS, accounts=tree)).bounds("shas", "general", "normal")
    assert bounds.per_job == {"cpu": 5, "node": 1, "mem": 900}
    qos = {"normal": Qos("normal", group_tres={"cpu": 7})}
    bounds = rights(replace(FACTS, accounts=tree, qos=qos)).bounds("shas", "general", "normal")
    assert bounds.per_job["cpu"] == 7


def test_partitions_for_root_are_not_offered_and_one_may_demand_a_number_of_nodes() -> None:
    assert names(rights(changed(SHAS, is_root_only=True))) == ["sknl"]
    facts = changed(SHAS, min_nodes=2)
    assert rights(facts).bounds("shas", "general", "normal").min_nodes() == 2
    free = {"normal": Qos("normal", flags=frozenset({"PartitionMinNodes"}))}
    assert rights(replace(facts, qos=free)).bounds("shas", "general", "normal").min_nodes() == 1


def test_memory_settings_of_the_cluster_apply_where_the_partition_has_none() -> None:
    config = replace(FACTS.configuration, default_memory_per_cpu_mib=500, max_memory_per_node_mib=9000)
    bounds = rights(replace(FACTS, configuration=config)).bounds("shas", "general", "normal")
    assert (bounds.max_memory_mib(), bounds.default_memory_mib(None, None, 4)) == (9000, 2000)
    own = changed(SHAS, default_memory_per_node_mib=700, max_memory_per_cpu_mib=1500)
    bounds = rights(replace(own, configuration=config)).bounds("shas", "general", "normal")
    assert (bounds.max_memory_mib(), bounds.default_memory_mib(None, None, 4)) == (12000, 700)


def test_memory_limits_of_a_partition_apply() -> None:
    mine = rights(changed(SHAS, max_memory_per_node_mib=4000, default_memory_per_cpu_mib=1000))
    bounds = mine.bounds("shas", "general", "normal")
    assert bounds.max_memory_mib() == 4000
    assert bounds.default_memory_mib(None, None, 6) == 6000
    by_cpu = rights(changed(SHAS, max_memory_per_cpu_mib=1000)).bounds("shas", "general", "normal")
    assert by_cpu.max_memory_mib() == 8000
    # Three tasks get as many cores each: two, so six of a node's eight.
    assert (by_cpu.max_memory_mib(1, 2), by_cpu.max_memory_mib(1, 3)) == (8000, 6000)
    qos = {"normal": Qos("normal", max_tres_per_job={"cpu": 5})}
    facts = replace(changed(SHAS, max_memory_per_cpu_mib=1000), qos=qos)
    assert rights(facts).bounds("shas", "general", "normal").max_memory_mib() == 5000


def test_free_resources_are_counted_on_usable_nodes_only() -> None:
    supply = FACTS.supply["shas"]
    assert (supply.idle_nodes, supply.total_nodes, supply.free_cpus, supply.total_cpus) == (1, 2, 10, 16)
    assert (supply.gpus, supply.waiting) == ({"v100": (2, 2)}, 3)
    assert FACTS.supply["sknl"].gpus == {"a100": (0, 4), "k80": (0, 2)}


def test_a_node_that_its_partition_does_not_name_is_not_counted() -> None:
    quoted = replace(FACTS, nodes=(*NODES, replace(NODES[0], name="c99")))
    assert quoted.supply["shas"].total_nodes == 3, "a partition whose nodes aren't known"
    named = replace(quoted, partitions=(replace(SHAS, nodes="a[1-2]"), SKNL))
    assert [node.name for node in named.nodes_of["shas"]] == ["a1", "a2"]
    assert named.supply["shas"].total_nodes == 2
    strange = replace(quoted, partitions=(replace(SHAS, nodes="a[1-"), SKNL))
    assert strange.supply["shas"].total_nodes == 3, "a list that can't be read"


def test_nothing_is_said_of_free_gpus_that_slurm_does_not_count() -> None:
    nodes = (
        Node("a1", "IDLE", partitions=("shas",), gpus={"v100": 2, "a100": 1}),
        Node("a2", "MIXED", partitions=("shas",), gpus={"v100": 2}, gpus_not_counted=frozenset({"v100"})),
        Node("a3", "DOWN", partitions=("shas",), gpus={"a100": 2}, gpus_not_counted=frozenset({"a100"})),
    )
    assert replace(FACTS, nodes=nodes).supply["shas"].gpus == {"v100": (None, 4), "a100": (1, 3)}


def test_computed_rights_are_kept_while_the_rules_stay_the_same() -> None:
    later = replace(FACTS, waiting={"shas": 9}, rules=object())
    later.keep_rules_of(FACTS)
    before = rights()
    assert before.partitions
    again = before.renewed(later, ALICE, None)
    assert again is not None and again.partitions is before.partitions
    assert again.facts.waiting == {"shas": 9}


def test_rights_are_computed_again_when_rules_associations_or_groups_changed() -> None:
    closed = replace(FACTS, partitions=FACTS.partitions[1:], rules=object())
    closed.keep_rules_of(FACTS)
    before = rights()
    assert before.renewed(closed, ALICE, None) is None
    assert before.renewed(FACTS, ALICE[1:], None) is None
    assert before.renewed(FACTS, ALICE, frozenset({"staff"})) is None
    assert before.renewed(FACTS, ALICE, None) is before


def test_memory_that_slurm_does_not_allocate_is_not_asked_for() -> None:
    spec = JobSpec("jupyter", partition="shas", memory_mib=4096, cpus=2)
    assert rights().countable(spec) == spec
    uncounted = replace(FACTS, configuration=replace(FACTS.configuration, counts_memory=False))
    mine = rights(uncounted)
    assert mine.countable(spec) == replace(spec, memory_mib=0)
    assert mine.countable(replace(spec, partition="", memory_mib=0, mem_per_cpu_mib=100)).mem_per_cpu_mib == 0
    assert not mine.bounds("shas", "general", "normal").counts_memory
    own = replace(uncounted, partitions=(replace(SHAS, counts_memory=True), SKNL))
    assert rights(own).countable(spec) == spec, "a partition has the last word"
    assert rights(own).bounds("shas", "general", "normal").counts_memory


def test_memory_of_nodes_that_nobody_told_slurm_is_not_asked_for() -> None:
    bare = replace(FACTS, nodes=tuple(replace(node, memory_mib=1) for node in NODES))
    assert not bare.counts_memory("shas")
    mixed = replace(FACTS, nodes=(replace(NODES[0], memory_mib=1), *NODES[1:]))
    assert mixed.counts_memory("shas")
    assert replace(FACTS, nodes=()).counts_memory("shas"), "nothing is known of the nodes"


def test_engines_are_told_where_memory_is_not_counted() -> None:
    own = replace(FACTS, partitions=(replace(SHAS, counts_memory=False), SKNL))
    assert own.described(Cluster("summit")).spelling.without_memory == {"", "shas"}
    assert FACTS.described(Cluster("summit")).spelling.as_text() == ""
