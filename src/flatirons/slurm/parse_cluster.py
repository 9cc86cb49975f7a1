"""The output of scontrol and sacctmgr -> what a cluster offers: partitions, nodes, associations ...; pure.

Output that can't be read completely raises SlurmUnreachable, as in `parse`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.argv import ACCOUNT_FIELDS, ASSOCIATION_FIELDS, QOS_FIELDS
from flatirons.slurm.cluster_model import Configuration, Consumable, Node, Partition, Reservation
from flatirons.slurm.hostlist import expanded
from flatirons.slurm.parse import NO_ANSWER, gpu_counts, minutes, number, time, tres
from flatirons.slurm.records import NODE, PARTITION, RESERVATION, Layout, read, records, refuse_cut, rows

_GRES = re.compile(r"([^,(]+)(?:\([^)]*\))?")
_REASON = re.compile(r"Reason=(.*?) \[[^\[\]]+@(?:[0-9]+|[0-9]{4}(?:-[0-9]{2}){2}T[0-9:]+)\]", re.DOTALL)
_SETTING = re.compile(r"^(\w+) *= *(.*?) *$", re.MULTILINE)
_NOTHING = ("", "(null)", "N/A", "NONE", "None")


def partitions(text: str) -> list[Partition]:
    """The partitions of `scontrol show partition`, in its order."""
    return [_partition(facts) for facts in _values(text, PARTITION)]


def _partition(facts: Mapping[str, str]) -> Partition:
    return Partition(
        name=facts["PartitionName"],
        is_up=facts.get("State") == "UP",
        is_default=facts.get("Default") == "YES",
        is_hidden=facts.get("Hidden") == "YES",
        nodes=_given(facts.get("Nodes", "")),
        total_nodes=number(facts.get("TotalNodes", "")) or 0,
        total_cpus=number(facts.get("TotalCPUs", "")) or 0,
        gpus=gpu_counts(tres(facts.get("TRES", ""))),
        qos=_given(facts.get("QoS", "")),
        **_admissions(facts),
        **_limits(facts),
    )


def _admissions(facts: Mapping[str, str]) -> dict[str, Any]:
    """Whom a partition admits."""
    return {
        "allow_accounts": _admitted(facts.get("AllowAccounts", "")),
        "deny_accounts": _names(facts.get("DenyAccounts", "")),
        "allow_qos": _admitted(facts.get("AllowQos", "")),
        "deny_qos": _names(facts.get("DenyQos", "")),
        "allow_groups": _admitted(facts.get("AllowGroups", "")),
        "alloc_nodes": _hosts(facts.get("AllocNodes", "")),
        "needs_reservation": facts.get("ReqResv") == "YES",
        "is_root_only": facts.get("RootOnly") == "YES",
    }


def _limits(facts: Mapping[str, str]) -> dict[str, Any]:
    """How much a job in a partition may ask for, and what it gets when it doesn't say."""
    return {
        "default_minutes": minutes(facts.get("DefaultTime", "")),
        "max_minutes": minutes(facts.get("MaxTime", "")),
        "min_nodes": number(facts.get("MinNodes", "")) or 0,
        "max_nodes": number(facts.get("MaxNodes", "")),
        "max_cpus_per_node": number(facts.get("MaxCPUsPerNode", "")),
        "default_memory_per_cpu_mib": number(facts.get("DefMemPerCPU", "")),
        "default_memory_per_node_mib": number(facts.get("DefMemPerNode", "")),
        "max_memory_per_cpu_mib": number(facts.get("MaxMemPerCPU", "")),
        "max_memory_per_node_mib": number(facts.get("MaxMemPerNode", "")),
        "max_cpus_per_socket": number(facts.get("MaxCPUsPerSocket", "")),
        "consumable": _consumable(facts.get("SelectTypeParameters", "")),
        "counts_memory": _counts_memory(facts.get("SelectTypeParameters", "NONE")),
    }


def nodes(text: str) -> list[Node]:
    """The nodes of `scontrol show node`, in its order."""
    return [_node(facts) for facts in _values(text, NODE)]


def _node(facts: Mapping[str, str]) -> Node:
    state, *flags = facts.get("State", "").rstrip("*~#!%$@^-").split("+")
    if facts.get("State", "").endswith("*"):
        flags.append("NOT_RESPONDING")
    return Node(
        name=facts["NodeName"],
        state=state,
        flags=frozenset(flags),
        partitions=_names(facts.get("Partitions", "")),
        cpus_in_use=number(facts.get("CPUAlloc", "")) or 0,
        memory_mib=max(_count(facts, "RealMemory") - _count(facts, "MemSpecLimit"), 0),
        memory_in_use_mib=number(facts.get("AllocMem", "")) or 0,
        **_cpu_facts(facts),
        **_gpu_facts(facts),
        features=_names(facts.get("ActiveFeatures", "")),
    )


