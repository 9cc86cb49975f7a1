"""How one run of a server ends, and what is said of it.

A run's outcome collects what is known of the end: what its starter says, what Slurm says, what accounting
knows better, or that its end was asked for. It makes the error for whoever waits for the server, the report
for its user, and the exit status for JupyterHub. The first cause makes the error; what is found out later
only betters the report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from logging import Logger

from flatirons.errors import FlatironsError, ServerEnded, SlurmError, SubmitRefused
from flatirons.servers import report
from flatirons.servers.causes import REQUEUED, STOPPED, UNANSWERED, Cause, StarterEnd
from flatirons.servers.diagnosis import diagnose
from flatirons.servers.messages import seconds_in_queue
from flatirons.servers.report import Report
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import End, Job, JobState
from flatirons.slurm_form.offers import named
from flatirons.spawners.run.progress import StartProgress
from flatirons.spawners.run.stored_state import Followed
from flatirons.spawners.shared import metrics

SECONDS_TO_EXPLAIN = 5.0
"""How long JupyterHub is kept from forgetting a run that ended, until it is explained."""

WITHOUT_US = {JobState.NODE_FAIL, JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.PREEMPTED}
"""Ends of jobs that nobody's scancel makes."""

SECONDS_FOR_ACCOUNTING = 4.0
"""How long accounting may take to say why a job is on its way out, before the starter's word is taken."""

NOT_ENDED_YET = "Slurm did not say that its job is gone, so the job is cancelled again until it is."
NOT_SUBMITTED = "The hub was restarted before the job was submitted. Please start again."


