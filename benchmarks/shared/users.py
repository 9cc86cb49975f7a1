"""Many users on the demo's cluster summit, and room for a job of each at the same time.

The machine is small. So the nodes claim more cores than there are, memory is not counted, and Slurm samples
jobs every 30 seconds, as it does by default. This is the same for every subject, and the jobs do nothing.
"""

from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB
from cluster.processes import wait_until

from .slurmctld import CLUSTER, CONF
from .testbed import BenchFailure, run_script

ACCOUNT = "ucb-general"
PARTITION = "shas"
NODES = 6  # five of them in the partition
CORES = 256
FIRST_UID = 30001

MAKE_ROOM = rf"""
sed -i -E -e 's/CoresPerSocket=[0-9]+/CoresPerSocket={CORES}/' -e 's/^(SelectTypeParameters)=.*/\1=CR_Core/' \
    -e 's/^(JobAcctGatherFrequency)=.*/\1=task=30/' -e '/^JobAcctGatherParams=/d' \
    -e 's/^(MaxJobCount)=.*/\1=100000/' -e 's/^(MaxArraySize)=.*/\1=10001/' {CONF}
export SLURM_CONF={CONF}
scontrol reconfigure
scontrol --oneliner show reservations | sed -n -E 's/^ReservationName=([^ ]+).*/\1/p' |
    xargs -r -n 1 scontrol delete reservation
"""
# $1: the number of users. Runs on every node, in place of a directory service; all nodes share the homes.
ADD_USERS = f"""
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


def user_names(count: int) -> list[str]:
    """The names of that many users."""
    return [f"bench{i:04d}" for i in range(1, count + 1)]


def add_users(demo: Demo, count: int) -> None:
    """Makes room on summit and adds that many users to all nodes and to Slurm's accounting."""
    run_script(demo, CONTROLLER, MAKE_ROOM)
    for node in demo.instance.settings().site.nodes:
        run_script(demo, node.name, ADD_USERS, str(count))
    names = user_names(count)
    run_script(demo, HUB, ADD_HOMES, *names)
    _add_associations(demo, names)
    wait_until(lambda: _idle_cores(demo) == CORES * (NODES - 1), f"making room on {CLUSTER}", 60, 0.2)


def _add_associations(demo: Demo, names: list[str]) -> None:
    where = f"cluster={CLUSTER} account={ACCOUNT} defaultaccount={ACCOUNT} qos=normal defaultqos=normal"
    commands = f"add user {','.join(names)} {where}\n"
    # sacctmgr's exit code doesn't tell "nothing new" from "failed", so the result is counted.
    run_script(demo, CONTROLLER, "sacctmgr -i || true", stdin=commands, deadline_s=300)
    show = f"sacctmgr --noheader --parsable2 list association cluster={CLUSTER} account={ACCOUNT} format=user"
    if run_script(demo, CONTROLLER, f"{show} | grep -c ^bench || true").strip() != str(len(names)):
        raise BenchFailure("Slurm's accounting did not accept the users")


def _idle_cores(demo: Demo) -> int:
    """The number of idle cores in the partition."""
    shown = demo.exec(HUB, ["sinfo", "--noheader", f"--partition={PARTITION}", "--format=%C %T"])
    counts = [line.split()[0].split("/") for line in shown.stdout.splitlines() if line.split()[1] == "idle"]
    return sum(int(count[1]) for count in counts)
