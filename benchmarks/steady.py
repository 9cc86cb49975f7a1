"""`scripts/bench steady` and `scripts/bench queue`: what servers cost that simply run, and a long queue.

See README.md in this directory for what is measured, and how.
"""

import os
import re
import statistics
import time
from dataclasses import dataclass

from cluster.demo.progress import Progress
from cluster.demo.service import Demo
from cluster.processes import wait_until

from . import crowd
from .hubs import Cpu, Hub, busy_share
from .report import Row, machine
from .stage import BenchFailure, Findings, in_hub, stage
from .starting import HEALTH_HZ, SITE, gather, tell
from .subjects import BATCHSPAWNER, FLATIRONS, FLOOR, Subject, ask, running, spawn

# Servers are started in groups: only what comes after matters here.
AT_ONCE = 50
SETTLE_S = 15.0
OTHER = "alice"
# $1 owner, $2 how many. An array is one record to Slurm until its tasks are changed one by one, which one
# command does: from then on each is a job with an id and a record of its own.
QUEUE = """
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
LAG = "/var/lib/flatirons/lag"


@dataclass(frozen=True)
class Watch:
    """So many running servers, watched for so long."""

    n: int
    seconds: float


# Subject -> what is watched, one after the other in the same hub: servers are added, none is ended.
QUICK_STEADY = {FLATIRONS: (Watch(10, 60),), BATCHSPAWNER: (Watch(10, 60),)}
FULL_STEADY = {
    FLATIRONS: (Watch(50, 60), Watch(200, 120), Watch(1000, 600)),
    FLOOR: (Watch(200, 60), Watch(1000, 600)),
    BATCHSPAWNER: (Watch(50, 60), Watch(200, 60)),
}


def run_steady(is_quick: bool) -> Findings:
    """Servers that run and are left alone: what Slurm is asked, and what the hub works."""
    plan, progress = (QUICK_STEADY if is_quick else FULL_STEADY), Progress()
    with stage(progress, SITE, crowd.NODES, with_image=False) as demo:
        people = crowd.names(max(watch.n for watches in plan.values() for watch in watches))
        gather(demo, progress, len(people))
        about, rows = machine(demo), []
        for subject, watches in plan.items():
            with running(demo, subject, people) as hub:
                up = 0
                for watch in watches:
                    with progress.step(f"{watch.n} servers of {subject.name} for {watch.seconds:g} s"):
                        for first in range(up, watch.n, AT_ONCE):
                            some = people[first : min(first + AT_ONCE, watch.n)]
                            spawn(demo, subject, some, at_once=True)
                        up = watch.n
                        time.sleep(5 if is_quick else SETTLE_S)
                        rows += tell(progress, _watched(demo, hub, subject, watch))
        return Findings(about, rows)


def _watched(demo: Demo, hub: Hub, subject: Subject, watch: Watch) -> list[Row]:
    free, load = _free_mib(), os.getloadavg()[0]
    crowd.forget_asked(demo)
    cpu, busy, began = Cpu.of(hub.process), busy_share(), time.monotonic()
    time.sleep(watch.seconds)
    used, busy_then = Cpu.of(hub.process) - cpu, busy_share()
    seconds, asked = time.monotonic() - began, crowd.asked(demo)
    if subject != FLOOR and crowd.jobs(demo) != watch.n:
        raise BenchFailure(f"of {watch.n} servers of {subject.name} some ended while they were watched")
    numbers = [
        ("queries_per_min", asked.queries * 60 / seconds, "1/min"),
        ("rpc_per_min", asked.total * 60 / seconds, "1/min"),
        ("hub_cpu_percent", used.own_ms / 10 / seconds, "%"),
        ("commands_cpu_percent", used.commands_ms / 10 / seconds, "%"),
        ("machine_cpu_percent", 100 * (busy_then[0] - busy[0]) / (busy_then[1] - busy[1]), "%"),
        ("hub_rss_mib", _rss_mib(hub.process.pid), "MiB"),
        ("free_memory_mib", free, "MiB"),
        ("load_before", load, "1"),
    ]
    facts = {"n": watch.n, "seconds": round(seconds)}
    return [Row(subject.name, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def _free_mib() -> float:
    with open("/proc/meminfo") as file:
        return int(re.findall(r"^MemAvailable:\s+(\d+)", file.read(), re.MULTILINE)[0]) / 1024


def _rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return int(re.findall(r"^VmRSS:\s+(\d+)", file.read(), re.MULTILINE)[0]) / 1024


def run_queue(is_quick: bool) -> Findings:
    """Servers start beside many jobs of somebody else's that wait: what a query takes, whether it blocks."""
    count, servers, progress = (2000, 5, Progress()) if is_quick else (20000, 20, Progress())
    people = crowd.names(servers + 1)
    with stage(progress, SITE, crowd.NODES, with_image=False) as demo:
        gather(demo, progress, len(people))
        about, rows = machine(demo), []
        for pending in (0, count):
            with progress.step(f"{pending} jobs of somebody else's"):
                crowd.in_slurm(demo, QUEUE, OTHER, str(pending), deadline_s=300)
                wait_until(lambda wanted=pending: crowd.jobs(demo) >= wanted, "queueing jobs", 120, 0.5)
            with progress.step(f"servers beside {pending} waiting jobs"):
                for subject in (FLATIRONS,) if pending else (FLOOR, FLATIRONS):
                    rows += tell(progress, _beside(demo, subject, people, pending))
        return Findings(about, rows)


