"""`scripts/bench spawn`: how long one server takes to start.

README.md in this directory says what is measured, and how.
"""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import printed, selected, server_testbed
from .shared.slurmctld import end_jobs
from .shared.subjects import FLOOR, SUBJECTS, Subject, run_client, running_hub, start_jobs, start_servers
from .shared.testbed import Result
from .shared.users import user_names

QUICK_SERVERS, FULL_SERVERS = 4, 15
# "ready", and its parts "until_script" and "from_script" where they are known -> seconds.
Times = dict[str, float]


def run(options: Options) -> Result:
    """One server at a time, each for another user, on a hub that has started one before."""
    subjects, progress = selected(options, tuple(SUBJECTS.values())), Progress()
    count = options.servers[0] if options.servers else QUICK_SERVERS if options.is_quick else FULL_SERVERS
    users = user_names(count + 1)
    times: dict[str, list[Times]] = {}
    with server_testbed(progress, len(users)) as demo:
        about = machine(demo)
        for number in range(1, (options.rounds or 1) + 1):
            for subject in subjects:
                with progress.step(f"{subject.name}, round {number}"):
                    times.setdefault(subject.name, []).extend(_server_times(demo, subject, users))
                    printed(progress, list(_rows(subject.name, times[subject.name], {})))
            if FLOOR in subjects:
                with progress.step(f"Slurm alone, round {number}"):
                    times.setdefault("alone", []).extend(_job_times(demo, users[1:]))
        demo.start_proxy()
        demo.start_hub()
        return Result(about, [row for name, found in times.items() for row in _subject_rows(name, found)])


def _subject_rows(name: str, times: list[Times]) -> Iterator[Row]:
    if name == "alone":
        return _rows(FLOOR.name, times, {"of": "sbatch alone"})
    return _rows(name, times, {})


def _server_times(demo: Demo, subject: Subject, users: list[str]) -> list[Times]:
    """Of each server but the first user's, which warms the hub up."""
    with running_hub(demo, subject, users):
        start_servers(demo, subject, users[:1], at_once=True)
        spawns = start_servers(demo, subject, users[1:], at_once=False)["spawns"]
        if subject == FLOOR:
            return [{"ready": each["ready"] - each["requested"]} for each in spawns]
        began = run_client(demo, "began", names=[each["name"] for each in spawns])
    return [_parts(each, began[each["name"]]) for each in spawns]


def _parts(spawn: dict[str, Any], began: float | None) -> Times:
    """How long a start took, and its parts before and after the job's script began, if that is known."""
    ready = {"ready": spawn["ready"] - spawn["requested"]}
    if began is None:
        return ready
    return {**ready, "until_script": began - spawn["requested"], "from_script": spawn["ready"] - began}


def _job_times(demo: Demo, users: list[str]) -> list[Times]:
    """The same of jobs that are submitted without a hub, one at a time."""
    seen = [(found["began"], *found["up"][0]) for found in (start_jobs(demo, [name]) for name in users)]
    end_jobs(demo)
    return [
        {"ready": up - began, "until_script": script - began, "from_script": up - script}
        for began, up, script in seen
    ]


def _rows(subject: str, times: Sequence[Times], facts: dict[str, Any]) -> Iterator[Row]:
    """Of each part the median as NAME_s, and the extremes."""
    for part in ("ready", "until_script", "from_script"):
        ordered = sorted(each[part] for each in times if part in each)
        if not ordered:
            continue
        numbers = {"s": statistics.median(ordered), "min_s": ordered[0], "max_s": ordered[-1]}
        for what, value in numbers.items():
            yield Row(subject, f"{part}_{what}", round(value, 3), "s", {"n": len(ordered), **facts})
