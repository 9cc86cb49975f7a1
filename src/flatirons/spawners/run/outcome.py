"""How one run of a server ends, and what its user, JupyterHub and Prometheus learn about it.

An outcome collects what is known about the end: what the starter, Slurm and accounting report, and whether
somebody asked for it. From this it makes the error for those who wait for the server, the report for its
user, and the exit status for JupyterHub. The first cause decides the error; later news only improves the
report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from logging import Logger
from typing import Protocol

from flatirons.errors import FlatironsError, ServerEnded, SubmitRefused
from flatirons.servers import log_lines, report
from flatirons.servers.causes import HUB, REQUEUED, STOPPED, UNANSWERED, Cause, StarterEnd
from flatirons.servers.diagnosis import diagnose
from flatirons.servers.end_lookup import EndLookup
from flatirons.servers.messages import seconds_in_queue
from flatirons.servers.progress import StartProgress
from flatirons.servers.report import Report
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import End, Job, JobState
from flatirons.spawners.run.stored_state import Followed
from flatirons.spawners.run.used_memory import UsedMemory

SECONDS_TO_EXPLAIN = 5.0
"""How long JupyterHub is kept from forgetting a run that ended, until its end is explained."""

NOT_BY_CANCEL = {JobState.NODE_FAIL, JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.PREEMPTED}
"""States in which no scancel leaves a job."""

NOT_ENDED_YET = "Slurm did not say that its job is gone, so the job is cancelled again until it is."
NOT_SUBMITTED = "The hub was restarted before the job was submitted. Please start again."


class Ending(Followed, Protocol):
    """What an outcome needs to know of a run."""

    @property
    def memory(self) -> UsedMemory:
        """What its job was seen to use."""


class Outcome:
    """The end of a run. While the run lives, it has no report and `error` is None."""

    def __init__(
        self,
        of: Ending,
        client: SlurmClient,
        progress: StartProgress,
        keep: Callable[[Report], None],
        log: Logger,
        with_suggested_fix: Callable[[Cause], Awaitable[Cause]],
        count_failure: Callable[[str], None],
    ) -> None:
        """`with_suggested_fix` returns a cause with a fix that the form would take from this user."""
        self._run = of
        self._lookup = EndLookup(client, log, HUB)
        self._progress = progress
        self._keep_report = keep
        self._with_suggested_fix = with_suggested_fix
        self._count_failure = count_failure
        self.error: FlatironsError | None = None
        self.stopped_for: Cause | None = None  # why this hub process ends the run; None while it doesn't
        self.is_requeued = False
        self._starter_end: StarterEnd | None = None
        self._reported: Cause | None = None  # in the last report
        self._is_provisional = False  # the error is the starter's report, and Slurm may still know better
        self._is_counted = False
        self._explained = asyncio.Event()  # the run is over, and the report says all that can be known

    # -- what becomes of the run

    def record_refusal(self, error: FlatironsError) -> None:
        """Slurm did not take the job, or did not say that it took it."""
        # if Slurm took it without an answer, the job is found as an orphan by its comment
        is_refused = isinstance(error, SubmitRefused)
        self._report(Cause("refused" if is_refused else "not_submitted", error.user))
        self._fail(error)
        self.count()

    def record_not_submitted(self) -> None:
        """An earlier hub process ended before it submitted the job."""
        self._report(Cause("not_submitted", NOT_SUBMITTED))
        self._fail(ServerEnded(NOT_SUBMITTED))
        self.count()

    def record_starter_end(self, said: StarterEnd) -> None:
        """The starter says that the server ended, which is reported at once, until Slurm says why."""
        self._starter_end = said
        if not self._is_known():
            self._report(self._cause_by_starter(said))

    async def accept_starter_end(self, said: StarterEnd) -> None:
        """Slurm hasn't said in time that the job is over: believes accounting, else the starter."""
        if self._is_known():
            return
        end = await self._lookup.accounted_early(self._run.attempt.job_id, self._run.job)
        if self._is_known():  # by now
            return
        job = self._run.job
        if job and end:
            await self._explain(job, end)
            self._explained.set()
        else:
            self._is_provisional = True
            self.conclude(self._cause_by_starter(said))

    async def record_job_end(self, job: Job) -> None:
        """The job is over: reports what is known at once, then what accounting knows better."""
        if not self._run.attempt.stopping:
            if not self._explained.is_set():
                self._report(self._cause_by_queue(job), job)
            end = await self._lookup.accounted(job.id, job)
            if self._is_own_cancel(job, end):
                self.conclude(STOPPED, job, end)
            else:
                await self._explain(job, end)
        elif self._is_provisional:  # JupyterHub is already cleaning up
            end = await self._lookup.accounted(job.id, job)
            if end and (end.state in NOT_BY_CANCEL or end.cancelled_by == 0):
                await self._explain(job, end)
        elif not self.error:
            self._report(await self._with_suggested_fix(self._cause_of_stop(job)), job)
            if self.stopped_for is None:  # an earlier hub process stopped it, so nobody here knows yet
                self._fail(ServerEnded(STOPPED.sentence))
        self._explained.set()
        self.count()

    def record_requeue(self, job: Job) -> None:
        """The job is in the queue again, where it would wait for nobody."""
        self.is_requeued = True
        self.conclude(REQUEUED, job)
        self._explained.set()
        self.count()

    def record_failed_stop(self, cause: Cause) -> None:
        """The run was to end for this cause, but Slurm hasn't said that its job is gone."""
        if not self.error:
            self._report(replace(cause, sentence=f"{cause.sentence} {NOT_ENDED_YET}"))

    def conclude(self, cause: Cause, job: Job | None = None, end: End | None = None) -> FlatironsError:
        """The run is over for this cause; returns its error, which is that of an earlier cause if any."""
        self._report(cause, job, end)
        if self.error:
            return self.error
        said = log_lines.kept(self._last_lines, report.LOG_LINES)
        return self._fail(ServerEnded("\n".join([cause.text, *said])))

    def count(self) -> None:
        """Nothing more will be known of the end: Prometheus counts it, once, by the kind of its last report.

        An end that somebody asked for is no failure.
        """
        if self._reported and not self._is_counted and self._reported.kind != STOPPED.kind:
            self._count_failure(self._reported.kind)
        self._is_counted = self._is_counted or self._reported is not None

    @property
    def has_ended(self) -> bool:
        """Did the starter say how the server ended, or is that explained without it?"""
        return self._starter_end is not None or self._explained.is_set()

    # -- for JupyterHub

    def exit_status(self) -> int | None:
        """None while the server may live; then its exit code or its job's, and 1 where neither is known."""
        job = self._run.job
        if self.is_requeued:
            return 1
        if self._starter_end:
            code = self._starter_end.exit_code
            return 1 if code is None else code
        if job and job.state.is_over:
            return job.exit_code or (0 if job.state is JobState.COMPLETED else 1)
        return 1 if self.error and not self._run.attempt.job_id else None

    async def explained(self) -> None:
        """Returns when the end of the run is explained, at the latest after SECONDS_TO_EXPLAIN.

        JupyterHub forgets a run as soon as it has an exit status, and the explanation would be lost.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_EXPLAIN):
                await self._explained.wait()

    # -- parts

    def _is_known(self) -> bool:
        """Does the user know already why the server ended, or was it to end?"""
        return bool(self.error or self._run.attempt.stopping or self._explained.is_set())

    @property
    def _was_up(self) -> bool:
        return bool(self._run.attempt.port)

    @property
    def _last_lines(self) -> tuple[str, ...]:
        return self._starter_end.log if self._starter_end else ()

    def _cause_of_stop(self, job: Job) -> Cause:
        """Why this hub ended the run; Slurm may know why a server didn't answer."""
        if self.stopped_for is UNANSWERED and job.state in NOT_BY_CANCEL:
            return self._cause_by_queue(job)
        return self.stopped_for or STOPPED

    def _cause_by_starter(self, said: StarterEnd) -> Cause:
        return diagnose(None, None, said, was_up=self._was_up)

    def _cause_by_queue(self, job: Job) -> Cause:
        """The cause without what accounting knows."""
        has_starter_called = self._run.attempt.has_starter_called
        return diagnose(
            job, None, self._starter_end, was_up=self._was_up, has_starter_called=has_starter_called
        )

    def _is_own_cancel(self, job: Job, end: End | None) -> bool:
        """Did the hub cancel the job? It does so as the job's user, who must not be named for it."""
        by = end.cancelled_by_name if end else ""
        is_cancelled = (end or job).state is JobState.CANCELLED and not (end and end.cancelled_by == 0)
        return self._run.attempt.cancel_sent and is_cancelled and by in ("", job.user)

    async def _explain(self, job: Job, end: End | None) -> None:
        """Concludes with all that Slurm and the starter know, then adds a fix that the form would take."""
        has_starter_called = self._run.attempt.has_starter_called
        cause = await self._lookup.cause(
            job, end, self._starter_end, was_up=self._was_up, has_starter_called=has_starter_called
        )
        self.conclude(cause, job, end)
        if (better := await self._with_suggested_fix(cause)) != cause:
            self._report(better, job, end)

    def _fail(self, error: FlatironsError) -> FlatironsError:
        self.error = error
        if not self._run.attempt.job_id:
            self._explained.set()
        self._progress.ring()
        return error

    def _report(self, cause: Cause, job: Job | None = None, end: End | None = None) -> None:
        """Keeps a report, in the place of an earlier one of the same job."""
        self._reported = cause
        attempt, job = self._run.attempt, job or self._run.job
        self._keep_report(
            report.make(
                cause,
                job,
                end,
                log=self._last_lines,
                cluster=attempt.cluster,
                job_id=attempt.job_id,
                was_up=bool(attempt.port),
                waited_seconds=seconds_in_queue(job),
                peak_memory_mib=self._run.memory.peak_mib,
            )
        )