class Outcome:
    """The end of the run `of`: nothing is said of it while the run lives, and `error` is None."""

    def __init__(
        self,
        of: Followed,
        client: SlurmClient,
        progress: StartProgress,
        keep: Callable[[Report], None],
        log: Logger,
        with_suggested_fix: Callable[[Cause], Awaitable[Cause]],
    ) -> None:
        """`with_suggested_fix` gives a cause with that as its fix which its user can choose."""
        self._run = of
        self._client = client
        self._progress = progress
        self._keep_report = keep
        self._remedied = with_suggested_fix
        self._log = log
        self.error: FlatironsError | None = None
        self.stopped_for: Cause | None = None  # why this hub process ends the run; None while it doesn't
        self.is_requeued = False
        self._ending: StarterEnd | None = None
        self._end: End | None = None
        self._told: Cause | None = None  # in the last report
        self._is_trusted = False  # the starter's word is the error: Slurm may still know better
        self._is_counted = False
        self._explained = asyncio.Event()  # the run is over; what can be known of its end is in the report

    # -- what becomes of it

    def refuse(self, error: FlatironsError) -> None:
        """Slurm did not take the job, or did not say that it has."""
        # should Slurm have taken the job without telling us, it is found as an orphan by its comment
        is_refused = isinstance(error, SubmitRefused)
        self._keep(Cause("refused" if is_refused else "not_submitted", error.user))
        self._fail(error)
        self.count()

    def forgo(self) -> None:
        """An earlier hub process ended before it submitted the job."""
        self._keep(Cause("not_submitted", NOT_SUBMITTED))
        self._fail(ServerEnded(NOT_SUBMITTED))
        self.count()

    def hear(self, ending: StarterEnd) -> None:
        """The starter says that the server ended: reported at once, until Slurm says why."""
        self._ending = ending
        if not (self._run.attempt.stopping or self.error or self._explained.is_set()):
            self._keep(self._by_starter(ending))

    async def trust(self, ending: StarterEnd) -> None:
        """Slurm has not said in time that the job is over: accounting may, else the starter's word is taken.

        slurmctld tells accounting why a job ends before it waits for the nodes' epilogs (job_mgr.c,
        `job_completion_logger` in `_job_timed_out` and `job_signal`); squeue says COMPLETING, not by whom.
        """
        if self._is_told():
            return
        end = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_ACCOUNTING):
                end = await self._accounted(self._run.attempt.job_id)
        if self._is_told():  # meanwhile
            return
        job = self._run.job
        if job and end and end.state.is_over:
            await self._say(job, end)
            self._explained.set()
        else:
            self._is_trusted = True
            self.conclude(self._by_starter(ending))

    def _is_told(self) -> bool:
        """Does its user know why already, or wanted the end?"""
        return bool(self.error or self._run.attempt.stopping or self._explained.is_set())

    async def settle(self, job: Job) -> None:
        """The job is over: keeps a report, at once what is known, then what accounting knows better."""
        if not self._run.attempt.stopping:
            if not self._explained.is_set():
                self._keep(self._diagnose(job, None), job)
            await self._say(job, await self._accounted(job.id))
        elif self._is_trusted:  # it is cleaned up after by now
            end = await self._accounted(job.id)
            if end and (end.state in WITHOUT_US or end.cancelled_by == 0):
                await self._say(job, end)
        elif not self.error:
            self._keep(await self._remedied(self._asked_for(job)), job)
            if self.stopped_for is None:  # an earlier hub process stopped it, and nobody here knows yet
                self._fail(ServerEnded(STOPPED.sentence))
        self._explained.set()
        self.count()

    def requeue(self, job: Job) -> None:
        """The job is in the queue again, where it would wait for nobody."""
        self.is_requeued = True
        self.conclude(REQUEUED, job)
        self._explained.set()
        self.count()

    def outlive(self, cause: Cause) -> None:
        """The run was to end for this cause, and its job was not seen to."""
        if not self.error:
            self._keep(replace(cause, sentence=f"{cause.sentence} {NOT_ENDED_YET}"))

    def conclude(self, cause: Cause, job: Job | None = None, end: End | None = None) -> FlatironsError:
        """The run is over, for this cause; gives its error, which is an earlier one if there was one."""
        self._keep(cause, job, end)
        if self.error:
            return self.error
        text = f"{cause.sentence} {cause.advice}".strip()
        return self._fail(ServerEnded("\n".join([text, *self._last_lines])))

    def count(self) -> None:
        """Nothing better will be known of the end: Prometheus is told of it, once, by its last report's kind.

        An end that somebody asked for is no failure.
        """
        if self._told and not self._is_counted and self._told.kind != STOPPED.kind:
            metrics.FAILURES.labels(self._told.kind).inc()
        self._is_counted = self._is_counted or self._told is not None

    @property
    def is_told(self) -> bool:
        """Did the starter say how the server ended, or is that explained without it?"""
        return self._ending is not None or self._explained.is_set()

    # -- what JupyterHub is told

    def exit_status(self) -> int | None:
        """None while the job lives; then its exit code, 1 where only a failure is known."""
        job = self._run.job
        if self.is_requeued:
            return 1
        if self._ending:
            code = self._ending.exit_code
            return 1 if code is None else code
        if job and job.state.is_over:
            return job.exit_code or (0 if job.state is JobState.COMPLETED else 1)
        return 1 if self.error and not self._run.attempt.job_id else None

    async def explained(self) -> None:
        """Waits a little until the end of the run, which is over, is explained.

        JupyterHub forgets a run as soon as `exit_status` is one, and the explanation would be lost.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_EXPLAIN):
                await self._explained.wait()

    # -- parts

    @property
    def _was_up(self) -> bool:
        return bool(self._run.attempt.port)

    @property
    def _last_lines(self) -> tuple[str, ...]:
        return self._ending.log if self._ending else ()

    def _asked_for(self, job: Job) -> Cause:
        """Why the run was ended from here; of a server that didn't answer Slurm may know why it didn't."""
        if self.stopped_for is UNANSWERED and job.state in WITHOUT_US:
            return self._diagnose(job, None)
        return self.stopped_for or STOPPED

    def _by_starter(self, ending: StarterEnd) -> Cause:
        return diagnose(None, None, ending, was_up=self._was_up)

    def _diagnose(self, job: Job, end: End | None, node_reason: str = "") -> Cause:
        has_booted = bool(self._run.attempt.key_digest)
        return diagnose(
            job, end, self._ending, was_up=self._was_up, has_booted=has_booted, node_reason=node_reason
        )

    async def _say(self, job: Job, end: End | None) -> None:
        """Says why, with what accounting and the starter know, then what the form would take that helps."""
        cause = self._diagnose(job, end, await self._node_reason(job))
        self.conclude(cause, job, end)
        if (better := await self._remedied(cause)) != cause:
            self._keep(better, job, end)

    async def _accounted(self, job_id: int) -> End | None:
        """What accounting knows of the job, or has said before, with the name of who cancelled it."""
        try:
            if end := (await self._client.ends([job_id])).get(job_id):
                self._end = await named(end)
        except SlurmError as error:
            self._log.warning("No accounting of job %s: %s", job_id, error.detail or error)
        return self._end

    async def _node_reason(self, job: Job) -> str:
        """Why its node is out of service, of a job that was cancelled before its starter was heard of."""
        if job.state is not JobState.CANCELLED or self._run.attempt.key_digest or not job.batch_host:
            return ""
        try:
            return await self._client.node_reason(job.batch_host)
        except SlurmError as error:
            self._log.warning("Nothing known of node %s: %s", job.batch_host, error.detail or error)
            return ""

    def _fail(self, error: FlatironsError) -> FlatironsError:
        self.error = error
        if not self._run.attempt.job_id:
            self._explained.set()
        self._progress.ring()
        return error

    def _keep(self, cause: Cause, job: Job | None = None, end: End | None = None) -> None:
        """Keeps a report, in the place of an earlier one of the same job."""
        self._told = cause
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
            )
        )
