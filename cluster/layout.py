"""The virtual site: clusters, nodes, partitions, users, limits. Pure; everything else follows this file."""

from dataclasses import dataclass, field

CONTROLLER = "ctl"
HUB = "hub"
GATEWAY = "10.89.0.1"
PREFIX = 16
NETWORK = f"10.89.0.0/{PREFIX}"


@dataclass(frozen=True)
class Node:
    """A virtual node; `cluster` is empty for the hub and the controller, which serve both clusters."""

    name: str
    address: str
    cluster: str = ""
    cpus: int = 1
    memory_mb: int = 1
    gpus: tuple[tuple[str, int], ...] = ()

    @property
    def gpu_count(self) -> int:
        """The number of simulated GPUs, of any type."""
        return sum(count for _, count in self.gpus)


@dataclass(frozen=True)
class Partition:
    """A partition; without `accounts` it admits all accounts, without `qos` every QOS.

    `settings` are further words for slurm.conf, such as "MaxNodes=1".
    """

    name: str
    nodes: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] = ()
    max_time: str = "1-00:00:00"
    is_default: bool = False
    is_up: bool = True
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """A Slurm cluster with its own slurm.conf, ports and controller; accounting is shared."""

    name: str
    controller_port: int
    node_port: int
    nodes: tuple[Node, ...]
    partitions: tuple[Partition, ...]
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Association:
    """A user's right to charge an account with some QOS; a user's first one in a cluster is the default.

    With a partition it is only for jobs there. `limits` are words for sacctmgr.
    """

    cluster: str
    account: str
    user: str
    qos: tuple[str, ...]
    partition: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """An account below another one; `limits` apply to all its users together."""

    cluster: str
    name: str
    parent: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Qos:
    """A quality of service; `limits` are words for sacctmgr."""

    name: str
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """A user with a password (their name) and the same uid on every node."""

    name: str
    uid: int


@dataclass(frozen=True)
class Group:
    """A Unix group of some users, the same on every node."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Reservation:
    """Reserved cores of a cluster's first node; `admits` are words for scontrol."""

    name: str
    cluster: str
    cores: int
    admits: tuple[str, ...]


PEOPLE = (Person("alice", 10001), Person("bob", 10002), Person("carol", 10003), Person("dave", 10004))
HUB_ACCOUNT = Person("jupyterhub", 990)
GROUPS = (Group("rcops", 20001, ("bob", "carol")),)

QOS = (
    Qos("normal", ("Priority=10", "MaxWall=1-00:00:00")),
    Qos("long", ("Priority=5", "MaxWall=7-00:00:00", "MaxJobsPerUser=2")),
    Qos("debug", ("Priority=100", "MaxWall=01:00:00", "MaxTRESPerUser=cpu=8")),
    # A job beyond `strict` is refused; a job beyond `loose` is accepted and never starts.
    Qos(
        "strict",
        (
            *("Flags=DenyOnLimit", "MaxTRESPerJob=cpu=6,gres/gpu:v100=1", "MaxTRESPerNode=cpu=4,mem=9000"),
            "MinTRESPerJob=cpu=2",
        ),
    ),
    Qos("loose", ("MaxWall=02:00:00", "MaxTRESPerJob=cpu=4,gres/gpu=1", "MinTRESPerJob=mem=1500")),
    Qos("over", ("Flags=OverPartQOS,DenyOnLimit", "MaxTRESPerJob=gres/gpu=2")),
    Qos("lifted", ("Flags=PartitionTimeLimit,PartitionMaxNodes", "MaxWall=2-00:00:00")),
    # The partition sone's own.
    Qos("one-gpu", ("Flags=DenyOnLimit", "MaxWall=04:00:00", "MaxTRESPerJob=gres/gpu=1")),
)

# dave has none, on purpose: Slurm must refuse him.
ASSOCIATIONS = (
    Association("summit", "ucb-general", "alice", ("normal", "long", "debug")),
    Association("summit", "ucb-knl", "alice", ("normal", "debug")),
    Association("summit", "ucb-general", "bob", ("normal", "debug")),
    Association(
        "summit", "ucb-gpu", "bob", ("normal",), partition="sgpu", limits=("MaxTRESPerJob=gres/gpu=1,cpu=6",)
    ),
    Association(
        "summit",
        "ucb-class",
        "bob",
        ("strict", "loose"),
        limits=(
            *("MaxWall=03:00:00", "MaxTRESPerJob=cpu=5,mem=8000", "MaxTRESPerNode=cpu=3,gres/gpu=1"),
            "GrpTRES=gres/gpu=2,node=2",
        ),
    ),
    Association("summit", "csdms", "carol", ("normal", "strict", "loose", "over")),
    Association("summit", "csdms", "carol", ("lifted",), partition="smem", limits=("MaxTRESPerJob=cpu=3",)),
    Association("summit", "knl-students", "carol", ("normal", "debug")),
    Association("blanca", "csdms", "alice", ("normal", "long")),
    Association("blanca", "sol", "bob", ("normal",)),
    Association("blanca", "csdms", "carol", ("normal", "long")),
    Association("blanca", "sol", "carol", ("normal",)),
)

