"""What a cluster offers: partitions, nodes, reservations and rights, as Slurm prints them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SlurmUnreachable
from flatirons.slurm import argv
from flatirons.slurm import parse_cluster as parse
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.cluster_model import Configuration, Reservation

# as read from the virtual cluster, 24.11 but where it says otherwise
SHAS_22_05 = (
    "PartitionName=shas AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES "
    "QoS=N/A DefaultTime=01:00:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO "
    "MaxNodes=UNLIMITED MaxTime=7-00:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED "
    "Nodes=shas[0101-0102] PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO "
    "OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=16 TotalNodes=2 SelectTypeParameters=NONE "
    "JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED "
    "TRES=cpu=16,mem=32000M,node=2,billing=16,gres/gpu=2,gres/gpu:v100=2\n"
)
SKNL_26_05 = (
    "PartitionName=sknl AllowGroups=ALL AllowAccounts=ucb-knl AllowQos=normal,debug AllocNodes=ALL "
    "Default=NO QoS=N/A DefaultTime=NONE DisableRootJobs=NO Exclusive=NO GraceTime=0 Hidden=YES "
    "MaxNodes=4 MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=24 MaxCPUsPerSocket=UNLIMITED "
    "Nodes=sknl0701 PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=YES OverSubscribe=NO "
    "State=DRAIN TotalCPUs=8 TotalNodes=1 SelectTypeParameters=NONE JobDefaults=(null) "
    "DefMemPerNode=UNLIMITED MaxMemPerNode=4000 "
    "TRES=cpu=8,mem=16000M,node=1,billing=8,gres/gpu=5,gres/gpu:a100=2,gres/gpu:v100=2\n"
)
NODE = (
    "NodeName=shas0102 Arch=x86_64 CoresPerSocket=8  CPUAlloc=3 CPUEfctv=8 CPUTot=8 CPULoad=2.39 "
    "AvailableFeatures=a,b ActiveFeatures=a Gres=gpu:v100:2(S:0-1),gpu:a100:1 NodeAddr=10.89.1.2 "
    "NodeHostName=shas0102 Version=24.11.5 OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=16000 "
    "AllocMem=2000 FreeMem=4688 Sockets=1 Boards=1 State={} ThreadsPerCore=1 TmpDisk=0 Weight=1 "
    "Owner=N/A MCS_label=N/A Partitions=shas,test  BootTime=2026-11-22T22:03:35 "
    "CfgTRES=cpu=8,mem=16000M,billing=8 AllocTRES=cpu=3,mem=2000M,gres/gpu=1,gres/gpu:v100=1 "
    "CurrentWatts=0 Reason=State=IDLE CPUTot=999 [root@2026-11-22T22:03:35]\n"
)
WORKSHOP = (
    "ReservationName=workshop StartTime=1795388123 EndTime=1795391723 Duration=01:00:00 Nodes=shas0101 "
    "NodeCnt=1 CoreCnt=2 Features=(null) PartitionName=shas Flags=SPEC_NODES   NodeName=shas0101 "
    "CoreIDs=0-1 TRES=cpu=2 Users=alice,carol Groups=(null) Accounts=(null) Licenses=(null) "
    "State=ACTIVE BurstBuffer=(null)\n"
)
RIGHTS = (
    "blanca|csdms|alice||long,normal|normal|csdms||||||\n"
    "summit|ucb-knl|alice|sknl|normal|normal|ucb-general|3|10|1-00:00:00|cpu=16||gres/gpu=4\n"
)


def test_a_partition_for_everyone_has_only_its_time_limit() -> None:
    shas = parse.partitions(SHAS_22_05)[0]
    assert (shas.name, shas.is_up, shas.is_default, shas.is_hidden) == ("shas", True, True, False)
    assert (shas.nodes, shas.total_nodes, shas.total_cpus, shas.gpus) == (
        "shas[0101-0102]",
        2,
        16,
        {"v100": 2},
    )
    assert (shas.default_minutes, shas.max_minutes, shas.max_nodes) == (60, 7 * 1440, None)
    assert (shas.allow_accounts, shas.allow_qos, shas.max_memory_per_node_mib) == (None, None, None)
    assert (shas.allow_accounts, shas.allow_qos, shas.is_root_only) == (None, None, False)


def test_a_partition_for_some_says_for_whom_it_is_and_what_its_limits_are() -> None:
    sknl = parse.partitions(SKNL_26_05)[0]
    assert (sknl.is_up, sknl.is_default, sknl.is_hidden, sknl.needs_reservation) == (False, False, True, True)
    assert (sknl.default_minutes, sknl.max_minutes, sknl.max_nodes) == (None, None, 4)
    assert (sknl.max_cpus_per_node, sknl.max_memory_per_node_mib) == (24, 4000)
    assert (sknl.allow_accounts, sknl.allow_qos) == (("ucb-knl",), ("normal", "debug"))


def test_a_partition_of_mixed_gpus_keeps_every_type_and_those_without() -> None:
    assert parse.partitions(SKNL_26_05)[0].gpus == {"a100": 2, "v100": 2, "": 1}


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("ALL", None),
        ("login[1-2],hub", ("login1", "login2", "hub")),
        ("login[1", None),  # it says nothing
        ("(null)", None),
    ],
)
def test_a_partition_says_from_which_hosts_it_accepts_jobs(text: str, hosts: object) -> None:
    line = SHAS_22_05.replace("AllocNodes=ALL", f"AllocNodes={text}")
    assert parse.partitions(line)[0].alloc_nodes == hosts


def test_names_of_groups_and_users_may_contain_blanks_and_backslashes() -> None:
    shas = parse.partitions(SHAS_22_05.replace("AllowGroups=ALL", r"AllowGroups=domain users,DOM\hpc team"))
    assert shas[0].allow_groups == ("domain users", "DOM\\hpc team")
    assert shas[0].max_minutes == 7 * 1440
    workshop = WORKSHOP.replace("Groups=(null)", "Groups=domain users,rcops")
    workshop = workshop.replace("Users=alice,carol", r"Users=DOM\alice,jane doe")
    reservation = parse.reservations(workshop)[0]
    assert reservation.groups == ("domain users", "rcops")
    assert reservation.users == ("DOM\\alice", "jane doe")
    assert reservation.is_active


def test_denied_accounts_are_read() -> None:
    text = SHAS_22_05.replace("AllowAccounts=ALL", "DenyAccounts=bad,worse")
    assert parse.partitions(text)[0].deny_accounts == ("bad", "worse")


def test_a_node_is_read_with_what_is_in_use_and_its_reason_cannot_forge_a_value() -> None:
    node = parse.nodes(NODE.format("MIXED"))[0]
    assert (node.name, node.state, node.partitions) == ("shas0102", "MIXED", ("shas", "test"))
    assert (node.cpus, node.cpus_in_use, node.memory_mib, node.memory_in_use_mib) == (8, 3, 16000, 2000)
    assert (node.gpus, node.gpus_in_use) == ({"v100": 2, "a100": 1}, {"v100": 1})
    assert node.features == ("a",)


@pytest.mark.parametrize(
    ("state", "usable"),
    [
        ("IDLE", True),
        ("MIXED", True),
        ("IDLE+PLANNED", True),
        ("IDLE+RESERVED", True),
        ("IDLE+DRAIN", False),
        ("MIXED+DRAIN", False),
        ("IDLE*", False),
        ("IDLE+MAINTENANCE", False),
        ("ALLOCATED", False),
        ("DOWN*+DRAIN", False),
        ("DOWN", False),
        ("", False),
    ],
)
def test_a_node_is_usable_when_a_job_could_start_there(state: str, usable: bool) -> None:
    assert parse.nodes(NODE.format(state))[0].is_usable is usable


def test_a_reservation_is_read() -> None:
    assert parse.reservations(WORKSHOP) == [
        Reservation(
            name="workshop",
            is_active=True,
            start=datetime(2026, 11, 22, 22, 55, 23, tzinfo=UTC),
            end=datetime(2026, 11, 22, 23, 55, 23, tzinfo=UTC),
            nodes="shas0101",
            partition="shas",
            users=("alice", "carol"),
            total_nodes=1,
            cpus=2,
            node_names=("shas0101",),
            flags=frozenset({"SPEC_NODES"}),
            node_cores={"shas0101": 2},
        )
    ]


def test_the_enforced_rules_are_read_with_those_that_they_imply() -> None:
    head = "Configuration data as of 2026-11-23\nAccountingStorageEnforce = {}\n"
    text = head + "ClusterName             = summit\n"
    assert parse.configuration(text.format("limits,qos")) == Configuration(
        "summit", frozenset({"associations", "limits", "qos"})
    )
    assert parse.configuration(text.format("none")).enforced == frozenset()
    memory = "DefMemPerCPU            = 1000\nMaxMemPerNode           = UNLIMITED\n"
    read = parse.configuration(text.format("none") + memory)
    assert (read.default_memory_per_cpu_mib, read.default_memory_per_node_mib) == (1000, None)
    assert (read.max_memory_per_cpu_mib, read.max_memory_per_node_mib) == (None, None)
    read = parse.configuration(text.format("none") + "MaxMemPerNode = 14000\nDefMemPerNode = 700\n")
    assert (read.default_memory_per_node_mib, read.max_memory_per_node_mib) == (700, 14000)
    assert (
        read.version,
        parse.configuration(text.format("x") + "SLURM_VERSION = 22.05.8\n").version,
    ) == (
        (),
        (22, 5, 8),
    )
    for said, uid in {"slurm(64030)": 64030, "root(0)": 0, "a(b)(12)": 12, "": None, "(null)": None}.items():
        text_with_user = text.format("none") + f"SlurmUser               = {said}\n"
        assert parse.configuration(text_with_user).slurm_user_uid == uid
    with pytest.raises(SlurmUnreachable):
        parse.configuration("slurm_load_ctl_conf error\n")


def test_a_job_that_waits_for_several_partitions_counts_for_each() -> None:
    assert parse.waiting("shas\nshas,sknl\n") == {"shas": 2, "sknl": 1}


def test_an_answer_without_reservations_is_an_answer() -> None:
    assert parse.reservations("No reservations in the system\n") == []


def test_associations_are_read_with_their_limits() -> None:
    assert parse.associations(RIGHTS) == [
        Association("blanca", "csdms", "alice", "", ("long", "normal"), "normal", is_default=True),
        Association(
            "summit",
            "ucb-knl",
            "alice",
            "sknl",
            ("normal",),
            "normal",
            False,
            3,
            10,
            1440,
            {"cpu": 16},
            {},
            {"gres/gpu": 4},
        ),
    ]
    assert parse.associations("") == []


def test_the_accounts_of_a_cluster_are_read_with_their_parents() -> None:
    text = "root|||\nucb-knl||root|cpu=6,gres/gpu=1\nlab||ucb-knl|mem=4G\nlab|alice||cpu=1\n"
    assert parse.accounts(text) == [
        Account("root"),
        Account("ucb-knl", "root", {"cpu": 6, "gres/gpu": 1}),
        Account("lab", "ucb-knl", {"mem": 4096}),
    ]
    assert argv.sacctmgr_accounts("summit")[-3:] == [
        "cluster=summit",
        "user=",
        "format=Account,User,ParentName,GrpTRES",
    ]


def test_a_qos_is_read_with_its_limits() -> None:
    text = (
        "debug|100|01:00:00|2|4|cpu=8,gres/gpu=1,mem=4G|cpu=4|||node=2|DenyOnLimit,OverPartQOS\n"
        "normal|0|||||||||\n"
    )
    assert parse.qos(text) == [
        Qos(
            *(
                "debug",
                100,
                60,
                2,
                4,
                {"cpu": 8, "gres/gpu": 1, "mem": 4096},
                {"cpu": 4},
                {},
                {},
                {"node": 2},
            ),
            flags=frozenset({"DenyOnLimit", "OverPartQOS"}),
        ),
        Qos("normal"),
    ]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse.partitions, SHAS_22_05),
        (parse.nodes, NODE.format("IDLE")),
        (parse.reservations, WORKSHOP),
        (parse.associations, RIGHTS),
    ],
)
def test_an_incomplete_or_strange_answer_is_not_an_answer(
    read: Callable[[str], list[object]], text: str
) -> None:
    for damaged in (text[:-1], text[: len(text) // 2], "garbage\n", text + "slurm error: x\n"):
        with pytest.raises(SlurmUnreachable):
            read(damaged)


@given(st.text())
def test_no_text_makes_a_reader_raise_anything_else(text: str) -> None:
    for read in (
        parse.partitions,
        parse.nodes,
        parse.reservations,
        parse.associations,
        parse.qos,
    ):
        for hostile in (text, SHAS_22_05 + text + "\n", f"NodeName=x State={text} Gres={text}\n"):
            try:
                read(hostile)
            except SlurmUnreachable:
                continue


@pytest.mark.parametrize("user", ["", " ", "a,b", "a=b", "a\nb", "a[1-9]", "'a", 'a"'])
def test_associations_can_only_be_asked_for_by_a_valid_name(user: str) -> None:
    with pytest.raises(ValueError, match="user"):
        argv.sacctmgr_associations(user)


def test_associations_of_a_user_of_any_directory_can_be_asked_for() -> None:
    line = argv.sacctmgr_associations("jane doe", "DOM\\alice", "änne")
    assert "name=jane doe,DOM\\alice,änne" in line


@pytest.mark.parametrize("reason", ["Prolog error", "check [the] disk", ""])
def test_the_reason_of_a_node_is_read_without_who_gave_it(reason: str) -> None:
    told = f" Reason={reason} [slurm@2026-11-25T13:21:59]" if reason else ""
    text = f"NodeName=shas0102 Arch=x86_64 OS=Linux 6.18 State=IDLE+DRAIN CurrentWatts=0 {told}\n"
    assert parse.node_reason(text) == reason


NODE_WITH_GPUS = (
    "NodeName=gpu01 CPUAlloc=4 CPUEfctv=64 CPUTot=64 Gres={gres} {used}RealMemory=1000 AllocMem=0 "
    "State=MIXED Partitions=p CfgTRES=cpu=64{configured} AllocTRES=cpu=4,mem=10M{in_use}\n"
)
MIXED = "gpu:a100:2,gpu:v100:1"


@pytest.mark.parametrize(
    ("gres", "used", "configured", "in_use", "found", "not_counted"),
    [
        # TRES count no types: with one type on the node, they are all of that type
        ("gpu:h100:8", "", "gres/gpu=8", "gres/gpu=5", {"h100": 5}, ""),
        ("gpu:h100:8", "", "gres/gpu=8", "", {}, ""),
        ("gpu:8", "", "gres/gpu=8", "gres/gpu=5", {"": 5}, ""),
        (MIXED, "", "gres/gpu=3", "gres/gpu=2", {}, "a100 v100"),
        (MIXED, "", "gres/gpu=3", "", {}, ""),
        # TRES count one type of two
        (MIXED, "", "gres/gpu=3,gres/gpu:a100=2", "gres/gpu=2,gres/gpu:a100=1", {"a100": 1, "v100": 1}, ""),
        (MIXED, "", "gres/gpu:a100=2", "gres/gpu:a100=1", {"a100": 1}, "v100"),
        # TRES count no GPUs
        ("gpu:h100:8", "", "", "", {}, "h100"),
        ("gpu:8", "", "", "", {}, "."),
        # GresUsed counts them all
        ("gpu:h100:8", "gpu:h100:5(IDX:0-2,6-7)", "", "", {"h100": 5}, ""),
        ("gpu:h100:8", "gpu:h100:0(IDX:N/A)", "", "", {}, ""),
        ("gpu:8", "gpu:(null):3(IDX:0-2)", "", "", {"": 3}, ""),
        (MIXED, "gpu:a100:1(IDX:0),gpu:v100:1(IDX:2)", "gres/gpu=3", "", {"a100": 1, "v100": 1}, ""),
        ("gpu:a100:2(S:0,1),shard:8", "gpu:a100:1(IDX:1),shard:a100:0(0/4,0/4)", "", "", {"a100": 1}, ""),
        ("gpu:a100:2", "shard:a100:0(0/4,0/4)", "", "", {}, "a100"),
    ],
)
def test_gpus_in_use_are_those_that_slurm_counts(
    gres: str, used: str, configured: str, in_use: str, found: dict[str, int], not_counted: str
) -> None:
    printed = {"configured": f",{configured}".rstrip(","), "in_use": f",{in_use}".rstrip(",")}
    node = parse.nodes(NODE_WITH_GPUS.format(gres=gres, used=f"GresUsed={used} " if used else "", **printed))[
        0
    ]
    assert {kind: count for kind, count in node.gpus_in_use.items() if count} == found
    assert node.gpus_not_counted == {kind.strip(".") for kind in not_counted.split()}


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("vgpu:2", {}),
        ("mygpu:1,gpu:v100:2(S:0-1)", {"v100": 2}),
        ("gpu_mem:80,gpu:a100:4(S:0,2),gpu:1", {"a100": 4, "": 1}),
        ("mps:gpu:100,shard:a100:8", {}),
        ("gpu:nvidia_a100-sxm4-80gb:4,gpu:1g.10gb:7", {"nvidia_a100-sxm4-80gb": 4, "1g.10gb": 7}),
        ("gpu:a100:no_consume:4,gpu:no_consume:2", {"a100": 4, "": 2}),
        ("gpu:v100,gpu", {"v100": 1, "": 1}),
        ("(null)", {}),
        ("", {}),
    ],
)
def test_only_gpus_count_as_gpus(gres: str, gpus: dict[str, int]) -> None:
    text = NODE_WITH_GPUS.format(gres=gres, used="", configured="", in_use="")
    assert parse.nodes(text)[0].gpus == gpus


@pytest.mark.parametrize(
    ("parameters", "counts"),
    [
        ("CR_CORE_MEMORY", True),
        ("CR_CORE_MEMORY,CR_PACK_NODES", True),
        ("CR_MEMORY", True),  # select/linear
        ("CR_CORE", False),
        ("CR_CPU,CR_LLN", False),
        ("NONE", False),
    ],
)
def test_the_consumable_resources_are_read(parameters: str, counts: bool) -> None:
    text = f"AccountingStorageEnforce = none\nClusterName = summit\nSelectTypeParameters = {parameters}\n"
    assert parse.configuration(text).counts_memory is counts
    line = SHAS_22_05.replace("SelectTypeParameters=NONE", f"SelectTypeParameters={parameters}")
    assert parse.partitions(line)[0].counts_memory is (None if parameters == "NONE" else counts)
