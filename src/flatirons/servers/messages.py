"""The sentences that a user reads while a server starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flatirons.slurm import explain
from flatirons.slurm.model import Job, QueuePosition
from flatirons.units import time_in_words

NEAR = 5
"""From this position in the queue on, each step forward is news."""

CONTAINER = "The container is starting."


def submitted(job_id: int, cluster: str) -> str:
    """Slurm took the job."""
    return f"Submitted as job {job_id} on {cluster}."


def booting(job: Job) -> str:
    """The job has its nodes, which aren't ready yet."""
    return f"Node {job.nodes or 'of the job'} is booting."


def running(job: Job) -> str:
    """The job's script runs."""
    return f"Running on {job.batch_host or job.nodes}."


def up(host: str, queue_seconds: float | None, parts: Sequence[tuple[float, str]]) -> str:
    """The server listens; `parts` are the seconds that each step on the node took, with words for it."""
    took = [f"{seconds:.1f} seconds {words}" for seconds, words in parts]
    if queue_seconds is not None:
        took.insert(0, f"{time_in_words(queue_seconds)} in the queue")
    return f"The server is up on {host}: {', '.join(took)}."


MOST_ESTIMATES = 20


@dataclass(frozen=True, slots=True)
class Estimated:
    """The start that Slurm estimated at some moment."""

    at: datetime
    start: datetime


@dataclass
class QueueMessage:
    """Says why and how long one job waits; keeps the earlier numbers while they hardly change.

    `estimates` are the last MOST_ESTIMATES starts that were shown, oldest first.
    """

    start: datetime | None = None
    position: QueuePosition | None = None
    estimates: list[Estimated] = field(default_factory=list)

    def sentence(self, job: Job, position: QueuePosition | None) -> str:
        """Why the job waits, and how long, as far as that is known."""
        self.start = _new_estimate(self.start, job.start)
        if self.start and not (self.estimates and self.estimates[-1].start == self.start):
            self.estimates = [*self.estimates, Estimated(datetime.now(UTC), self.start)][-MOST_ESTIMATES:]
        self.position = _new_position(self.position, position)
        said = explain.reason(job.reason)
        parts = [f"Waiting in the queue of {job.partition}: {said.sentence}", said.advice]
        if self.position and job.reason != "Resources":  # that reason means that it is the first
            parts.append(f"It is number {self.position.number} of {self.position.length} there.")
        if self.start:  # the time zone is the hub's and is named, as the user's may be another
            parts.append(f"Slurm estimates a start at {self.start.astimezone():%H:%M %Z on %d %b}.")
        return " ".join(part for part in parts if part)


def _new_estimate(before: datetime | None, start: datetime | None) -> datetime | None:
    """The estimate to show. Slurm often makes new ones; one counts if it differs by a tenth of the wait."""
    if before is None or start is None:
        return start
    change, wait = abs(start - before), abs(start - datetime.now(UTC))
    return before if change < max(wait / 10, timedelta(minutes=2)) else start


def _new_position(before: QueuePosition | None, position: QueuePosition | None) -> QueuePosition | None:
    """The position to show: near the front each step counts, far from it a tenth of the way."""
    if before is None or position is None or before.partition != position.partition:
        return position
    moved = abs(before.number - position.number)
    is_news = moved and (position.number <= NEAR or moved >= before.number / 10)
    return position if is_news else before


def seconds_in_queue(job: Job | None) -> float | None:
    """How long a job was in the queue; None for one that is still there, or isn't known well enough."""
    if job is None or job.state.is_waiting or job.submit is None or job.start is None:
        return None
    return max(0.0, (job.start - job.submit).total_seconds())
