"""`scripts/bench burst`: how long many servers take that are started at once, and what that costs.

README.md in this directory says what is measured, and how.
"""

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .shared.hub_process import Cpu, machine_ticks, percent_busy
from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import HEALTH_HZ, Numbers, health_numbers, printed, selected, server_testbed
from .shared.slurmctld import end_jobs, reset_rpc_counts, rpc_counts
from .shared.subjects import (
    BATCHSPAWNER,
    FLATIRONS,
    FLOOR,
    KEPT,
    LEAST,
    SUBJECTS,
    Subject,
    run_client,
    running_hub,
    start_jobs,
    start_servers,
)
from .shared.testbed import Result
from .shared.users import user_names

# What is measured without any subject -> its name in the rows, which are the floor's.
WITHOUT_SERVERS = {"alone": "sbatch alone", "requests": "requests alone"}


@dataclass(frozen=True)
class Bursts:
    """So many servers at once, so many times; in each round every subject has its turn.

    The hub's health is requested in the last round only: a request costs the hub about as much as a call of a
    starter, and a slow subject would get more of them. A single round does both.
    """

    n: int
    rounds: int
    subjects: Sequence[Subject] = tuple(SUBJECTS.values())


QUICK_PLAN = (Bursts(10, 1),)
# Not MOSS for 200: it starts servers as batchspawner does, which takes minutes.
FULL_PLAN = (Bursts(50, 3), Bursts(200, 1, (FLATIRONS, FLOOR, LEAST, KEPT, BATCHSPAWNER)))


def run(options: Options) -> Result:
    """Bursts of every size of the plan."""
    plan, progress = plan_of(options), Progress()
    with server_testbed(progress, 1 + max(bursts.n for bursts in plan)) as demo:
        about, rows = machine(demo), []
        for bursts in plan:
            rows += _bursts(demo, progress, bursts)
        demo.start_proxy()
        demo.start_hub()
        return Result(about, rows)


def plan_of(options: Options) -> list[Bursts]:
    """The bursts of the quick or the full plan, changed by what the command line says."""
    plan = list(QUICK_PLAN if options.is_quick else FULL_PLAN)
    if options.servers:
        plan = [Bursts(n, plan[0].rounds) for n in options.servers]
    return [
        replace(bursts, rounds=options.rounds or bursts.rounds, subjects=selected(options, bursts.subjects))
        for bursts in plan
    ]


def _bursts(demo: Demo, progress: Progress, bursts: Bursts) -> list[Row]:
    found: dict[str, list[Numbers]] = {}
    for number in range(1, bursts.rounds + 1):
        health_hz = HEALTH_HZ if number == bursts.rounds else 0
        for subject in bursts.subjects:
            with progress.step(f"{bursts.n} at once, {subject.name}, {number} of {bursts.rounds}"):
                seen = _burst(demo, subject, bursts.n, health_hz)
                found.setdefault(subject.name, []).append(seen)
                printed(progress, list(_medians(subject.name, [seen], {"n": bursts.n})))
        if FLOOR in bursts.subjects:
            with progress.step(f"{bursts.n} at once, Slurm alone"):
                found.setdefault("alone", []).append(_burst_without_hub(demo, bursts.n))
    if FLOOR in bursts.subjects:
        with progress.step(f"{bursts.n} requests at once that start nothing"):
            found["requests"] = [_requests_without_servers(demo, bursts.n)]
    return printed(progress, list(_rows(found, bursts.n)))


def _rows(found: dict[str, list[Numbers]], n: int) -> Iterator[Row]:
    for name, rounds in found.items():
        if name in WITHOUT_SERVERS:
            yield from _medians(FLOOR.name, rounds, {"n": n, "of": WITHOUT_SERVERS[name]})
        else:
            yield from _medians(name, rounds, {"n": n})


def _requests_without_servers(demo: Demo, n: int) -> Numbers:
    """The hub's health while each user sends one request at the same time, and no server starts."""
    users = user_names(n)
    with running_hub(demo, FLOOR, users):
        seen = run_client(demo, "requests", names=users, health_hz=HEALTH_HZ)
    answered = [seconds for seconds, status in seen["answers"] if status == 200]
    return {
        "answered_per_request": (len(answered) / n, "1"),
        "last_answer_s": (max(answered, default=0.0), "s"),
        **health_numbers(seen["health"]),
    }


def _medians(subject: str, rounds: list[Numbers], facts: dict[str, Any]) -> Iterator[Row]:
    """The median of each metric: health from the rounds that requested it, all else from the other rounds."""
    with_health = [each for each in rounds if "health_p99_ms" in each]
    others = [each for each in rounds if each not in with_health] or rounds
    for metric, (_, unit) in (with_health or rounds)[0].items():
        values = [each[metric][0] for each in (with_health if metric.startswith("health") else others)]
        median = round(statistics.median(values), 3)
        yield Row(subject, metric, median, unit, {**facts, "rounds": len(values)})


def _burst(demo: Demo, subject: Subject, n: int, health_hz: float) -> Numbers:
    """What one burst took, on a hub that has started a server before."""
    users = user_names(n + 1)
    with running_hub(demo, subject, users) as hub:
        start_servers(demo, subject, users[:1], at_once=True)
        load = os.getloadavg()[0]
        reset_rpc_counts(demo)
        cpu, ticks = Cpu.of(hub.process), machine_ticks()
        seen = start_servers(demo, subject, users[1:], at_once=True, health_hz=health_hz)
        used, busy = Cpu.of(hub.process) - cpu, percent_busy(ticks, machine_ticks())
        return {
            **_ready_numbers(seen["spawns"]),
            "hub_cpu_ms_per_spawn": (used.own_ms / n, "ms"),
            "commands_cpu_ms_per_spawn": (used.commands_ms / n, "ms"),
            **_rpc_numbers(demo, n),
            **health_numbers(seen["health"]),
            "machine_cpu_percent": (busy, "%"),
            "load_before": (load, "1"),
        }


def _ready_numbers(spawns: list[dict[str, Any]]) -> Numbers:
    began = min(each["requested"] for each in spawns)
    ready = [each["ready"] - began for each in spawns]
    return {"last_ready_s": (max(ready), "s"), "median_ready_s": (statistics.median(ready), "s")}


def _rpc_numbers(demo: Demo, n: int) -> Numbers:
    counted = rpc_counts(demo)
    return {
        "rpc_per_spawn": (counted.total / n, "1"),
        "rpc_submits": (float(counted.submits), "1"),
        "rpc_queries": (float(counted.queries), "1"),
        "rpc_others": (float(counted.others), "1"),
    }


def _burst_without_hub(demo: Demo, n: int) -> Numbers:
    seen = start_jobs(demo, user_names(n + 1)[1:])
    end_jobs(demo)
    last = max(up for up, _ in seen["up"])
    return {
        "slurm_alone_s": (last - seen["began"], "s"),
        "slurm_alone_submitted_s": (seen["submitted"] - seen["began"], "s"),
    }
