"""`scripts/bench spawn` and `scripts/bench burst`: how long servers take to start, and what that costs.

See README.md in this directory for what is measured, and how.
"""

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from . import crowd
from .hubs import Cpu, busy_share
from .report import Row, machine
from .stage import HERE, Findings, stage
from .subjects import (
    BATCHSPAWNER,
    FLATIRONS,
    FLOOR,
    KEPT,
    LEAST,
    MOSS,
    Subject,
    alone,
    ask,
    prepare,
    running,
    spawn,
)

SITE = HERE / "spawn_site.toml"
SUBJECTS = (FLATIRONS, FLOOR, LEAST, KEPT, BATCHSPAWNER, MOSS)
HEALTH_HZ = 20.0
# What was measured without any subject -> as the rows call it, which are the floor's.
OTHERS = {"alone": "sbatch alone", "requests": "requests alone"}

Numbers = dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Bursts:
    """How many at once, and how often that is done anew with each subject in turn.

    The hub's health is looked at in a round of its own, the last: a look costs the hub about what a call of a
    starter does, and a slow subject would be looked at more often. A single round does both.
    """

    n: int
    rounds: int
    subjects: Sequence[Subject] = SUBJECTS


QUICK_BURSTS = (Bursts(10, 1),)
# MOSS starts servers as batchspawner does, which takes minutes for so many.
FULL_BURSTS = (Bursts(50, 3), Bursts(200, 1, (FLATIRONS, FLOOR, LEAST, KEPT, BATCHSPAWNER)))


def run_spawn(is_quick: bool) -> Findings:
    """One server at a time, each for somebody else, with a hub that has started one before."""
    count, progress = (4 if is_quick else 15), Progress()
    people = crowd.names(count + 1)
    with stage(progress, SITE, crowd.NODES, with_image=False) as demo:
        gather(demo, progress, len(people))
        about, rows = machine(demo), []
        for subject in SUBJECTS:
            with progress.step(subject.name), running(demo, subject, people):
                spawn(demo, subject, people[:1], at_once=True)
                seen = spawn(demo, subject, people[1:], at_once=False)
                rows += tell(progress, list(_spawn_rows(demo, subject, seen["spawns"])))
        with progress.step("Slurm alone"):
            rows += _alone_one_by_one(demo, people[1:])
        demo.start_proxy(), demo.start_hub()
        return Findings(about, rows)


def _spawn_rows(demo: Demo, subject: Subject, spawns: list[dict[str, Any]]) -> Iterator[Row]:
    took = [each["ready"] - each["asked"] for each in spawns]
    yield from _times(subject.name, "ready", took, {"n": len(spawns)})
    if subject == FLOOR:
        return
    began = ask(demo, do="began", names=[each["name"] for each in spawns])
    known = [each for each in spawns if began[each["name"]] is not None]
    to_node = [began[each["name"]] - each["asked"] for each in known]
    on_node = [each["ready"] - began[each["name"]] for each in known]
    yield from _times(subject.name, "until_script", to_node, {"n": len(known)})
    yield from _times(subject.name, "from_script", on_node, {"n": len(known)})


def _alone_one_by_one(demo: Demo, people: list[str]) -> list[Row]:
    seen = [(found["began"], *found["up"][0]) for found in (alone(demo, [name]) for name in people)]
    crowd.end_jobs(demo)
    facts = {"n": len(seen), "of": "sbatch alone"}
    return [
        *_times("floor", "ready", [up - began for began, up, _ in seen], facts),
        *_times("floor", "until_script", [script - began for began, _, script in seen], facts),
        *_times("floor", "from_script", [up - script for _, up, script in seen], facts),
    ]


def _times(subject: str, name: str, seconds: Sequence[float], facts: dict[str, Any]) -> list[Row]:
    """The median as NAME_s, the extremes beside it."""
    ordered = sorted(seconds)
    found = {"s": statistics.median(ordered), "min_s": ordered[0], "max_s": ordered[-1]}
    return [Row(subject, f"{name}_{what}", round(value, 3), "s", facts) for what, value in found.items()]


def run_burst(is_quick: bool) -> Findings:
    """All at once, a subject after the other, and Slurm alone; then again, and with more."""
    plan, progress = (QUICK_BURSTS if is_quick else FULL_BURSTS), Progress()
    with stage(progress, SITE, crowd.NODES, with_image=False) as demo:
        gather(demo, progress, 1 + max(bursts.n for bursts in plan))
        about, rows = machine(demo), []
        for bursts in plan:
            rows += _rounds(demo, progress, bursts)
        demo.start_proxy(), demo.start_hub()
        return Findings(about, rows)


