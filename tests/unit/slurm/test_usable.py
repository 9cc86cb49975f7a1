"""What jobs may have of the hardware: cores and memory set apart, threads of a core, parts of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flatirons.slurm import parse_cluster as parse
from flatirons.slurm.accounting import Association, Qos
from flatirons.slurm.bounds import Bounds
from flatirons.slurm.cluster_model import Configuration, Consumable, Node, Partition, Reservation
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.rights import Rights

NODE = (
    "NodeName=c01 CoresPerSocket={cores} CPUAlloc=0 {usable}CPUTot={there} Gres=(null) RealMemory=16000 "
    "AllocMem=0 Sockets={sockets} {apart}State=IDLE ThreadsPerCore={threads} Partitions=p "
    "CfgTRES=cpu=6,mem=16000M,billing=6 AllocTRES=\n"
)
PLAIN = {"cores": 8, "sockets": 1, "threads": 1, "there": 8, "usable": "", "apart": ""}
ASSOCIATION = Association("summit", "lab", "alice", "", ("normal",), "normal", is_default=True)
PARTITION = Partition("p", is_up=True)
# two sockets with two cores of two threads each
THREADS = Node("c1", "IDLE", partitions=("p",), cpus=8, memory_mib=8000, cpus_per_core=2, cpus_per_socket=4)


def node(**words: Any) -> Node:
    return parse.nodes(NODE.format(**PLAIN | words))[0]


def bounds(
    *nodes: Node,
    whole: Consumable = Consumable.CORE,
    reservation: Reservation | None = None,
    partition: Partition = PARTITION,
    has_one_task_per_core: bool = False,
    **limits: dict[str, int],
) -> Bounds:
    facts = ClusterFacts(
        Configuration(
            "summit",
            frozenset({"associations", "limits", "qos"}),
            consumable=whole,
            has_one_task_per_core=has_one_task_per_core,
        ),
        (partition,),
        nodes or (THREADS,),
        (reservation,) if reservation else (),
        {"normal": replace(Qos("normal"), **limits)},  # type: ignore[arg-type]  # the test's own typing
    )
    return Rights(facts, (ASSOCIATION,), "alice").bounds(
        "p", "lab", "normal", reservation.name if reservation else ""
    )


def test_cores_and_memory_set_apart_for_the_system_are_not_offered() -> None:
    apart = node(usable="CPUEfctv=6 ", apart="CoreSpecCount=2 CPUSpecList=6-7 MemSpecLimit=4000 ")
    assert (apart.cpus, apart.memory_mib) == (6, 12000)
    found = bounds(apart)
    assert (found.max_cpus(), found.max_ntasks(), found.max_memory_mib()) == (6, 6, 12000)
    facts = ClusterFacts(Configuration("summit"), (PARTITION,), (apart,))
    assert (facts.supply["p"].free_cpus, facts.supply["p"].total_cpus) == (6, 6)
    assert (node().cpus, node().memory_mib) == (8, 16000)
    assert node(usable="CPUEfctv=0 ", apart="MemSpecLimit=20000 ").cpus == 0
    assert node(apart="MemSpecLimit=20000 ").memory_mib == 0


def test_a_thread_is_a_cpu_only_where_slurm_counts_threads() -> None:
    assert (node().cpus_per_core, node().cpus_per_socket) == (1, 8)
    threads = node(threads=2, there=16)
    assert (threads.cpus, threads.cpus_per_core, threads.cpus_per_socket) == (16, 2, 16)
    cores = node(threads=2, there=8)
    assert (cores.cpus, cores.cpus_per_core) == (8, 1), "CPUs in slurm.conf is the number of cores"
    two = node(threads=2, there=32, sockets=2)
    assert (two.cpus_per_core, two.cpus_per_socket) == (2, 16)


@pytest.mark.parametrize(
    ("parameters", "whole"),
    [
        ("CR_CORE", Consumable.CORE),
        ("CR_Core_Memory", Consumable.CORE),
        ("CR_CORE_MEMORY,CR_LLN", Consumable.CORE),
        ("CR_CPU_MEMORY,CR_CORE_DEFAULT_DIST_BLOCK", Consumable.CPU),
        ("CR_SOCKET", Consumable.SOCKET),
        ("CR_MEMORY", None),
        ("NONE", None),
    ],
)
def test_what_slurm_allocates_whole_is_read(parameters: str, whole: Consumable | None) -> None:
    text = f"AccountingStorageEnforce = none\nClusterName = x\nSelectTypeParameters    = {parameters}\n"
    assert parse.configuration(text).consumable is (whole or Consumable.CPU)
    text = f"PartitionName=p State=UP TotalCPUs=8 SelectTypeParameters={parameters} MaxCPUsPerSocket=3\n"
    [partition] = parse.partitions(text)
    assert (partition.consumable, partition.max_cpus_per_socket) == (whole, 3)


def test_a_limit_of_cpus_counts_whole_cores_where_slurm_allocates_them() -> None:
    three = {"max_tres_per_job": {"cpu": 3}}
    assert bounds(**three).max_cpus() == 2
    assert bounds(**three).max_ntasks() == 2
    assert bounds(THREADS, replace(THREADS, name="c2"), **three).max_nodes() == 1
    assert bounds(**three, whole=Consumable.CPU).max_cpus() == 3
    assert bounds(**three, whole=Consumable.SOCKET).max_cpus() == 0
    assert bounds(max_tres_per_job={"cpu": 5}, whole=Consumable.SOCKET).max_cpus() == 4
    assert bounds(replace(THREADS, cpus_per_core=1), **three).max_cpus() == 3
    assert bounds(max_tres_per_node={"cpu": 5}).max_ntasks(1) == 4
    one = replace(PARTITION, consumable=Consumable.CPU)
    assert bounds(**three, partition=one).max_cpus() == 3, "the partition's own setting"
    assert bounds().max_cpus() == 8


def test_a_task_has_a_core_of_its_own_where_slurm_says_so() -> None:
    text = "AccountingStorageEnforce = none\nClusterName = x\nSelectTypeParameters = CR_CORE,{}\n"
    assert parse.configuration(text.format("CR_ONE_TASK_PER_CORE")).has_one_task_per_core
    assert not parse.configuration(text.format("CR_LLN")).has_one_task_per_core
    found = bounds(has_one_task_per_core=True)
    assert (found.max_ntasks(), found.max_cpus(1, 4), found.max_cpus(1, 2), found.max_cpus()) == (4, 2, 4, 8)
    assert bounds().max_ntasks() == 8
    limited = bounds(has_one_task_per_core=True, max_tres_per_job={"cpu": 6})
    assert (limited.max_ntasks(), limited.max_cpus(1, 2), limited.max_cpus()) == (3, 2, 6)


def test_the_limits_of_a_partition_for_a_node_and_a_socket_leave_whole_cores() -> None:
    assert bounds(partition=replace(PARTITION, max_cpus_per_node=5)).max_cpus() == 4
    assert bounds(partition=replace(PARTITION, max_cpus_per_socket=3)).max_cpus() == 6
    assert bounds(partition=replace(PARTITION, max_cpus_per_socket=1)).max_cpus() == 2


def test_the_memory_of_a_job_that_asks_for_none_is_that_of_its_cores() -> None:
    per_cpu = replace(PARTITION, default_memory_per_cpu_mib=1000)
    assert bounds(partition=per_cpu).default_memory_mib(1, 1, 1) == 2000
    assert bounds(partition=per_cpu).default_memory_mib(1, 1, 4) == 4000
    assert bounds(partition=per_cpu, whole=Consumable.CPU).default_memory_mib(1, 1, 1) == 1000


def test_a_job_in_a_reservation_may_use_the_cores_that_it_has_on_each_node() -> None:
    nodes = (THREADS, replace(THREADS, name="c2"), replace(THREADS, name="c3"))
    text = (
        "ReservationName=r StartTime=1795388123 EndTime=1795391723 Duration=01:00:00 Nodes=c[1-2] NodeCnt=2 "
        "CoreCnt=3 Features=(null) PartitionName=p Flags={flags}   NodeName=c1 CoreIDs=0-1   NodeName=c2 "
        "CoreIDs=3 TRES=cpu=6{gpus} Users=alice Groups=(null) Accounts=(null) Licenses=(null) State=ACTIVE\n"
    )
    for flags in ("SPEC_NODES", ""):
        [reservation] = parse.reservations(text.format(flags=flags, gpus=""))
        assert (reservation.node_cores, reservation.flags) == ({"c1": 2, "c2": 1}, frozenset(flags.split()))
        found = bounds(*nodes, reservation=reservation)
        assert (found.max_nodes(), found.max_cpus(), found.max_ntasks()) == (2, 4, 6)
        assert found.max_cpus(2) == 2
    whole = replace(reservation, node_cores={}, cpus=16)
    assert bounds(*nodes, reservation=whole).max_ntasks() == 16
