"""slurm.conf and related files of a site, as text. Pure; valid from Slurm 22.05 to 26.05."""

from collections.abc import Sequence

from .layout import Cluster, Node, Partition, Site

CONFIGURATION = "/etc/slurm"
ACCOUNTING_PORT = 6819

# Slurm reacts at once, for tests and the demo: no
# delay before scheduling or launching, backfill every second, short time to terminate.
_COMMON = """\
SlurmctldHost={controller}
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/{cluster}
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld-{cluster}.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldPort={controller_port}
SlurmdPort={node_port}
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
MessageTimeout=10
EnforcePartLimits=ALL
InactiveLimit=0
KillWait=5
MinJobAge=300
MaxJobCount=20000
MaxArraySize=1001
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1,bf_continue,default_queue_depth=1000
PriorityType=priority/multifactor
PriorityWeightAge=1000
PriorityWeightQOS=10000
DefMemPerCPU=1000
JobAcctGatherFrequency=task=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={controller}
AccountingStoragePort={accounting_port}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu{gpu_tres}
GresTypes=gpu
SlurmctldDebug=info
SlurmdDebug=info
"""

_WITH_CGROUPS = """\
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup
"""
_WITHOUT_CGROUPS = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
"""


def _gpu_types(cluster: Cluster) -> list[str]:
    """The types of GPUs in a cluster, sorted and without repetition."""
    return sorted({kind for node in cluster.nodes for kind, _ in node.gpus})


def _node_line(node: Node) -> str:
    gres = ",".join(f"gpu:{kind}:{count}" for kind, count in node.gpus)
    words = [
        f"NodeName={node.name} NodeAddr={node.address} Sockets=1 CoresPerSocket={node.cpus} ThreadsPerCore=1"
    ]
    words.append(f"RealMemory={node.memory_mb} State=UNKNOWN")
    return " ".join(words + [f"Gres={gres}"] * bool(gres))


def _partition_line(partition: Partition) -> str:
    words = [f"PartitionName={partition.name} Nodes={','.join(partition.nodes)}"]
    state = "UP" if partition.is_up else "DOWN"
    words.append(f"Default={'YES' if partition.is_default else 'NO'} State={state}")
    words.append(f"DefaultTime=01:00:00 MaxTime={partition.max_time}")
    if partition.accounts:
        words.append(f"AllowAccounts={','.join(partition.accounts)}")
    if partition.qos:
        words.append(f"AllowQos={','.join(partition.qos)}")
    return " ".join([*words, *partition.settings])


def slurm_conf(site: Site, cluster: Cluster, has_cgroups: bool) -> str:
    """The slurm.conf of one cluster, the same on every node that uses it."""
    head = (_COMMON + (_WITH_CGROUPS if has_cgroups else _WITHOUT_CGROUPS)).format(
        controller=site.controller.name,
        cluster=cluster.name,
        controller_port=cluster.controller_port,
        node_port=cluster.node_port,
        accounting_port=ACCOUNTING_PORT,
        gpu_tres="".join(f",gres/gpu:{kind}" for kind in _gpu_types(cluster)),
    )
    lines = [f"ClusterName={cluster.name}", head.rstrip(), *cluster.settings, *map(_node_line, cluster.nodes)]
    return "\n".join([*lines, *map(_partition_line, cluster.partitions)]) + "\n"


def gpu_devices(count: int, first: int = 0) -> str:
    """The device files of simulated GPUs as Slurm writes them: /dev/gpu0 or /dev/gpu[0-3]."""
    last = first + count - 1
    return f"/dev/gpu{first}" if count == 1 else f"/dev/gpu[{first}-{last}]"


def gres_conf(cluster: Cluster) -> str:
    """The gres.conf with the device files of the simulated GPUs, which the node's start creates."""
    lines = ["AutoDetect=off"]
    for node in cluster.nodes:
        first = 0
        for kind, count in node.gpus:
            lines.append(f"NodeName={node.name} Name=gpu Type={kind} File={gpu_devices(count, first)}")
            first += count
    return "\n".join(lines) + "\n"


def slurmdbd_conf(site: Site) -> str:
    """The slurmdbd.conf for all clusters; MariaDB knows the daemon by its uid, without a password."""
    return (
        f"AuthType=auth/munge\nDbdHost={site.controller.name}\nDbdPort={ACCOUNTING_PORT}\nSlurmUser=slurm\n"
        "StorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser=slurm\n"
        "StorageLoc=slurm_acct_db\nPidFile=/run/slurm/slurmdbd.pid\nDebugLevel=info\n"
    )


def cgroup_conf(release: Sequence[int], constrained: Sequence[str]) -> str:
    """The cgroup.conf; `constrained` are its words for what is enforced: RAMSpace, Devices, Cores."""
    if not constrained:
        # Releases before 23.11 don't know `disabled`; v1 needs nothing as long as nothing uses it.
        return f"CgroupPlugin={'disabled' if tuple(release) >= (23, 11) else 'cgroup/v1'}\n"
    return "\n".join(["CgroupPlugin=cgroup/v1", *(f"Constrain{what}=yes" for what in constrained)]) + "\n"


def configuration_files(
    site: Site, cluster: Cluster, release: Sequence[int], constrained: Sequence[str] = ()
) -> dict[str, str]:
    """File name -> text of a cluster's configuration directory, for a release of Slurm such as (24, 11)."""
    return {
        "slurm.conf": slurm_conf(site, cluster, has_cgroups=bool(constrained)),
        "gres.conf": gres_conf(cluster),
        "cgroup.conf": cgroup_conf(release, constrained),
    }
