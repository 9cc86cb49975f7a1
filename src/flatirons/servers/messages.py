"""What a user is told of a start: that it waits, why, at which place, until when; where
it runs; only what is news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flatirons.slurm import explain
from flatirons.slurm.model import Job, QueuePosition

NEAR = 5
"""From this place on each step forward is told."""

CONTAINER = "The container is starting."


def submitted(job_id: int, cluster: str) -> str:
    """Slurm took the job."""
    return f"Submitted as job {job_id} on {cluster}."


def booting(job: Job) -> str:
    """The job has its nodes, and they aren't ready yet."""
    return f"Node {job.nodes or 'of the job'} is booting."


def running(job: Job) -> str:
    """The job's script runs."""
    return f"Running on {job.batch_host or job.nodes}."


def up(host: str, queue_seconds: float | None, parts: Sequence[tuple[float, str]]) -> str:
    """The server listens; `parts` are the seconds that each step on the node took, and words for it."""
    took = [f"{seconds:.1f} s {words}" for seconds, words in parts]
    if queue_seconds is not None:
        took.insert(0, f"{duration(queue_seconds)} in the queue")
    return f"The server is up on {host}: {', '.join(took)}."


@dataclass
class Told:
    """What was told of one job: its estimated start, its place."""

    start: datetime | None = None
    place: QueuePosition | None = None

    def waiting(self, job: Job, place: QueuePosition | None) -> str:
        """Why it waits, and what is known of how long."""
        self.start = _news(self.start, job.start)
        self.place = _step(self.place, place)
        said = explain.reason(job.reason)
        parts = [f"Waiting in the queue of {job.partition}: {said.sentence}", said.advice]
        if self.place and job.reason != "Resources":  # that says already that it is the first
            parts.append(f"It is number {self.place.number} of {self.place.length} there.")
        if self.start:  # in the hub's time zone, named: the user's may be another
            parts.append(f"Slurm estimates a start at {self.start.astimezone():%H:%M %Z on %d %b}.")
        return " ".join(part for part in parts if part)


def _news(told: datetime | None, start: datetime | None) -> datetime | None:
    """The estimate to tell: Slurm makes a new one every half minute; it is news if it differs by a tenth."""
    if told is None or start is None:
        return start
    change, wait = abs(start - told), abs(start - datetime.now(UTC))
    return told if change < max(wait / 10, timedelta(minutes=2)) else start


def _step(told: QueuePosition | None, place: QueuePosition | None) -> QueuePosition | None:
    """The place to tell: near the front each step is news, far from it a tenth of the way."""
    if told is None or place is None or told.partition != place.partition:
        return place
    moved = abs(told.number - place.number)
    is_news = moved and (place.number <= NEAR or moved >= told.number / 10)
    return place if is_news else told


def waited_seconds(job: Job | None) -> float | None:
    """How long a job was in the queue; None for one that never left it, or isn't known so well."""
    if job is None or job.state.is_waiting or job.submit is None or job.start is None:
        return None
    return max(0.0, (job.start - job.submit).total_seconds())


def duration(seconds: float) -> str:
    """A time span in the words of people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
