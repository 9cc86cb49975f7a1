"""What pages and programs are told about one server: plain values, taken at one moment. Pure.

Times of day are in seconds since 1970, None where they aren't known; memory is in MiB.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flatirons import units
from flatirons.servers.report import Report
from flatirons.servers.timing import STEPS, Step
from flatirons.slurm.model import Allocation, JobSpec, QueuePosition

STOPPED, ENDED = "stopped", "ended"
"""Two phases more than `JobFollower.phase` has: no server, and no server but a report of how it ended."""

UNDER_WAY = ("submitting", "waiting", "booting", "starting")
"""The phases in which a start can be cancelled."""

TITLES = {
    "waiting": "Waiting",
    "up": "Ready",
    "stopping": "Stopping",
    STOPPED: "Not running",
    ENDED: "Not running",
}
"""Phases in the title of a tab; the others are parts of a start."""

TIGHT_PERCENT = 90
"""From this part of its memory on, a job that needs more may soon be killed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One option that was asked for: the form's label and the value in words."""

    name: str
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class Queue:
    """Why a job waits. `estimates` are pairs of a moment and the start that Slurm estimated then."""

    reason: str = ""
    sentence: str = ""
    advice: str = ""
    position: QueuePosition | None = None
    expected_start: float | None = None
    estimates: Sequence[tuple[float, float]] = ()

    @property
    def moved_seconds(self) -> float:
        """How much later the expected start is now than when it was first estimated; less than 0: earlier."""
        return self.estimates[-1][1] - self.estimates[0][1] if self.estimates else 0.0

    def outline(self, width: float, height: float) -> list[tuple[float, float]]:
        """The estimates as points of a line of steps in a picture of this size, the latest start at its top;
        [] while there is only one."""
        moments, starts = [at for at, _ in self.estimates], [start for _, start in self.estimates]
        if len(starts) < 2:
            return []
        across, up = max(moments[-1] - moments[0], 1.0), max(max(starts) - min(starts), 1.0)
        xs = [width * (at - moments[0]) / across for at in moments]
        ys = [height * (max(starts) - start) / up for start in starts]
        corners = [(x, before) for x, before in zip(xs[1:], ys[:-1], strict=True)]
        return [
            (xs[0], ys[0]),
            *(each for pair in zip(corners, zip(xs[1:], ys[1:], strict=True), strict=True) for each in pair),
        ]


DONE, NOW, AHEAD, LEFT_OUT = "done", "now", "ahead", "left out"