# The others are on top.
ACCOUNTS = (Account("summit", "knl-students", parent="ucb-knl", limits=("GrpTRES=cpu=6",)),)

RESERVATIONS = (
    Reservation("workshop", "summit", 2, ("Users=alice,carol",)),
    Reservation("course", "blanca", 2, ("Accounts=csdms", "PartitionName=blanca-course")),
)


@dataclass(frozen=True)
class Site:
    """Everything that one `up` makes."""

    hub: Node
    controller: Node
    clusters: tuple[Cluster, ...]
    people: tuple[Person, ...] = field(default=PEOPLE)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, controller first."""
        return (self.controller, self.hub, *(node for cluster in self.clusters for node in cluster.nodes))

    def node(self, name: str) -> Node | None:
        """The node with this name, or None."""
        return next((node for node in self.nodes if node.name == name), None)

    def cluster(self, name: str) -> Cluster:
        """The cluster with this name; KeyError if there is none."""
        return {cluster.name: cluster for cluster in self.clusters}[name]


def _summit(count: int, cpus: int) -> Cluster:
    """Summit with `count` nodes; from three on, one in four (at least one) is only in sknl."""
    knl = max(1, count // 4) if count >= 3 else 0
    names = [f"shas{100 + i + 1:04d}" for i in range(count - knl)]
    names += [f"sknl{700 + i + 1:04d}" for i in range(knl)]
    shas, sknl = names[: count - knl], names[count - knl :] or names
    gpus: dict[str, tuple[tuple[str, int], ...]] = {shas[-1]: (("v100", 2),)}
    gpus[sknl[0]] = (*gpus.get(sknl[0], ()), ("a100", 2)) if sknl == names else (("a100", 2), ("v100", 1))
    nodes = tuple(
        Node(name, f"10.89.{1 + i // 250}.{1 + i % 250}", "summit", cpus, cpus * 2000, gpus.get(name, ()))
        for i, name in enumerate(names)
    )
    partitions = (
        Partition("shas", tuple(shas), max_time="7-00:00:00", is_default=True),
        Partition("sknl", tuple(sknl), accounts=("ucb-knl",), qos=("normal", "debug")),
        *_partitions_with_rules(tuple(shas), tuple(dict.fromkeys([shas[-1], sknl[0]]))),
    )
    return Cluster("summit", 6817, 6818, nodes, partitions)


def _partitions_with_rules(shas: tuple[str, ...], with_gpus: tuple[str, ...]) -> tuple[Partition, ...]:
    """Further partitions on the same nodes, each with a special rule."""
    return (
        Partition("sgpu", with_gpus, settings=("DenyQos=long",)),
        Partition(
            "smem",
            shas,
            settings=("MaxNodes=1", "MaxCPUsPerNode=4", "MaxMemPerNode=6000", "DenyAccounts=ucb-knl"),
        ),
        Partition("sops", shas, settings=("AllowGroups=rcops",)),
        Partition("sone", with_gpus, settings=("QOS=one-gpu",)),
        Partition("stest", shas, max_time="00:30:00", settings=("Hidden=YES", "MaxMemPerCPU=1500")),
        Partition("sroot", shas, settings=("RootOnly=YES",)),
        Partition("sdown", shas, is_up=False),
    )


def _blanca(cpus: int) -> Cluster:
    """Blanca: one node, shared by a course and the partitions of two groups, each for its own account."""
    node = Node("bnode0101", "10.89.100.1", "blanca", cpus, cpus * 2000, (("a100", 2),))
    partitions = (
        Partition("blanca-csdms", (node.name,), accounts=("csdms",), max_time="7-00:00:00", is_default=True),
        Partition("blanca-sol", (node.name,), accounts=("sol",), max_time="7-00:00:00"),
        Partition("blanca-course", (node.name,), settings=("ReqResv=YES",)),
    )
    return Cluster("blanca", 7817, 7818, (node,), partitions, settings=(f"MaxMemPerNode={cpus * 1750}",))


def make_site(summit_nodes: int = 3, cpus: int = 8) -> Site:
    """The site with that many nodes in summit; each claims `cpus` cores and 2000 MB for each."""
    return Site(
        hub=Node(HUB, "10.89.0.3"),
        controller=Node(CONTROLLER, "10.89.0.2"),
        clusters=(_summit(summit_nodes, cpus), _blanca(cpus)),
    )
