"""`scripts/bench steady`: what running servers cost while nobody uses them.

README.md in this directory says what is measured, and how.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .shared.hub_process import Cpu, Hub, machine_ticks, percent_busy
from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import printed, server_testbed
from .shared.slurmctld import count_jobs, reset_rpc_counts, rpc_counts
from .shared.subjects import BATCHSPAWNER, FLATIRONS, FLOOR, Subject, running_hub, start_servers
from .shared.testbed import BenchFailure, Result
from .shared.users import user_names

# Servers are started in groups: only what comes afterwards counts here.
GROUP = 50
QUICK_SETTLE_S, SETTLE_S = 5.0, 15.0


@dataclass(frozen=True)
class Watch:
    """So many running servers, watched for so long."""

    n: int
    seconds: float


# Subject -> what is watched, one after the other on the same hub: servers are added, none is stopped.
QUICK_PLAN = {FLATIRONS: (Watch(10, 60),), BATCHSPAWNER: (Watch(10, 60),)}
FULL_PLAN = {
    FLATIRONS: (Watch(50, 60), Watch(200, 120), Watch(1000, 600)),
    FLOOR: (Watch(200, 60), Watch(1000, 600)),
    BATCHSPAWNER: (Watch(50, 60), Watch(200, 60)),
}


def run(options: Options) -> Result:
    """Watches running servers: how much Slurm is queried, and how much the hub works."""
    plan, progress = (QUICK_PLAN if options.is_quick else FULL_PLAN), Progress()
    settle_s = QUICK_SETTLE_S if options.is_quick else SETTLE_S
    users = user_names(max(watch.n for watches in plan.values() for watch in watches))
    with server_testbed(progress, len(users)) as demo:
        about, rows = machine(demo), []
        for subject, watches in plan.items():
            with running_hub(demo, subject, users) as hub:
                for watch, new_users in _steps(users, watches):
                    with progress.step(f"{watch.n} servers of {subject.name} for {watch.seconds:g} s"):
                        for first in range(0, len(new_users), GROUP):
                            start_servers(demo, subject, new_users[first : first + GROUP], at_once=True)
                        time.sleep(settle_s)
                        rows += printed(progress, _watch(demo, hub, subject, watch))
        return Result(about, rows)


def _steps(users: list[str], watches: tuple[Watch, ...]) -> Iterator[tuple[Watch, list[str]]]:
    """Each watch with the users whose servers are added for it."""
    running = 0
    for watch in watches:
        yield watch, users[running : watch.n]
        running = watch.n


def _watch(demo: Demo, hub: Hub, subject: Subject, watch: Watch) -> list[Row]:
    free, load = _available_mib(), os.getloadavg()[0]
    reset_rpc_counts(demo)
    cpu, ticks, began = Cpu.of(hub.process), machine_ticks(), time.monotonic()
    time.sleep(watch.seconds)
    used, busy = Cpu.of(hub.process) - cpu, percent_busy(ticks, machine_ticks())
    seconds, counted = time.monotonic() - began, rpc_counts(demo)
    if subject != FLOOR and count_jobs(demo) != watch.n:
        raise BenchFailure(f"some of the {watch.n} servers of {subject.name} ended while they were watched")
    numbers = [
        ("queries_per_min", counted.queries * 60 / seconds, "1/min"),
        ("rpc_per_min", counted.total * 60 / seconds, "1/min"),
        ("hub_cpu_percent", used.own_ms / 10 / seconds, "%"),
        ("commands_cpu_percent", used.commands_ms / 10 / seconds, "%"),
        ("machine_cpu_percent", busy, "%"),
        ("hub_rss_mib", _mib_in(Path(f"/proc/{hub.process.pid}/status"), "VmRSS"), "MiB"),
        ("free_memory_mib", free, "MiB"),
        ("load_before", load, "1"),
    ]
    facts = {"n": watch.n, "seconds": round(seconds)}
    return [Row(subject.name, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def _available_mib() -> float:
    return _mib_in(Path("/proc/meminfo"), "MemAvailable")


def _mib_in(file: Path, name: str) -> float:
    """The value of a line `NAME: N kB`; see proc(5)."""
    return int(re.findall(rf"^{name}:\s+(\d+)", file.read_text(), re.MULTILINE)[0]) / 1024