@dataclass(frozen=True, slots=True)
class Milestone:
    """A part of a start as a page shows it: DONE, going on NOW, AHEAD, or LEFT_OUT by this start."""

    label: str
    state: str
    began_at: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server. `phase` is one of JobFollower's, STOPPED or ENDED; `since` is when it began.

    `sentence` is the last news of a start. `stale_seconds` is the age of all this if Slurm doesn't answer,
    else None. `report` is how the last run ended, for a server that doesn't run. `used_memory_mib` is what
    the job was last seen to use on its first node. `spec` is what was asked for, `allocation` is what
    Slurm gives to the job, None before Slurm has said so.
    """

    user: str
    name: str
    phase: str
    since: float | None = None
    title: str = ""
    sentence: str = ""
    cluster: str = ""
    partition: str = ""
    job_id: int = 0
    node: str = ""
    environment: str = ""
    asked: Sequence[Asked] = ()
    spec: JobSpec | None = None
    allocation: Allocation | None = None
    queue: Queue | None = None
    steps: Sequence[Step] = ()
    started_at: float | None = None
    ends_at: float | None = None
    used_memory_mib: int | None = None
    stale_seconds: float | None = None
    report: Report | None = None
    progress: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the fields, and the properties that are words for people."""
        found = asdict(self)
        del found["spec"]  # `asked` and `resources` say the same in a form that stays
        found["queue"] = self.queue and asdict(self.queue)
        found["steps"] = [{**asdict(each), "label": each.label} for each in self.steps]
        found["report"] = self.report and self.report.as_dict()
        return {**found, "resources": self.resources, "memory_limit_mib": self.memory_limit_mib}

    @property
    def is_starting(self) -> bool:
        """Is a start under way, which can be cancelled?"""
        return self.phase in UNDER_WAY

    @property
    def is_up(self) -> bool:
        """Can it be used?"""
        return self.phase == "up"

    @property
    def resources(self) -> list[str]:
        """What the job has, or asks for, in words: `2 nodes`, `4 cores`, `16 GB`, `1 v100 GPU`."""
        if self.spec is None:
            return []
        return resources_in_words(self.spec, self.allocation or Allocation())

    @property
    def memory_limit_mib(self) -> int | None:
        """What the job may use on its first node, None while it isn't known."""
        return (self.allocation.memory_per_node_mib if self.allocation else 0) or None

    @property
    def memory_percent(self) -> int | None:
        """The part of its memory that the job uses; more than 100 where Slurm doesn't enforce the limit."""
        if self.used_memory_mib is None or self.memory_limit_mib is None:
            return None
        return round(100 * self.used_memory_mib / self.memory_limit_mib)

    @property
    def is_memory_tight(self) -> bool:
        """Is the job about to run out of memory?"""
        return self.memory_percent is not None and self.memory_percent >= TIGHT_PERCENT

    @property
    def limit_seconds(self) -> float | None:
        """How long the job may run altogether, None while it isn't known."""
        if self.ends_at is None or self.started_at is None:
            return None
        return self.ends_at - self.started_at

    @property
    def milestones(self) -> list[Milestone]:
        """All parts of a start in their order, whether or not they have begun."""
        begun = {step.name: step for step in self.steps}
        last = max((place for place, name in enumerate(STEPS) if name in begun), default=-1)
        return [
            self._milestone(label, begun.get(name), is_past=place < last)
            for place, (name, label) in enumerate(STEPS.items())
        ]

    def _milestone(self, label: str, step: Step | None, *, is_past: bool) -> Milestone:
        if step is None:
            return Milestone(label, LEFT_OUT if is_past else AHEAD)
        return Milestone(
            label, NOW if step.seconds is None and self.is_starting else DONE, step.began_at, step.seconds
        )

    @property
    def title_of_tab(self) -> str:
        """What the tab of a browser says while the server starts."""
        name = self.title or self.name or "your server"
        place = self.queue.position if self.queue else None
        if self.phase == "waiting" and place:
            return f"{place.number} of {place.length} in the queue: {name}"
        return f"{TITLES.get(self.phase, 'Starting')}: {name}"

    def left_seconds(self, now: float | None = None) -> float | None:
        """How long the job may still run, at least 0; None while that isn't known."""
        return None if self.ends_at is None else max(self.ends_at - (now or time.time()), 0.0)


def resources_in_words(spec: JobSpec, has: Allocation) -> list[str]:
    """The size of a job that was asked for with `spec`; of what it `has`, nothing needs to be known."""
    nodes = has.nodes or spec.nodes
    each = " on each node" if nodes > 1 else ""
    return [
        *([units.counted(nodes, "node")] if nodes > 1 else []),
        units.counted(has.cpus or max(spec.cpus, 1) * max(spec.ntasks, 1), "core"),
        *_memory_in_words(spec, has, each),
        *_gpus_in_words(spec, has, each),
    ]


def _memory_in_words(spec: JobSpec, has: Allocation, each: str) -> list[str]:
    memory = has.memory_per_node_mib or spec.memory_mib
    if memory:
        return [f"{units.memory_in_words(memory)}{each}"]
    per_core = spec.mem_per_cpu_mib
    return [f"{units.memory_in_words(per_core)} for each core"] if per_core else []


def _gpus_in_words(spec: JobSpec, has: Allocation, each: str) -> list[str]:
    """Slurm may not count GPUs at all, or not by type."""
    asked = ((spec.gpu_type, spec.gpus * max(spec.nodes, 1)),) if spec.gpus else ()
    counted = [(kind or spec.gpu_type, number) for kind, number in has.gpus or asked]
    nodes = max(has.nodes or spec.nodes, 1)
    is_even = all(number % nodes == 0 for _, number in counted)
    return [
        units.counted(number // nodes if is_even else number, f"{kind} GPU".strip())
        + (each if is_even else "")
        for kind, number in counted
    ]
