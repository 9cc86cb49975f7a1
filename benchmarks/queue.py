"""`scripts/bench queue`: servers that start while many jobs of another user wait in the queue.

README.md in this directory says what is measured, and how.
"""

import re
import statistics
import time

from cluster.demo.progress import Progress
from cluster.demo.service import Demo
from cluster.processes import wait_until

from .shared.hub_process import Cpu
from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import HEALTH_HZ, health_numbers, printed, server_testbed
from .shared.slurmctld import count_jobs, run_slurm_script
from .shared.subjects import FLATIRONS, FLOOR, Subject, run_client, running_hub, start_servers
from .shared.testbed import Result, run_script_in_hub
from .shared.users import user_names

# (pending jobs, servers)
QUICK_PLAN, FULL_PLAN = (2000, 5), (20000, 20)
OTHER_USER = "alice"
# $1 user, $2 number of jobs. Slurm keeps one record for an array until its tasks are changed one by one. One
# command changes them: from then on each task is a job with its own id and record.
ADD_PENDING = """
owner=$1 left=$2
while [ "$left" -gt 0 ]; do
    some=$((left < 5000 ? left : 5000)) left=$((left - 5000))
    id=$(setpriv --reuid "$owner" --regid "$owner" --init-groups sbatch --parsable --hold \\
        --array="1-$((some + 1))" --output=/dev/null --chdir=/tmp --job-name=other --wrap='sleep 1')
    scontrol update "JobId=${id}_[1-$some]" Comment=other
    scancel "${id}_$((some + 1))"
done
"""
SAMPLE = re.compile(
    r'^flatirons_slurm_command_seconds_(?P<what>sum|count)\{.*command="squeue".*\} (?P<value>\S+)$',
    re.MULTILINE,
)
LAG_FILE = "/var/lib/flatirons/lag"


def run(options: Options) -> Result:
    """Servers start with and without pending jobs: how long a query takes, and whether it blocks the hub."""
    (count, servers), progress = (QUICK_PLAN if options.is_quick else FULL_PLAN), Progress()
    users = user_names(servers + 1)
    with server_testbed(progress, len(users)) as demo:
        about, rows = machine(demo), []
        for pending in (0, count):
            with progress.step(f"{pending} pending jobs of another user"):
                run_slurm_script(demo, ADD_PENDING, OTHER_USER, str(pending), deadline_s=300)
                wait_until(lambda wanted=pending: count_jobs(demo) >= wanted, "adding the jobs", 120, 0.5)
            with progress.step(f"servers with {pending} pending jobs"):
                for subject in (FLATIRONS,) if pending else (FLOOR, FLATIRONS):
                    rows += printed(progress, _measure(demo, subject, users, pending))
        return Result(about, rows)


def _measure(demo: Demo, subject: Subject, users: list[str], pending: int) -> list[Row]:
    with running_hub(demo, subject, users, with_lag=True, ends_pending=False) as hub:
        start_servers(demo, subject, users[:1], at_once=True)
        # The current second still includes what came before: the hub's start and the creation of the users.
        skip = len(_lags_ms(demo)) + 1
        wait_until(lambda: len(_lags_ms(demo)) >= skip, "the hub's loop", 30, 0.2)
        query_s_before, queries_before = _queries(demo)
        cpu, began = Cpu.of(hub.process), time.monotonic()
        seen = start_servers(demo, subject, users[1:], at_once=False, health_hz=HEALTH_HZ)
        used, seconds = Cpu.of(hub.process) - cpu, time.monotonic() - began
        query_s, queries = _queries(demo)
        lags = _lags_ms(demo)[skip:]
    ready = [each["ready"] - each["requested"] for each in seen["spawns"]]
    new = queries - queries_before
    numbers = [
        *([("query_s", (query_s - query_s_before) / new, "s")] if new else []),
        ("queries", new, "1"),
        ("loop_blocked_max_ms", max(lags), "ms"),
        ("loop_blocked_median_ms", statistics.median(lags), "ms"),
        ("health_p99_ms", *health_numbers(seen["health"])["health_p99_ms"]),
        ("ready_s", statistics.median(ready), "s"),
        ("hub_cpu_percent", used.own_ms / 10 / seconds, "%"),
    ]
    facts = {"pending": pending, "n": len(ready)}
    return [Row(subject.name, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def _queries(demo: Demo) -> tuple[float, float]:
    """(total seconds, number) of the hub's squeue commands since it started, by its Prometheus metrics."""
    text = run_client(demo, "metrics")["text"]
    found = {"sum": 0.0, "count": 0.0}  # the floor runs none
    for match in SAMPLE.finditer(text):
        found[match["what"]] += float(match["value"])
    return found["sum"], found["count"]


def _lags_ms(demo: Demo) -> list[float]:
    """The greatest delay of the hub's event loop in each second so far."""
    return [float(line) for line in run_script_in_hub(demo, f"cat {LAG_FILE}").split()]
