"""Turns what becomes known of a job into the progress of its start, and into what operators watch."""

from __future__ import annotations

from flatirons.servers import messages
from flatirons.servers.messages import QueueMessage, seconds_in_queue
from flatirons.servers.timing import Timing
from flatirons.slurm.model import Job, QueuePosition
from flatirons.spawners.run.progress import StartProgress
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared import metrics


class Announcer:
    """Tells the progress of one run, from the submission until its server is up."""

    def __init__(self, progress: StartProgress, cluster: str) -> None:
        self._progress = progress
        self._cluster = cluster
        self._queue_message = QueueMessage()

    def submitted(self, job_id: int) -> None:
        """Slurm took the job."""
        self._progress.tell(10, messages.submitted(job_id, self._cluster))

    def began_to_run(self, job: Job) -> None:
        """Notes how long it waited, once: not of a job that ran already when the hub was restarted."""
        waited = seconds_in_queue(job)
        if waited is not None:
            self._progress.waited = waited
            metrics.QUEUE_SECONDS.labels(self._cluster).observe(waited)

    def seen(self, job: Job, place: QueuePosition | None, attempt: Attempt) -> None:
        """Slurm described the job; `place` is where it stands in the queue, if it does."""
        if job.state.is_waiting:
            self._progress.tell(20, self._queue_message.sentence(job, place))
        elif job.state.is_starting:
            self._progress.tell(40, messages.booting(job))
        elif job.state.is_running and not attempt.port:
            self._progress.tell(50, messages.running(job))
            if attempt.key_digest:
                self._progress.tell(70, messages.CONTAINER)

    def ready(self, host: str, timing: Timing) -> None:
        """The server listens."""
        metrics.START_SECONDS.labels(self._cluster).observe(timing.ran)
        self._progress.tell(90, messages.up(host, self._progress.waited, timing.parts))
