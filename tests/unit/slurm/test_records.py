"""Records with free text in them: comments, reasons and names that look like something else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SlurmUnreachable
from flatirons.slurm import parse_cluster as parse
from flatirons.slurm.argv import ACCOUNT_FIELDS, ASSOCIATION_FIELDS
from flatirons.slurm.records import rows

# as read from the virtual cluster, 24.11; {text} is what an operator wrote
HEAD = (
    "NodeName={name} Arch=x86_64 CoresPerSocket=8  CPUAlloc=1 CPUEfctv=8 CPUTot=8 CPULoad=1.65 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=gpu:v100:2 NodeAddr=10.89.1.1 "
    "NodeHostName={name} Version=24.11.5 OS={os} RealMemory=16000 AllocMem=1000 FreeMem=9916 Sockets=1 "
    "Boards=1 State=MIXED ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A {partitions} "
    "BootTime=2026-11-29T05:55:51 SlurmdStartTime=2026-11-29T06:12:07 LastBusyTime=2026-11-29T06:13:01 "
    "ResumeAfterTime=None CfgTRES=cpu=8,mem=16000M,billing=8,gres/gpu=2,gres/gpu:v100=2 "
    "AllocTRES=cpu=1,mem=1000M CurrentWatts=0 AveWatts=0 "
)
LINUX = "Linux 5.14.0-503.el9.x86_64 #1 SMP PREEMPT_DYNAMIC "
PARTITION = (
    "PartitionName=pgrp AllowGroups={groups} AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO "
    "QoS=N/A DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED "
    "MaxTime=UNLIMITED MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED Nodes=c01 "
    "PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO OverSubscribe=NO OverTimeLimit=NONE "
    "PreemptMode=OFF State=UP TotalCPUs=8 TotalNodes=1 SelectTypeParameters=NONE JobDefaults=(null) "
    "DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=8,mem=16000M,node=1,billing=8\n"
)
RESERVATION = (
    "ReservationName={name} StartTime=1795388123 EndTime=1795391723 Duration=01:00:00 Nodes=shas0101 "
    "NodeCnt=1 CoreCnt=8 Features=(null) PartitionName=shas Flags=SPEC_NODES TRES=cpu=8 Users={users} "
    "Groups={groups} Accounts=(null) Licenses=(null) State=ACTIVE BurstBuffer=(null) "
    "MaxStartDelay=(null){text}\n"
)


def node(name: str, text: str = "", partitions: str = "Partitions=shas ", os: str = LINUX) -> str:
    return HEAD.format(name=name, partitions=partitions, os=os) + text + "\n"


HOSTILE = [
    " Comment=fan replaced\nticket 4711 Extra=a=1\nb ReservationName=workshop",
    " Comment=see\n\n\nthere",
    " Comment=NodeName=c02\nNodeName=c99 Partitions=long\nPartitions=long",
    " Comment=was\nNodeName=c99 CPUTot=9 State=IDLE",
    " Comment=was\u2028NodeName=c99\x0b\x0c\r\x85",
    " Reason=moved from Partitions=long [root@2026-11-29T05:55:51]",
    " Reason=a [root@2026-11-29T05:55:51]         b CPUTot=99 Comment=c\nd",
    ' Extra={\n  "Partitions": "long",\n  "x": [1, 2]\n}',
    " InstanceId=i-1 Partitions=long\nx InstanceType=t Partitions=long",
    " Parameters=a=1 Partitions=long",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("partitions", ["Partitions=shas ", ""])
def test_no_text_of_an_operator_changes_a_node_or_hides_another(text: str, partitions: str) -> None:
    plain = [parse.nodes(node(name, "", partitions))[0] for name in ("c01", "c02", "c03")]
    assert plain[0].partitions == (("shas",) if partitions else ())
    for place in range(3):
        texts = [text if each == place else "" for each in range(3)]
        printed = [node(f"c0{each + 1}", texts[each], partitions) for each in range(3)]
        assert parse.nodes("".join(printed)) == plain


def test_a_node_that_a_comment_quotes_whole_is_read_from_its_own_record() -> None:
    quoted = node("c02", partitions="Partitions=long ").strip()
    other = node("c01", partitions="Partitions=long ").strip()
    plain = [parse.nodes(node(name))[0] for name in ("c01", "c02")]
    assert parse.nodes(node("c01", f" Comment=was:\n{quoted}") + node("c02")) == plain
    assert parse.nodes(node("c01") + node("c02", f" Comment=was:\n{quoted}")) == plain
    assert parse.nodes(node("c01") + node("c02", f" Comment=was:\n{other}")) == plain


@pytest.mark.parametrize("os", ["Linux State=DOWN CPUTot=1 ", "Linux Reason=x Comment=y Partitions=long "])
def test_the_name_of_an_operating_system_changes_nothing(os: str) -> None:
    assert parse.nodes(node("c01", os=os)) == parse.nodes(node("c01"))


@given(st.text().map(lambda text: text.replace("\nNodeName=", "\n")))
def test_no_comment_at_all_changes_a_node(text: str) -> None:
    plain = [parse.nodes(node(name))[0] for name in ("c01", "c02")]
    assert parse.nodes(node("c01", f" Comment={text}") + node("c02")) == plain


@pytest.mark.parametrize("text", ["slurm error: x\n", "NodeName=c02 Arch=x86_64\n"])
def test_what_follows_a_record_without_a_comment_is_no_free_text(text: str) -> None:
    for told in ("", " Reason=Comment [root@2026-11-29T05:55:51]"):
        with pytest.raises(SlurmUnreachable):
            parse.nodes(node("c01", told) + text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" Reason=Prolog error [slurm@1795391723] Comment=fine [bob@1795391724]", "Prolog error"),
        (" Reason=see [x@y] [slurm@2026-11-25T13:21:59]", "see [x@y]"),
        (" Reason=a [DOM\\op@1795391723]         Reason=b", "a"),
        (" Comment=Reason=Prolog error [slurm@1795391723]", ""),
        (" Comment=x\nReason=Prolog error [slurm@1795391723]", ""),
        ("", ""),
    ],
)
def test_the_reason_of_a_node_is_only_its_reason(text: str, reason: str) -> None:
    assert parse.node_reason(node("c01", text)) == reason
    assert parse.node_reason(node("c01", text, os="Linux Reason=no [a@1795391723]")) == reason


@pytest.mark.parametrize("groups", ["domain users", "domain users,rcops", "a State=DOWN,b", "x Hidden=YES"])
def test_a_group_with_a_blank_is_one_name(groups: str) -> None:
    plain = parse.partitions(PARTITION.format(groups="ALL"))[0]
    read = parse.partitions(PARTITION.format(groups=groups))[0]
    assert read.allow_groups == tuple(groups.split(","))
    assert (read.is_up, read.is_hidden, read.allow_accounts) == (plain.is_up, plain.is_hidden, None)


def test_a_partition_of_an_abridged_record_is_read_too() -> None:
    text = re.sub("DisableRootJobs.*?GraceTime=0 ", "", PARTITION.format(groups="domain users"))
    text = text.replace("AllocNodes=ALL ", "").replace("AllowQos=ALL ", "")
    assert parse.partitions(text)[0].allow_groups == ("domain users",)


@pytest.mark.parametrize(
    "text",
    [
        " Comment=for\nReservationName=b\nNodes=c[1-9] State=INACTIVE",
        " Comment=Users=bob Accounts=x",
        " Comment=\n\n",
    ],
)
def test_a_comment_changes_no_reservation(text: str) -> None:
    given = {"users": "alice", "groups": "(null)"}
    plain = [parse.reservations(RESERVATION.format(name=name, text="", **given))[0] for name in "ab"]
    for texts in ((text, ""), ("", text)):
        printed = [
            RESERVATION.format(name=name, text=told, **given) for name, told in zip("ab", texts, strict=True)
        ]
        assert parse.reservations("".join(printed)) == plain


def test_a_reservation_for_a_group_with_a_blank_is_for_that_group() -> None:
    text = RESERVATION.format(name="a", users="(null)", groups="domain users,rcops", text="")
    read = parse.reservations(text)[0]
    assert (read.users, read.groups, read.accounts) == ((), ("domain users", "rcops"), ())


def test_a_line_break_in_a_name_of_accounting_spoils_no_other_row() -> None:
    text = "root|||\na|b||root|\nlab\nx||root|\nmy lab||root|cpu=6\n"  # as sacctmgr of 24.11 prints them
    assert [each.name for each in parse.accounts(text)] == ["root", "lab\nx", "my lab"]
    text = "summit|lab\nx|alice||normal|normal|lab||||||\nsummit|knl|alice||normal|normal|lab||||||\n"
    assert [each.account for each in parse.associations(text)] == ["lab\nx", "knl"]
    text = "summit|a|b|alice||normal|normal|lab||||||\nsummit|knl|alice||normal|normal|lab||||||\n"
    assert [each.account for each in parse.associations(text)] == ["knl"]
    assert [each["Account"] for each in rows("a\u2028b||root|\nc||root|\n", ACCOUNT_FIELDS)] == [
        "a\u2028b",
        "c",
    ]
    with pytest.raises(SlurmUnreachable):
        list(rows("summit|lab\n", ASSOCIATION_FIELDS))


def test_the_settings_of_a_plugin_are_not_those_of_slurm() -> None:
    text = (
        "Configuration data as of 2026-11-29T05:55:51\nAccountingStorageEnforce = limits\n"
        "ClusterName             = summit\nDefMemPerCPU            = 1000\n"
        "Epilog                  = /x ClusterName = evil\n\n"
        "Cgroup Support Configuration:\nDefMemPerCPU            = 1\nClusterName             = evil\n"
    )
    read = parse.configuration(text)
    assert (read.cluster_name, read.default_memory_per_cpu_mib) == ("summit", 1000)
