"""Turns what becomes known of a job into the story of its start, and into the times that operators watch."""

from __future__ import annotations

from flatirons.slurm.model import Job, Place
from flatirons.spawners import metrics, waiting
from flatirons.spawners.attempt import Attempt
from flatirons.spawners.story import Story
from flatirons.spawners.timing import Timing
from flatirons.spawners.waiting import Told, waited_seconds


class Teller:
    """Tells the story of one run, from the submission until its server is up."""

    def __init__(self, story: Story, cluster: str) -> None:
        self._story = story
        self._cluster = cluster
        self._told = Told()

    def submitted(self, job_id: int) -> None:
        """Slurm took the job."""
        self._story.tell(10, waiting.submitted(job_id, self._cluster))

    def began_to_run(self, job: Job) -> None:
        """Notes how long it waited, once: not of a job that ran already when the hub was restarted."""
        waited = waited_seconds(job)
        if waited is not None:
            self._story.waited = waited
            metrics.QUEUE_SECONDS.labels(self._cluster).observe(waited)

    def seen(self, job: Job, place: Place | None, attempt: Attempt) -> None:
        """Slurm described the job; `place` is where it stands in the queue, if it does."""
        if job.state.is_waiting:
            self._story.tell(20, self._told.waiting(job, place))
        elif job.state.is_starting:
            self._story.tell(40, waiting.booting(job))
        elif job.state.is_running and not attempt.port:
            self._story.tell(50, waiting.running(job))
            if attempt.key_digest:
                self._story.tell(70, waiting.CONTAINER)

    def ready(self, host: str, timing: Timing) -> None:
        """The server listens."""
        metrics.START_SECONDS.labels(self._cluster).observe(timing.ran)
        self._story.tell(90, waiting.up(host, self._story.waited, timing.parts))
