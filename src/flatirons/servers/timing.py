"""When the parts of a start began, by this machine's clock: those of the nodes may be wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass

STEPS = {
    "submission": "Submitted",
    "queue": "In the queue",
    "node": "Node boots",
    "container": "Job starts",
    "server": "Server starts",
}
"""The parts of a start in their order, with words for pages. The container starts with the last one."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a start, one of STEPS: when it began, in seconds since 1970, and the seconds that it took.

    `seconds` is None while it goes on.
    """

    name: str
    began_at: float
    seconds: float | None

    @property
    def label(self) -> str:
        """What it is, in words."""
        return STEPS[self.name]


class Timing:
    """Notes when each part begins: queue, boot of the nodes, the job's script, container.

    Times are of a monotonic clock, in seconds; None for a part whose beginning this process didn't see.
    """

    def __init__(self) -> None:
        self._queue = time.monotonic()
        self._submitted: float | None = None
        self._boot: float | None = None
        self._script: float | None = None
        self._container: float | None = None
        self._server: float | None = None

    def submitted(self) -> None:
        """Slurm took the job."""
        self._submitted = time.monotonic()

    def nodes_boot(self) -> None:
        """The job has its nodes, which are booting."""
        if self._boot is None:
            self._boot = time.monotonic()

    def script_runs(self) -> None:
        """The job's script began; again if the job was put back into the queue."""
        self._script = time.monotonic()

    def container_starts(self) -> None:
        """The starter has everything to start the container, so the script runs."""
        self._container = time.monotonic()
        if self._script is None:
            self._script = self._container

    def server_listens(self) -> None:
        """The server answers."""
        self._server = time.monotonic()

    @property
    def has_script_begun(self) -> bool:
        """Did the job's script begin, as far as this process saw?"""
        return self._script is not None

    @property
    def waited(self) -> float:
        """Seconds since the job was submitted, or since the hub was restarted."""
        return time.monotonic() - self._queue

    @property
    def ran(self) -> float:
        """Seconds since the job's script began, or since the hub was restarted."""
        return time.monotonic() - (self._script or self._queue)

    @property
    def parts(self) -> list[tuple[float, str]]:
        """How long each part on the nodes has taken until now, in seconds, with words for it."""
        begun = [
            (self._boot, "for the nodes to boot"),
            (self._script, "to the container"),
            (self._container, "to the server"),
        ]
        seen = [(since, words) for since, words in begun if since is not None]
        ends = [*(since for since, _ in seen[1:]), self._server or time.monotonic()]
        return [(end - since, words) for (since, words), end in zip(seen, ends, strict=True)]

    @property
    def steps(self) -> list[Step]:
        """The parts of the start that this process saw begin, in order; the last may go on."""
        begun = [
            ("submission", self._queue if self._submitted else None),
            ("queue", self._submitted or self._queue),
            ("node", self._boot),
            ("container", self._script),
            ("server", self._container),
        ]
        seen = [(name, since) for name, since in begun if since is not None]
        ends = [*(since for _, since in seen[1:]), self._server]
        clock = time.time() - time.monotonic()
        return [
            Step(name, clock + since, None if end is None else max(end - since, 0.0))
            for (name, since), end in zip(seen, ends, strict=True)
        ]