def _rounds(demo: Demo, progress: Progress, bursts: Bursts) -> list[Row]:
    found: dict[str, list[Numbers]] = {}
    for number in range(1, bursts.rounds + 1):
        is_last = number == bursts.rounds
        for subject in bursts.subjects:
            with progress.step(f"{bursts.n} at once, {subject.name}, {number} of {bursts.rounds}"):
                seen = _burst(demo, subject, bursts.n, HEALTH_HZ if is_last else 0)
                found.setdefault(subject.name, []).append(seen)
                tell(progress, list(_medians(subject.name, [seen], {"n": bursts.n})))
        with progress.step(f"{bursts.n} at once, Slurm alone"):
            found.setdefault("alone", []).append(_burst_alone(demo, bursts.n))
    with progress.step(f"{bursts.n} requests at once that start nothing"):
        found["requests"] = [_requests(demo, bursts.n)]
    rows = []
    for name, rounds in found.items():
        facts = {"n": bursts.n} | ({"of": OTHERS[name]} if name in OTHERS else {})
        rows += tell(progress, list(_medians("floor" if name in OTHERS else name, rounds, facts)))
    return rows


def _requests(demo: Demo, n: int) -> Numbers:
    """The hub's health while each person asks once, at the same time, and no server is started."""
    people = crowd.names(n)
    with running(demo, FLOOR, people):
        seen = ask(demo, do="requests", names=people, health_hz=HEALTH_HZ)
    answered = [took for took, code in seen["answers"] if code == 200]
    return {
        "answered_per_request": (len(answered) / n, "1"),
        "last_answer_s": (max(answered, default=0.0), "s"),
        **_health([1000 * waited for _, waited, _ in seen["health"]]),
    }


def _medians(subject: str, rounds: list[Numbers], facts: dict[str, Any]) -> Iterator[Row]:
    """Of each metric the median; what was looked at counts for the health, what wasn't for all else."""
    looked_at = [each for each in rounds if "health_p99_ms" in each]
    others = [each for each in rounds if each not in looked_at] or rounds
    for metric, (_, unit) in (looked_at or rounds)[0].items():
        values = [each[metric][0] for each in (looked_at if metric.startswith("health") else others)]
        yield Row(
            subject, metric, round(statistics.median(values), 3), unit, {**facts, "rounds": len(values)}
        )


def _burst(demo: Demo, subject: Subject, n: int, health_hz: float) -> Numbers:
    """What one burst took; a server was started before, so that nothing is met for the first time."""
    people = crowd.names(n + 1)
    with running(demo, subject, people) as hub:
        spawn(demo, subject, people[:1], at_once=True)
        load = os.getloadavg()[0]
        crowd.forget_asked(demo)
        cpu, busy = Cpu.of(hub.process), busy_share()
        seen = spawn(demo, subject, people[1:], at_once=True, health_hz=health_hz)
        used, busy_then = Cpu.of(hub.process) - cpu, busy_share()
        asked = crowd.asked(demo)
        began = min(each["asked"] for each in seen["spawns"])
        ready = [each["ready"] - began for each in seen["spawns"]]
        health = [1000 * waited for _, waited, _ in seen["health"]]
        return {
            "last_ready_s": (max(ready), "s"),
            "median_ready_s": (statistics.median(ready), "s"),
            "hub_cpu_ms_per_spawn": (used.own_ms / n, "ms"),
            "commands_cpu_ms_per_spawn": (used.commands_ms / n, "ms"),
            "rpc_per_spawn": (asked.total / n, "1"),
            **{f"rpc_{name}": (float(count), "1") for name, count in _main(asked).items()},
            **_health(health),
            "machine_cpu_percent": (100 * (busy_then[0] - busy[0]) / (busy_then[1] - busy[1]), "%"),
            "load_before": (load, "1"),
        }


def _health(waited_ms: list[float]) -> Numbers:
    """How long /hub/health took, if it was asked."""
    if not waited_ms:
        return {}
    p99 = statistics.quantiles(waited_ms, n=100, method="inclusive")[98]
    return {"health_p99_ms": (p99, "ms"), "health_max_ms": (max(waited_ms), "ms")}


def _main(asked: crowd.Asked) -> dict[str, int]:
    """The kinds that every subject may have asked, by short names."""
    submits = sum(count for name, count in asked.counts.items() if "SUBMIT" in name)
    return {"submits": submits, "queries": asked.queries, "others": asked.total - submits - asked.queries}


def _burst_alone(demo: Demo, n: int) -> Numbers:
    seen = alone(demo, crowd.names(n + 1)[1:])
    crowd.end_jobs(demo)
    last = max(up for up, _ in seen["up"])
    return {
        "slurm_alone_s": (last - seen["began"], "s"),
        "slurm_alone_submitted_s": (seen["submitted"] - seen["began"], "s"),
    }


def gather(demo: Demo, progress: Progress, count: int) -> None:
    """Makes the stage ready for these benchmarks; no hub runs afterwards."""
    with progress.step(f"{count} people"):
        demo.stop_hub()
        demo.stop_proxy()
        crowd.gather(demo, count)
        prepare(demo)


def tell(progress: Progress, rows: list[Row]) -> list[Row]:
    """The rows, said as well: a long benchmark that fails at its end has not been in vain."""
    for row in rows:
        progress.say(json.dumps(row.as_dict()))
    return rows
