"""A large centre: 2,000 nodes, 60 partitions and people with 500 accounts each, in the demo's cluster summit.

Everything is told to the real slurmctld and slurmdbd as an operator would: lines in slurm.conf and
`scontrol reconfigure`, commands of sacctmgr. The nodes that are added have no slurmd: they are cloud nodes
that are switched off, for which Slurm makes every decision that it makes for others.
"""

from dataclasses import dataclass

from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB
from cluster.processes import wait_until
from cluster.slurmconf import CONFIGURATION

from .stage import BenchFailure, do, in_hub

CLUSTER = "summit"
NODES = 2000
PARTITIONS = 60
ACCOUNTS = tuple(f"lab{i:03d}" for i in range(1, 501))
QOS = "normal,long,debug"
# One sacctmgr command must fit into one packet of MariaDB.
PEOPLE_AT_ONCE = 10

RELOAD = f"cat >> {CONFIGURATION}/{CLUSTER}/slurm.conf; scontrol reconfigure"
ADD_PEOPLE = 'for name; do useradd --no-create-home --shell /bin/sh "$name"; done'


@dataclass(frozen=True)
class Kind:
    """Nodes that are alike, named by a letter and a number; a share of them in percent."""

    letter: str
    share: int
    cpus: int
    memory_mb: int
    gres: str = ""

    def line(self, count: int) -> str:
        """The line of slurm.conf for that many."""
        gres = f" Gres={self.gres}" if self.gres else ""
        size = f"Sockets=1 CoresPerSocket={self.cpus} ThreadsPerCore=1 RealMemory={self.memory_mb}"
        return f"NodeName={self.letter}[0001-{count:04d}] {size} State=CLOUD{gres}"


KINDS = (
    Kind("a", 60, 64, 256_000),
    Kind("b", 25, 128, 1_024_000),
    Kind("v", 8, 40, 384_000, "gpu:v100:4"),
    Kind("h", 7, 96, 1_536_000, "gpu:a100:8"),
)


def names(count: int) -> list[str]:
    """The names of that many people."""
    return [f"bench{i:03d}" for i in range(1, count + 1)]


def slurm_conf(nodes: int, partitions: int) -> str:
    """Lines that add that many nodes and partitions to a slurm.conf."""
    counts = [nodes * kind.share // 100 for kind in KINDS]
    counts[0] += nodes - sum(counts)
    lines = [kind.line(count) for kind, count in zip(KINDS, counts, strict=True)]
    lines += [_partition(i, counts) for i in range(partitions)]
    return "\n".join(lines) + "\n"


def _partition(number: int, counts: list[int]) -> str:
    """Overlapping partitions: of one kind of nodes or of two, open to all or to some accounts and QOS."""
    kind, others = KINDS[number % len(KINDS)], KINDS[(number // 7) % len(KINDS)]
    count = counts[number % len(KINDS)]
    first, last = 1 + number * 5 % (count // 2), number * 5 % (count // 2) + count // 2
    if number < len(KINDS):  # no node is left out
        first, last = 1, count
    nodes = f"{kind.letter}[{first:04d}-{last:04d}]"
    if others != kind:
        nodes += f",{others.letter}[0001-0040]"
    words = [f"PartitionName=part{number:02d} Nodes={nodes} State=UP DefaultTime=01:00:00"]
    words.append(f"MaxTime={1 + number % 7}-00:00:00")
    if number % 3 == 0:
        words.append(f"AllowAccounts={','.join(ACCOUNTS[number % 5 :: 5])}")
    if number % 4 == 1:
        words.append("AllowQos=normal,debug")
    return " ".join(words)


def sacctmgr_input(people: list[str]) -> str:
    """Commands that let each of the people charge each of the accounts."""
    where = f"cluster={CLUSTER}"
    lines = [f"add account {','.join(ACCOUNTS)} {where} description=bench organization=flatirons"]
    for i in range(0, len(people), PEOPLE_AT_ONCE):
        some = ",".join(people[i : i + PEOPLE_AT_ONCE])
        rights = f"account={','.join(ACCOUNTS)} defaultaccount={ACCOUNTS[0]} qos={QOS} defaultqos=normal"
        lines.append(f"add user {some} {where} {rights}")
    return "\n".join(lines) + "\n"


def enlarge(demo: Demo, people: list[str]) -> None:
    """Makes summit large and the people known, in Slurm and to the hub node; returns when Slurm says so."""
    summit = demo.instance.settings().site.cluster(CLUSTER)
    # sacctmgr's exit code says "nothing new" and "failed" alike; what is there afterwards counts.
    do(demo, CONTROLLER, "sacctmgr -i || true", stdin=sacctmgr_input(people), deadline_s=300)
    for name in (people[0], people[-1]):
        if len(_accounts(demo, name)) != len(ACCOUNTS):
            raise BenchFailure(f"Slurm's accounting did not take the accounts of {name}")
    added = slurm_conf(NODES - len(summit.nodes), PARTITIONS - len(summit.partitions))
    do(demo, CONTROLLER, RELOAD, stdin=added)
    wait_until(lambda: _is_large(demo), f"enlarging {CLUSTER}", 60, 0.2)
    in_hub(demo, ADD_PEOPLE, *people)


def _accounts(demo: Demo, name: str) -> list[str]:
    show = 'sacctmgr --noheader --parsable2 list association cluster="$1" user="$2" format=account'
    return do(demo, CONTROLLER, show, CLUSTER, name).split()


def _is_large(demo: Demo) -> bool:
    """Whether all partitions and nodes are there."""
    shown = [
        demo.exec(HUB, ["sinfo", "--all", "--noheader", *options]).stdout.split()
        for options in (["--format=%R"], ["--Node", "--format=%N"])
    ]
    partitions, nodes = (set(listed) for listed in shown)
    return len(partitions) == PARTITIONS and len(nodes) == NODES
