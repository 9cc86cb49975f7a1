"""Many people on the demo's cluster summit, with room for all their jobs at once; what slurmctld was asked.

The machine is small, so nodes claim more cores than there are, memory is not counted, and Slurm samples jobs
as seldom as it does by default. That is the same for every subject, and no job does anything.
"""

import re
from dataclasses import dataclass

from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB
from cluster.processes import wait_until
from cluster.slurmconf import CONFIGURATION

from .stage import BenchFailure, do

CLUSTER = "summit"
CONF = f"{CONFIGURATION}/{CLUSTER}/slurm.conf"
ACCOUNT = "ucb-general"
PARTITION = "shas"
NODES = 6  # five of them in the partition
CORES = 256
FIRST_UID = 30001
JOBS_DEADLINE_S = 120.0

MAKE_ROOM = rf"""
sed -i -E -e 's/CoresPerSocket=[0-9]+/CoresPerSocket={CORES}/' -e 's/^(SelectTypeParameters)=.*/\1=CR_Core/' \
    -e 's/^(JobAcctGatherFrequency)=.*/\1=task=30/' -e '/^JobAcctGatherParams=/d' \
    -e 's/^(MaxJobCount)=.*/\1=100000/' -e 's/^(MaxArraySize)=.*/\1=10001/' {CONF}
export SLURM_CONF={CONF}
scontrol reconfigure
scontrol --oneliner show reservations | sed -n -E 's/^ReservationName=([^ ]+).*/\1/p' |
    xargs -r -n 1 scontrol delete reservation
"""
# $1: how many. On every node, as a site's directory service would; the homes are shared by all nodes.
ADD_PEOPLE = f"""
i=0
while [ $i -lt $1 ]; do
    i=$((i + 1))
    name=$(printf 'bench%04d' $i)
    uid=$(({FIRST_UID} - 1 + i))
    echo "$name:x:$uid:$uid::/home/$name:/bin/sh" >> /etc/passwd
    echo "$name:x:$uid:" >> /etc/group
done
"""
ADD_HOMES = 'for name; do install -d -m 0700 -o "$name" -g "$name" "/home/$name"; done'
RUNNING = "squeue --noheader --format=%A --states=RUNNING,COMPLETING,CONFIGURING"
# What the nodes themselves tell slurmctld, what slurmdbd asks, and what the benchmark asks.
NOT_ASKED = re.compile(
    "MESSAGE_|REQUEST_COMPLETE_|REQUEST_STEP_COMPLETE|REQUEST_STATS_INFO|ACCOUNTING_|REQUEST_PERSIST|REQUEST_NODE_REG"
)
RPC = re.compile(r"^\s+(?P<name>[A-Z_]+)\s*\(\s*\d+\)\s*count:(?P<count>\d+)", re.MULTILINE)


def names(count: int, first: int = 1) -> list[str]:
    """The names of that many people."""
    return [f"bench{i:04d}" for i in range(first, first + count)]


def gather(demo: Demo, count: int) -> None:
    """Makes room on summit and that many people known, to Slurm and to all nodes."""
    do(demo, CONTROLLER, MAKE_ROOM)
    for node in demo.instance.settings().site.nodes:
        do(demo, node.name, ADD_PEOPLE, str(count))
    people = names(count)
    do(demo, HUB, ADD_HOMES, *people)
    where = f"cluster={CLUSTER} account={ACCOUNT} defaultaccount={ACCOUNT} qos=normal defaultqos=normal"
    # sacctmgr's exit code says "nothing new" and "failed" alike; what is there afterwards counts.
    do(
        demo,
        CONTROLLER,
        "sacctmgr -i || true",
        stdin=f"add user {','.join(people)} {where}\n",
        deadline_s=300,
    )
    show = f"sacctmgr --noheader --parsable2 list association cluster={CLUSTER} account={ACCOUNT} format=user"
    if do(demo, CONTROLLER, f"{show} | grep -c ^bench || true").strip() != str(count):
        raise BenchFailure("Slurm's accounting did not take the people")
    wait_until(lambda: _free_cores(demo) == CORES * (NODES - 1), f"making room on {CLUSTER}", 60, 0.2)


def _free_cores(demo: Demo) -> int:
    """How many cores of the partition are idle."""
    shown = demo.exec(HUB, ["sinfo", "--noheader", f"--partition={PARTITION}", "--format=%C %T"])
    counts = [line.split()[0].split("/") for line in shown.stdout.splitlines() if line.split()[1] == "idle"]
    return sum(int(count[1]) for count in counts)


def end_jobs(demo: Demo, ends_all: bool = True) -> None:
    """Cancels whatever runs on summit, or with `ends_all` waits there; returns when all of that is gone."""
    listed = "squeue --noheader --format=%A" if ends_all else RUNNING
    in_slurm(demo, f"{listed} | xargs -r scancel --quiet || true", deadline_s=JOBS_DEADLINE_S)
    wait_until(lambda: not in_slurm(demo, listed).strip(), "ending the jobs", JOBS_DEADLINE_S, 0.2)


def jobs(demo: Demo) -> int:
    """How many jobs there are on summit, in whatever state."""
    return len(in_slurm(demo, "squeue --noheader --format=%A").split())


def in_slurm(demo: Demo, script: str, *arguments: str, deadline_s: float = 60) -> str:
    """What a script prints that speaks to summit as root, on the controller's node."""
    return do(demo, CONTROLLER, f"export SLURM_CONF={CONF}\n{script}", *arguments, deadline_s=deadline_s)


@dataclass(frozen=True)
class Asked:
    """What slurmctld was asked since its counters were set to zero, by kind of RPC."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All that a command asked; not what nodes and daemons say among themselves."""
        return sum(self.counts.values())

    @property
    def queries(self) -> int:
        """How often somebody ran squeue: each asks for jobs once."""
        return sum(count for name, count in self.counts.items() if name.startswith("REQUEST_JOB_INFO"))


def forget_asked(demo: Demo) -> None:
    """Sets slurmctld's counters to zero."""
    in_slurm(demo, "sdiag --reset")


def asked(demo: Demo) -> Asked:
    """What slurmctld was asked since then."""
    text = in_slurm(demo, "sdiag").partition("statistics by message type")[2].partition("by user")[0]
    found = {match["name"]: int(match["count"]) for match in RPC.finditer(text)}
    return Asked({name: count for name, count in found.items() if not NOT_ASKED.match(name)})