def _cpu_facts(facts: Mapping[str, str]) -> dict[str, Any]:
    """The CPUs of a node that jobs may have, and how many a core and a socket have.

    Where CPUs in slurm.conf is the number of cores, a core is one CPU, whatever the number of its threads.
    Source: CPUs in slurm.conf(5), node_conf.c in Slurm's src/common.
    """
    there, threads = _count(facts, "CPUTot"), _count(facts, "ThreadsPerCore") or 1
    per_socket, sockets = _count(facts, "CoresPerSocket"), _count(facts, "Sockets")
    per_core = 1 if per_socket * sockets >= there else threads
    usable = number(facts.get("CPUEfctv", ""))
    return {
        "cpus": there if usable is None else usable,
        "cpus_per_core": per_core,
        "cpus_per_socket": per_core * per_socket,
    }


def _gpu_facts(facts: Mapping[str, str]) -> dict[str, Any]:
    """The GPUs of a node by type, and how many are in use as far as Slurm counts that.

    TRES counts only the types that AccountingStorageTRES names, or no types, or no GPUs at all. With
    `--details`, GresUsed counts all of them.
    """
    gpus, used = _gres(facts.get("Gres", "")), _gres(facts.get("GresUsed", ""))
    if gpus.keys() <= used.keys():
        return {"gpus": gpus, "gpus_in_use": {kind: used[kind] for kind in gpus if used[kind]}}
    in_use, configured = tres(facts.get("AllocTRES", "")), tres(facts.get("CfgTRES", ""))
    named = {kind: f"gres/gpu:{kind}" for kind in gpus}
    counted = {kind: in_use.get(name, 0) for kind, name in named.items() if name in {**in_use, **configured}}
    others = gpus.keys() - counted.keys()
    rest = max(in_use.get("gres/gpu", 0) - sum(counted.values()), 0)
    is_unknown = "gres/gpu" not in {**in_use, **configured} or (rest > 0 and len(others) > 1)
    return {
        "gpus": gpus,
        "gpus_in_use": counted | ({} if is_unknown or not rest else dict.fromkeys(others, rest)),
        "gpus_not_counted": frozenset(others if is_unknown else ()),
    }


def node_reason(text: str) -> str:
    """Why a node is out of service, in the words of Slurm or of an operator; "" while it is in service."""
    found = _REASON.match(read(text, NODE).rest)
    return found[1] if found else ""


def node_addresses(text: str) -> tuple[str, ...]:
    """NodeAddr and NodeHostName of a node in `scontrol show node`, as far as they differ from its name."""
    facts = read(text, NODE).values
    found = [_given(facts.get(key, "")) for key in ("NodeAddr", "NodeHostName")]
    return tuple(name for name in dict.fromkeys(found) if name and name != facts["NodeName"])


def reservations(text: str) -> list[Reservation]:
    """The reservations of `scontrol show reservation`, in its order."""
    if text.strip() == "No reservations in the system":
        return []
    return [_reservation(facts) for facts in _values(text, RESERVATION)]


def _reservation(facts: Mapping[str, str]) -> Reservation:
    flags, *cores = re.split(r"\s*\bNodeName=", facts.get("Flags", ""))
    return Reservation(
        name=facts["ReservationName"],
        is_active=facts.get("State") == "ACTIVE",
        start=time(facts.get("StartTime", "")),
        end=time(facts.get("EndTime", "")),
        nodes=_given(facts.get("Nodes", "")),
        partition=_given(facts.get("PartitionName", "")),
        users=_names(facts.get("Users", "")),
        accounts=_names(facts.get("Accounts", "")),
        groups=_names(facts.get("Groups", "")),
        total_nodes=number(facts.get("NodeCnt", "")) or 0,
        cpus=tres(facts.get("TRES", "")).get("cpu", 0),
        node_names=expanded(_given(facts.get("Nodes", ""))),
        flags=frozenset(_names(flags)),
        node_cores=dict(_reserved_cores(each) for each in cores),
    )


def _reserved_cores(text: str) -> tuple[str, int]:
    """The node and the number of its cores in "c1 CoreIDs=0-1,4"."""
    name, _, ids = text.partition(" CoreIDs=")
    return name, len(expanded(f"[{ids.strip()}]"))


def associations(text: str) -> list[Association]:
    """The associations of the users that were asked for; none for a user whom accounting doesn't know."""
    return [_association(row) for row in rows(text, ASSOCIATION_FIELDS)]


def _association(row: Mapping[str, str]) -> Association:
    return Association(
        cluster=row["Cluster"],
        account=row["Account"],
        user=row["User"],
        partition=row["Partition"],
        qos=_names(row["QOS"]),
        default_qos=row["DefaultQOS"],
        is_default=row["Account"] == row["DefaultAccount"],
        max_jobs=number(row["MaxJobs"]),
        max_submitted=number(row["MaxSubmitJobs"]),
        max_minutes=minutes(row["MaxWall"]),
        max_tres_per_job=tres(row["MaxTRESPerJob"]),
        max_tres_per_node=tres(row["MaxTRESPerNode"]),
        group_tres=tres(row["GrpTRES"]),
    )


