"""What pages and programs are told about one server: plain values, taken at one moment. Pure.

Times of day are in seconds since 1970, None where they aren't known; memory is in MiB.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flatirons import units
from flatirons.servers.report import Report
from flatirons.servers.timing import Step
from flatirons.slurm.model import JobSpec, QueuePosition

STOPPED, ENDED = "stopped", "ended"
"""Two phases more than `JobFollower.phase` has: no server, and no server but a report of how it ended."""

UNDER_WAY = ("submitting", "waiting", "booting", "starting")
"""The phases in which a start can be cancelled."""


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


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server. `phase` is one of JobFollower's, STOPPED or ENDED; `since` is when it began.

    `sentence` is the last news of a start. `stale_seconds` is the age of all this if Slurm doesn't answer,
    else None. `report` is how the last run ended, for a server that doesn't run. `used_memory_mib` is what
    the job was last seen to use on its first node.
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
    queue: Queue | None = None
    steps: Sequence[Step] = ()
    started_at: float | None = None
    ends_at: float | None = None
    used_memory_mib: int | None = None
    stale_seconds: float | None = None
    report: Report | None = None
    progress: int = 0

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
        spec, tasks = self.spec, max(self.spec.ntasks, 1)
        each = " on each node" if spec.nodes > 1 else ""
        memory = spec.memory_mib or spec.mem_per_cpu_mib
        per_core = " for each core" if spec.mem_per_cpu_mib and not spec.memory_mib else each
        gpus = units.counted(spec.gpus, f"{spec.gpu_type} GPU".strip())
        return [
            *([units.counted(spec.nodes, "node")] if spec.nodes > 1 else []),
            units.counted(max(spec.cpus, 1) * tasks, "core"),
            *([f"{units.memory_in_words(memory)}{per_core}"] if memory else []),
            *([f"{gpus}{each}"] if spec.gpus else []),
        ]

    @property
    def limit_seconds(self) -> float | None:
        """How long the job may run altogether, None while it isn't known."""
        if self.ends_at is None or self.started_at is None:
            return None
        return self.ends_at - self.started_at

    def left_seconds(self, now: float | None = None) -> float | None:
        """How long the job may still run, at least 0; None while that isn't known."""
        return None if self.ends_at is None else max(self.ends_at - (now or time.time()), 0.0)