def _beside(demo: Demo, subject: Subject, people: list[str], pending: int) -> list[Row]:
    with running(demo, subject, people, with_lag=True, ends_all=False) as hub:
        spawn(demo, subject, people[:1], at_once=True)
        # the second that is not over yet holds what came before: the hub's boot, the people's creation
        skip = len(_lags(demo)) + 1
        wait_until(lambda: len(_lags(demo)) >= skip, "the hub's loop", 30, 0.2)
        before = _queries(demo)
        cpu, began = Cpu.of(hub.process), time.monotonic()
        seen = spawn(demo, subject, people[1:], at_once=False, health_hz=HEALTH_HZ)
        used, seconds = Cpu.of(hub.process) - cpu, time.monotonic() - began
        after, lags = _queries(demo), _lags(demo)[skip:]
    waited = [1000 * took for _, took, _ in seen["health"]]
    ready = [each["ready"] - each["asked"] for each in seen["spawns"]]
    queries = after[1] - before[1]
    numbers = [
        *([("query_s", (after[0] - before[0]) / queries, "s")] if queries else []),
        ("queries", queries, "1"),
        ("loop_blocked_max_ms", max(lags), "ms"),
        ("loop_blocked_median_ms", statistics.median(lags), "ms"),
        ("health_p99_ms", statistics.quantiles(waited, n=100, method="inclusive")[98], "ms"),
        ("ready_s", statistics.median(ready), "s"),
        ("hub_cpu_percent", used.own_ms / 10 / seconds, "%"),
    ]
    facts = {"pending": pending, "n": len(ready)}
    return [Row(subject.name, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def _queries(demo: Demo) -> tuple[float, float]:
    """(seconds spent in, number of) the hub's queries since it started, as it tells Prometheus."""
    text = ask(demo, do="metrics")["text"]
    found = {match["what"]: 0.0 for match in SAMPLE.finditer(text)}
    for match in SAMPLE.finditer(text):
        found[match["what"]] += float(match["value"])
    return found.get("sum", 0.0), found.get("count", 0.0)  # the floor has none


def _lags(demo: Demo) -> list[float]:
    """How late the hub's loop was at worst in each second, milliseconds."""
    return [float(line) for line in in_hub(demo, f"cat {LAG}").split()]