def accounts(text: str) -> list[Account]:
    """The accounts of a cluster, including those without users."""
    return [
        Account(row["Account"], row["ParentName"], tres(row["GrpTRES"]))
        for row in rows(text, ACCOUNT_FIELDS)
        if not row["User"]
    ]


def qos(text: str) -> list[Qos]:
    """Every QOS of the accounting database."""
    return [
        Qos(
            name=row["Name"],
            priority=number(row["Priority"]) or 0,
            max_minutes=minutes(row["MaxWall"]),
            max_jobs_per_user=number(row["MaxJobsPerUser"]),
            max_submitted_per_user=number(row["MaxSubmitJobsPerUser"]),
            max_tres_per_user=tres(row["MaxTRESPerUser"]),
            max_tres_per_job=tres(row["MaxTRESPerJob"]),
            max_tres_per_node=tres(row["MaxTRESPerNode"]),
            min_tres_per_job=tres(row["MinTRESPerJob"]),
            group_tres=tres(row["GrpTRES"]),
            flags=frozenset(_names(row["Flags"])),
        )
        for row in rows(text, QOS_FIELDS)
    ]


def configuration(text: str) -> Configuration:
    """The settings of `scontrol show config` that matter to users."""
    refuse_cut(text)
    settings = dict(reversed(_SETTING.findall(text.partition("\n\n")[0])))  # then come plugins' settings
    if "AccountingStorageEnforce" not in settings or not settings.get("ClusterName"):
        raise SlurmUnreachable(NO_ANSWER, f"scontrol show config printed something else: {text[:200]!r}")
    words = {word.strip().lower() for word in settings["AccountingStorageEnforce"].split(",")}
    words -= {"none", "", "0", "(null)"}
    if words & {"limits", "qos", "safe", "wckeys"}:
        words.add("associations")
    if "safe" in words:
        words.add("limits")
    return Configuration(
        settings["ClusterName"],
        frozenset(words),
        default_memory_per_cpu_mib=number(settings.get("DefMemPerCPU", "")),
        default_memory_per_node_mib=number(settings.get("DefMemPerNode", "")),
        max_memory_per_cpu_mib=number(settings.get("MaxMemPerCPU", "")),
        max_memory_per_node_mib=number(settings.get("MaxMemPerNode", "")),
        consumable=_consumable(settings.get("SelectTypeParameters", "")) or Consumable.CPU,
        has_one_task_per_core="CR_ONE_TASK_PER_CORE" in settings.get("SelectTypeParameters", "").upper(),
        counts_memory=_counts_memory(settings.get("SelectTypeParameters", "CR_Core_Memory")) or False,
        version=tuple(int(part) for part in re.findall(r"[0-9]{1,4}", settings.get("SLURM_VERSION", ""))[:3]),
        slurm_user_uid=_uid(settings.get("SlurmUser", "")),
    )


def _uid(text: str) -> int | None:
    """The uid in "slurm(64030)"; None without one."""
    number = text.rpartition("(")[2].removesuffix(")")
    return int(number) if number.isdecimal() else None


def _consumable(parameters: str) -> Consumable | None:
    """What SelectTypeParameters name, for example "CR_CORE_MEMORY,CR_LLN"; None where they name nothing."""
    words = {word.removesuffix("_MEMORY") for word in parameters.upper().split(",")}
    return next((each for each in Consumable if f"CR_{each.value.upper()}" in words), None)


def waiting(text: str) -> Counter[str]:
    """How many jobs wait for each partition; a job that names several partitions counts for each of them."""
    refuse_cut(text)
    return Counter(name for line in text.split() for name in line.split(","))


def _values(text: str, layout: Layout) -> Iterator[Mapping[str, str]]:
    return (record.values for record in records(text, layout))


def _count(facts: Mapping[str, str], key: str) -> int:
    return number(facts.get(key, "")) or 0


def _given(text: str) -> str:
    return "" if text in _NOTHING else text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in _given(text).split(",") if name)


def _admitted(text: str) -> tuple[str, ...] | None:
    return None if text in ("ALL", *_NOTHING) else _names(text)


def _counts_memory(parameters: str) -> bool | None:
    """Is memory a consumable resource by SelectTypeParameters? None where none are given."""
    return None if _given(parameters) == "" else "MEMORY" in parameters.upper()


def _hosts(text: str) -> tuple[str, ...] | None:
    """The hosts from which a partition accepts jobs; None for any host, and for a list that can't be read."""
    try:
        return None if text in ("ALL", *_NOTHING) else expanded(text)
    except SlurmUnreachable:
        return None


def _gres(text: str) -> dict[str, int]:
    """The number of GPUs of each type in "gpu:v100:2(S:0-1),gpu:1"; those without a type are under ""."""
    found: dict[str, int] = {}
    for name in _GRES.findall(text.replace("(null)", "")):
        kind, *rest = name.split(":")
        words = [word for word in rest if word != "no_consume"]
        count = number(words.pop()) if words and number(words[-1]) is not None else 1
        if kind == "gpu":
            found["".join(words)] = found.get("".join(words), 0) + (count or 0)
    return found
