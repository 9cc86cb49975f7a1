"""Makes the demo's cluster summit large: 2,000 nodes, 60 partitions, users with 500 accounts each.

slurmctld and slurmdbd are the real ones and are configured as an operator would: with slurm.conf and
`scontrol reconfigure`, and with sacctmgr. The added nodes have no slurmd: they are cloud nodes that are
powered down. Slurm treats them like all others.
"""

from dataclasses import dataclass

from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB
from cluster.processes import wait_until

from .slurmctld import CLUSTER, CONF
from .testbed import BenchFailure, run_script, run_script_in_hub

NODES = 2000
PARTITIONS = 60
ACCOUNTS = tuple(f"lab{i:03d}" for i in range(1, 501))
QOS = "normal,long,debug"
# One sacctmgr command must fit into one packet of MariaDB.
USERS_AT_ONCE = 10

RECONFIGURE = f"cat >> {CONF}; scontrol reconfigure"
ADD_USERS = 'for name; do useradd --no-create-home --shell /bin/sh "$name"; done'


@dataclass(frozen=True)
class NodeType:
    """Nodes of one type, named by a letter and a number; `share` of all nodes in percent."""

    letter: str
    share: int
    cpus: int
    memory_mb: int
    gres: str = ""

    def line(self, count: int) -> str:
        """The line of slurm.conf for that many nodes."""
        gres = f" Gres={self.gres}" if self.gres else ""
        size = f"Sockets=1 CoresPerSocket={self.cpus} ThreadsPerCore=1 RealMemory={self.memory_mb}"
        return f"NodeName={self.letter}[0001-{count:04d}] {size} State=CLOUD{gres}"


NODE_TYPES = (
    NodeType("a", 60, 64, 256_000),
    NodeType("b", 25, 128, 1_024_000),
    NodeType("v", 8, 40, 384_000, "gpu:v100:4"),
    NodeType("h", 7, 96, 1_536_000, "gpu:a100:8"),
)


def user_names(count: int) -> list[str]:
    """The names of that many users."""
    return [f"bench{i:03d}" for i in range(1, count + 1)]


def slurm_conf(nodes: int, partitions: int) -> str:
    """The lines that add that many nodes and partitions to a slurm.conf."""
    counts = [nodes * each.share // 100 for each in NODE_TYPES]
    counts[0] += nodes - sum(counts)
    lines = [each.line(count) for each, count in zip(NODE_TYPES, counts, strict=True)]
    lines += [_partition(i, counts) for i in range(partitions)]
    return "\n".join(lines) + "\n"


def _partition(number: int, counts: list[int]) -> str:
    """The line of one of the overlapping partitions.

    It has nodes of one or two types and is open to everybody, or to some accounts or QOS only.
    """
    node_type, others = NODE_TYPES[number % len(NODE_TYPES)], NODE_TYPES[(number // 7) % len(NODE_TYPES)]
    count = counts[number % len(NODE_TYPES)]
    first, last = 1 + number * 5 % (count // 2), number * 5 % (count // 2) + count // 2
    if number < len(NODE_TYPES):  # so that each node is in a partition
        first, last = 1, count
    nodes = f"{node_type.letter}[{first:04d}-{last:04d}]"
    if others != node_type:
        nodes += f",{others.letter}[0001-0040]"
    words = [f"PartitionName=part{number:02d} Nodes={nodes} State=UP DefaultTime=01:00:00"]
    words.append(f"MaxTime={1 + number % 7}-00:00:00")
    if number % 3 == 0:
        words.append(f"AllowAccounts={','.join(ACCOUNTS[number % 5 :: 5])}")
    if number % 4 == 1:
        words.append("AllowQos=normal,debug")
    return " ".join(words)


def sacctmgr_input(users: list[str]) -> str:
    """The commands that let each user charge each account."""
    where = f"cluster={CLUSTER}"
    lines = [f"add account {','.join(ACCOUNTS)} {where} description=bench organization=flatirons"]
    for i in range(0, len(users), USERS_AT_ONCE):
        some = ",".join(users[i : i + USERS_AT_ONCE])
        rights = f"account={','.join(ACCOUNTS)} defaultaccount={ACCOUNTS[0]} qos={QOS} defaultqos=normal"
        lines.append(f"add user {some} {where} {rights}")
    return "\n".join(lines) + "\n"


def enlarge(demo: Demo, users: list[str]) -> None:
    """Makes summit large and adds the users to Slurm and to the hub node; returns when Slurm shows it."""
    summit = demo.instance.settings().site.cluster(CLUSTER)
    # sacctmgr's exit code doesn't tell "nothing new" from "failed", so the result is counted.
    run_script(demo, CONTROLLER, "sacctmgr -i || true", stdin=sacctmgr_input(users), deadline_s=300)
    for name in (users[0], users[-1]):
        if len(_accounts(demo, name)) != len(ACCOUNTS):
            raise BenchFailure(f"Slurm's accounting did not accept the accounts of {name}")
    added = slurm_conf(NODES - len(summit.nodes), PARTITIONS - len(summit.partitions))
    run_script(demo, CONTROLLER, RECONFIGURE, stdin=added)
    wait_until(lambda: _is_large(demo), f"enlarging {CLUSTER}", 60, 0.2)
    run_script_in_hub(demo, ADD_USERS, *users)


def _accounts(demo: Demo, name: str) -> list[str]:
    show = 'sacctmgr --noheader --parsable2 list association cluster="$1" user="$2" format=account'
    return run_script(demo, CONTROLLER, show, CLUSTER, name).split()


def _is_large(demo: Demo) -> bool:
    """Whether sinfo shows all partitions and nodes."""
    shown = [
        demo.exec(HUB, ["sinfo", "--all", "--noheader", *options]).stdout.split()
        for options in (["--format=%R"], ["--Node", "--format=%N"])
    ]
    partitions, nodes = (set(listed) for listed in shown)
    return len(partitions) == PARTITIONS and len(nodes) == NODES
