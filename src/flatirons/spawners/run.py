"""One run of a server: its job followed from submission to end.

Two sources tell what happens: the watcher (what Slurm says of the job) and the starter (boot, ready, end,
pushed from the node). A run puts both together: a story for the user, an address for the hub, or an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from logging import Logger
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, ServerEnded, SlurmError, SubmitRefused
from flatirons.slurm.model import End, Job, JobSpec, JobState
from flatirons.slurm.watcher import Subscription
from flatirons.spawners import metrics, report, waiting
from flatirons.spawners.attempt import Attempt, digest
from flatirons.spawners.desk import Desk
from flatirons.spawners.diagnosis import Cause, Ending, diagnose
from flatirons.spawners.report import Report
from flatirons.spawners.story import Story
from flatirons.spawners.waiting import Told, duration, waited_seconds

LONGEST_SILENCE = 30.0  # seconds: a start without news makes sure that its job is still followed
SECONDS_TO_END_IN_PEACE = 10.0  # how long a server that is told to end has before Slurm ends its job
SECONDS_FOR_SLURMS_WORD = 3.0  # how long a server's end waits to learn what Slurm says of it
SECONDS_TO_EXPLAIN = (
    5.0  # how long JupyterHub is kept from forgetting a run that ended, until it is explained
)
SECONDS_SHOWN = 15.0  # how long a server that is over may be shown until it is cleaned up
STOPPED = Cause("stopped", "The server was stopped from the hub.")
REQUEUED = Cause(
    "requeued",
    "Slurm put the job back into the queue, and its server is gone, so the job was cancelled.",
    "Please start again.",
)
NOT_ENDED_YET = "Slurm did not say that its job is gone, so the job is cancelled again until it is."
NOT_SUBMITTED = "The hub was restarted before the job was submitted. Please start again."


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: in the queue, from the job's start until the server listens, and for a stop.

    `late` is how long an sbatch that a killed hub left behind may take to bring its job to Slurm.
    """

    queue: float
    node: float
    stop: float
    late: float = 10.0


class Owner(Protocol):
    """What a run needs of its spawner, as JupyterHub's Spawner names it."""

    log: Logger
    user: Any
    name: str
    ready: bool
    pending: Any

    def save(self) -> Awaitable[None]:
        """Stores the run's attempt as soon as can be; done once it is stored."""

    async def boot(self) -> dict[str, Any]:
        """What the starter is answered when it boots."""

    def keep(self, report: Report) -> None:
        """Keeps a report of how the run ended, in the place of an earlier one of the same job."""

    async def poll_and_notify(self) -> Any:
        """Tells JupyterHub that the server has ended."""

    async def clean_up(self) -> None:
        """Stops, for JupyterHub, a server that has ended."""


class NotExpected(Exception):
    """A starter's call that doesn't fit what we know: wrong job, used code, server already up."""


class ServerRun:
    """Follows one attempt of a spawner, whose state it stores whenever something becomes known."""

    def __init__(self, attempt: Attempt, spawner: Owner, desk: Desk, limits: Limits) -> None:
        self.attempt = attempt
        self.spawner = spawner
        self.user: str = spawner.user.name
        self.log = spawner.log
        self.desk = desk
        self.client = desk.clients[attempt.cluster]
        self.watcher = desk.watcher(attempt.cluster)
        self.limits = limits
        self.story = Story()
        self.job: Job | None = None
        self.ending: Ending | None = None
        self.error: FlatironsError | None = None
        self._submission: asyncio.Task[None] | None = None
        self._attendant: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[Any] | None = None
        self._shown_since = 0.0  # since when it has been over, and shown nevertheless
        self._changes: Subscription | None = None
        self._stopping = False
        self._stopped_for = STOPPED
        self._requeued = False
        self.closed = asyncio.Event()
        self.seen = asyncio.Event()  # Slurm has been heard of the job
        self._explained = (
            asyncio.Event()
        )  # the run is over, and what can be known of its end is in the report
        self._told = Told()
        desk.expect(self)
        self._since = time.monotonic()  # when the present phase, queue or node, began

    # -- towards the spawner

    async def submit(self, spec: JobSpec, script: str) -> None:
        """Submits the job; raises SubmitRefused or SlurmUnreachable.

        A caller that is cancelled meanwhile doesn't end the submission: `stop` must learn the job's id.
        """
        await self.spawner.save()  # Slurm never knows a spawn that we don't
        self._submission = asyncio.ensure_future(self._submit(spec, script))
        await asyncio.shield(self._submission)

    async def _submit(self, spec: JobSpec, script: str) -> None:
        try:
            job_id = await self.client.submit(spec, script, user=self.user)
        except FlatironsError as error:
            # should Slurm have taken the job without telling us, it is found as an orphan by its comment
            is_refused = isinstance(error, SubmitRefused)
            metrics.FAILURES.labels("refused" if is_refused else "not_submitted").inc()
            if not is_refused:  # that is told at once; this may be a minute later, to nobody
                self._keep(Cause("not_submitted", error.user))
            self._fail(error)
            raise
        metrics.SUBMISSIONS.labels(self.attempt.cluster).inc()
        await self._change(job_id=job_id)
        self.log.info("Job %s on %s belongs to spawn %s", job_id, self.attempt.cluster, self.attempt.spawn_id)
        self.story.tell(10, waiting.submitted(job_id, self.attempt.cluster))

    async def arrive(self) -> None:
        """Returns when the server listens; raises ServerEnded when it won't."""
        while not self.attempt.port:
            if self.error:
                raise self.error
            self.attend()
            try:
                await asyncio.wait_for(self.story.changed(), min(self._seconds_left(), LONGEST_SILENCE))
            except TimeoutError:
                if self._seconds_left() <= 0:
                    raise self._too_late() from None

    def attend(self) -> None:
        """Follows the job from now until it is over."""
        if self._attendant is None:
            self._attendant = asyncio.ensure_future(self._attend())
            self._attendant.add_done_callback(self._attended)

    def _attended(self, attendant: asyncio.Task[None]) -> None:
        """A mistake of ours, or of the database, says nothing about the job: it is attended anew."""
        if not attendant.cancelled() and (error := attendant.exception()):
            self.log.error("Job %s was not followed any more", self.attempt.job_id, exc_info=error)
            self._attendant = None

    def exit_status(self) -> int | None:
        """None while the job lives; then its exit code, 1 where only a failure is known."""
        if self._requeued:
            return 1
        if self.ending:
            code = self.ending.exit_code
            return 1 if code is None else code
        if self.job and self.job.state.is_over:
            succeeded = self.job.state is JobState.COMPLETED
            return self.job.exit_code or (0 if succeeded else 1)
        return 1 if self.error and not self.attempt.job_id else None

    async def explained(self) -> None:
        """Waits a little until the end of this run, which is over, is explained.

        JupyterHub forgets a run as soon as `exit_status` is one, and the explanation would be lost.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._explained.wait(), SECONDS_TO_EXPLAIN)

    async def find(self) -> None:
        """After a restart: learns the job's id where the hub ended before it could store it."""
        if self.attempt.job_id or self._submission:
            return
        try:
            job = await self.desk.find(self.attempt.cluster, self.attempt.spawn_id, self.user)
        except SlurmError as error:
            self.log.warning("Can't look for the job of spawn %s yet: %s", self.attempt.spawn_id, error)
            return
        if job is None and time.monotonic() - self._since < self.limits.late and not self._stopping:
            return
        if job is None:
            self._keep(Cause("not_submitted", NOT_SUBMITTED))
            self._fail(ServerEnded(NOT_SUBMITTED))
        else:
            await self._change(job_id=job.id)

    async def stop(self, cause: Cause = STOPPED) -> None:
        """Cancels the job and returns when Slurm says that it is gone; raises SlurmError when it isn't.

        `cause` is what the report says, unless the run has ended already, by something else.
        """
        self._stopping, self._stopped_for = True, cause
        with contextlib.suppress(SQLAlchemyError):  # only for a hub that is killed now
            await self._change(stopping=True)
        if self._submission:
            await asyncio.wait([self._submission])
        await self.find()
        if not self.attempt.job_id:
            return
        self.attend()
        try:
            await self._end_job()
        except SlurmError:  # JupyterHub forgets the server nevertheless: the job is an orphan from now on
            if not self.error:
                self._keep(replace(cause, sentence=f"{cause.sentence} {NOT_ENDED_YET}"))
            raise

    async def _end_job(self) -> None:
        """Returns when Slurm says that the job is gone; raises SlurmError when it isn't."""
        if self._changes:
            self._changes.urgent = True
        if await self._ended_in_peace():
            return
        await self.client.cancel(self.attempt.job_id, user=self.user)
        if not await self._is_over_within(self.limits.stop):
            raise SlurmError(
                "Slurm has not ended the job yet. Please try again in a minute.",
                f"job {self.attempt.job_id} still there {self.limits.stop} s after scancel: {self.job}",
            )

    async def _ended_in_peace(self) -> bool:
        """Whether a server that runs has ended when its starter alone was told to.

        scancel without a signal tells all processes at once, the container's file system among them; a server
        that loses that before it has ended crashes, and leaves a core file in the home.
        """
        if not (self.attempt.key_digest and self.job and self.job.state.is_running):
            return False
        await self.client.cancel(self.attempt.job_id, user=self.user, signal="TERM")
        return await self._is_over_within(min(SECONDS_TO_END_IN_PEACE, self.limits.stop / 2))

    async def _is_over_within(self, seconds: float) -> bool:
        """Whether Slurm says within this time that the job is over; asks it as soon as there may be news."""
        last = time.monotonic() + seconds
        while not (self.job and self.job.state.is_over):
            self.watcher.kick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.story.changed(), max(0.0, last - time.monotonic()))
            if time.monotonic() >= last:
                return False
        return True

    def close(self) -> None:
        """Stops following the job."""
        self.closed.set()
        self.desk.forget(self)
        if self._attendant:
            self._attendant.cancel()

    # -- what Slurm says

    async def _attend(self) -> None:
        while not self.attempt.job_id and not self.error:
            await self.find()
            if not self.attempt.job_id:
                await asyncio.sleep(1)  # between attempts to ask a Slurm that doesn't answer
        if self.attempt.stopping and not self._stopping:
            await self._finish_stop()
        async with self.watcher.watch(self.attempt.job_id, self.user) as changes:
            self._changes = changes
            async for found in changes:
                job = self._ours(found)
                changes.urgent = self._stopping or not self.attempt.port
                self._see(job)
                if job.state.is_over:
                    await self._over(job)
                elif self._may_be_requeued and await self._does_wait():
                    await self._drop(job)
                if job.state.is_over or self._requeued:
                    break
        self._tell_jupyterhub()

    @property
    def _may_be_requeued(self) -> bool:
        is_waiting = self.job is not None and self.job.state.is_waiting
        return is_waiting and bool(self.attempt.key_digest) and not self._stopping

    async def _does_wait(self) -> bool:
        """Does the job wait, as Slurm says when asked from now on?

        Its last answer may be older than the start of the job: among many, a starter reports before a query
        comes back that was on its way.
        """
        since = self.watcher.clock.now()
        while self._may_be_requeued:
            try:
                snapshot = await self.watcher.refresh()
            except SlurmError:
                await asyncio.sleep(1)  # between attempts to ask a Slurm that doesn't answer
                continue
            if snapshot.began_at >= since:
                job = snapshot.jobs.get(self.attempt.job_id)
                return job is not None and job.state.is_waiting
        return False

    def _ours(self, job: Job) -> Job:
        """The job, or if another has its id now, ours as vanished.

        A slurmctld that was killed forgets its last seconds, and gives their ids out again.
        """
        if job.state.is_over or self.desk.spawn_id(job) == self.attempt.spawn_id:
            return job
        last = self.job or Job(job.id, JobState.VANISHED)
        return replace(last, state=JobState.VANISHED)

    async def _over(self, job: Job) -> None:
        """The job is over: keeps a report, at once what is known, then what accounting knows better."""
        if not self.attempt.stopping:
            self._keep(diagnose(job, None, self.ending, was_up=bool(self.attempt.port)), job)
            await self._explain(job)
        elif not self.error:
            self._keep(self._stopped_for, job)
            if not self._stopping:
                self._fail(ServerEnded(STOPPED.sentence))
        self._explained.set()

    async def _finish_stop(self) -> None:
        """Does what an earlier hub process was killed over."""
        try:
            await self.client.cancel(self.attempt.job_id, user=self.user)
        except SlurmError as error:  # it can be stopped again
            self.log.warning("Job %s is not cancelled: %s", self.attempt.job_id, error.detail or error)
            await self._change(stopping=False)

    async def _drop(self, job: Job) -> None:
        """The job waits, and its boot code is used: put back into the queue, it would run for nobody."""
        self._requeued = True
        self._conclude(REQUEUED, job)
        self._explained.set()
        try:
            await self.client.cancel(job.id, user=self.user)
        except SlurmError as error:  # it is an orphan from now on
            self.log.warning("Job %s, requeued, is not cancelled: %s", job.id, error.detail or error)

    def _tell_jupyterhub(self) -> None:
        """A server that was up has ended by itself: JupyterHub needn't wait for its next poll to notice.

        In a task of its own: JupyterHub stops the server in it, which ends the attendant, and so would itself
        be ended half-way, with a server that is being stopped for ever.
        """
        # before a server is ready nobody is notified, and yet JupyterHub would poll no more
        if self.spawner.ready and not self._stopping:
            self._telling = asyncio.ensure_future(self.spawner.poll_and_notify())

    def remind(self) -> None:
        """Has a server cleaned up that is over for long, and still shown.

        JupyterHub left it so when its database failed in the middle of a stop, and asks no more.
        """
        now = time.monotonic()
        is_shown = self.spawner.ready or self.spawner.pending == "stop"
        if self.exit_status() is None or not is_shown:
            self._shown_since = 0.0
        elif not self._shown_since:
            self._shown_since = now
        elif now - self._shown_since >= SECONDS_SHOWN and (self._telling is None or self._telling.done()):
            self.log.warning("Job %s is over, but its server is still shown", self.attempt.job_id)
            self._telling = asyncio.ensure_future(self.spawner.clean_up())
            self._telling.add_done_callback(self._cleaned_up)

    def _cleaned_up(self, cleaning: asyncio.Task[Any]) -> None:
        """What failed is tried again at the next round."""
        if not cleaning.cancelled() and (error := cleaning.exception()):
            self.log.error("The server of job %s can't be cleaned up yet: %s", self.attempt.job_id, error)

    def _see(self, job: Job) -> None:
        before, self.job = self.job, job
        self.seen.set()
        if job.state.is_running and not (before and before.state.is_running):
            self._since = time.monotonic()
            self._began_to_run(job)
        if job.state.is_waiting:
            self.story.tell(20, self._told.waiting(job, self.watcher.place(job)))
        elif job.state.is_starting:
            self.story.tell(40, waiting.booting(job))
        elif job.state.is_running and not self.attempt.port:
            self.story.tell(50, waiting.running(job))
            if self.attempt.key_digest:
                self.story.tell(70, waiting.CONTAINER)
        self.story.ring()

    def _began_to_run(self, job: Job) -> None:
        """Tells how long it waited, once: not of a job that ran already when the hub was restarted."""
        waited = waited_seconds(job)
        if waited is not None and not self.attempt.port:
            self.story.waited = waited
            metrics.QUEUE_SECONDS.labels(self.attempt.cluster).observe(waited)

    async def _explain(self, job: Job) -> None:
        """The job is over: says why, with what accounting and the starter know."""
        try:
            ends = await self.client.ends([job.id])
        except SlurmError as error:
            self.log.warning("No accounting of job %s: %s", job.id, error.detail or error)
            ends = {}
        end = ends.get(job.id)
        cause = diagnose(job, end, self.ending, was_up=bool(self.attempt.port))
        self._conclude(cause, job, end)

    def _conclude(self, cause: Cause, job: Job | None = None, end: End | None = None) -> None:
        """The run is over, for this cause; a cause that is found later only betters the report."""
        self._keep(cause, job, end)
        if not self.error:
            metrics.FAILURES.labels(cause.kind).inc()
            text = f"{cause.sentence} {cause.advice}".strip()
            self._fail(ServerEnded("\n".join([text, *(self.ending.log if self.ending else ())])))

    def _keep(self, cause: Cause, job: Job | None = None, end: End | None = None) -> None:
        self.spawner.keep(
            report.make(
                cause,
                job or self.job,
                end,
                log=self.ending.log if self.ending else (),
                cluster=self.attempt.cluster,
                job_id=self.attempt.job_id,
                was_up=bool(self.attempt.port),
                waited_seconds=waited_seconds(job or self.job),
            )
        )

    # -- what the starter says

    async def boot(self, job_id: int, key: str) -> None:
        """A starter came with the boot code; raises NotExpected for the wrong job and for a used code."""
        if self._submission:
            await asyncio.wait([self._submission])  # a job may run before sbatch told us its id
        if not self.attempt.job_id:
            await self.find()
        used = self.attempt.port or self.attempt.key_digest not in ("", digest(key))
        if job_id != self.attempt.job_id or used or not self._is_wanted:
            raise NotExpected(f"boot of job {job_id} for {self.attempt}")
        stored = self._change(key_digest=digest(key))
        self.desk.expect(self)
        if self.job:
            self._see(self.job)
        self.watcher.kick()
        await stored

    async def host(self) -> str:
        """The node that runs the job's script, as Slurm says; asks again until Slurm knows.

        Raises NotExpected when the run is over before that, SlurmError when Slurm doesn't answer.
        """
        while True:
            job = self.job or self.watcher.job(self.attempt.job_id)
            if job and job.batch_host:
                return job.batch_host
            if not self._is_wanted:
                raise NotExpected(f"no node is known for {self.attempt}")
            snapshot = await self.watcher.refresh()
            self.job = snapshot.jobs.get(self.attempt.job_id, self.job)

    async def ready(self, port: int) -> None:
        """The server listens on `port` of the job's node; raises NotExpected for a server that isn't wanted.

        A starter says it again when the answer was lost on the way, as when the hub was killed meanwhile.
        """
        host = self.attempt.host or await self.host()
        if self.attempt.port not in (0, port) or not self._is_wanted:
            raise NotExpected(f"ready on port {port} for {self.attempt}")
        if not self.attempt.port:
            stored = self._change(host=host, port=port)
            if self._changes:
                self._changes.urgent = False
            self._told_ready(host)
            await stored

    def _told_ready(self, host: str) -> None:
        started = time.monotonic() - self._since
        metrics.START_SECONDS.labels(self.attempt.cluster).observe(started)
        self.story.tell(90, waiting.up(host, self.story.waited, started))

    async def end(self, ending: Ending) -> None:
        """The server ended. Slurm is given a moment to say why (it may have run out of memory)."""
        self.ending = ending
        if not (self.attempt.stopping or self.error or self._explained.is_set()):
            self._keep(diagnose(None, None, ending, was_up=bool(self.attempt.port)))
        self.watcher.kick()
        self.attend()
        assert self._attendant
        await asyncio.wait([self._attendant], timeout=SECONDS_FOR_SLURMS_WORD)
        if not self.error and not self.attempt.stopping:
            self._conclude(diagnose(None, None, ending, was_up=bool(self.attempt.port)))

    # -- parts

    @property
    def phase(self) -> str:
        """What the server is doing, in one word."""
        if self.error:
            return "ended"
        if self._stopping:
            return "stopping"
        if self.attempt.port:
            return "up"
        if not self.attempt.job_id:
            return "submitting"
        if self.job is None or self.job.state.is_waiting:
            return "waiting"
        return "booting" if self.job.state.is_starting else "starting"

    @property
    def _is_wanted(self) -> bool:
        """Is there still somebody who waits for the server, or has it?"""
        return not (self.error or self._stopping or self.closed.is_set())

    def _change(self, **known: str | int | bool) -> Awaitable[None]:
        """Done once what became known is stored; it holds at once."""
        self.attempt = replace(self.attempt, **known)  # type: ignore[arg-type]  # names and types are Attempt's
        self.story.ring()
        return self.spawner.save()

    def _fail(self, error: FlatironsError) -> None:
        self.error = error
        if not self.attempt.job_id:
            self._explained.set()
        self.story.ring()

    def _seconds_left(self) -> float:
        running = self.job is not None and self.job.state.is_running
        limit = self.limits.node if running else self.limits.queue
        return self._since + limit - time.monotonic()

    def _too_late(self) -> FlatironsError:
        self._conclude(late(self.job, self.limits, has_booted=bool(self.attempt.key_digest)))
        assert self.error
        return self.error


def late(job: Job | None, limits: Limits, *, has_booted: bool) -> Cause:
    """Why a start took too long."""
    if job is None or not job.state.is_running:
        return Cause(
            "too_long_in_queue",
            f"The job waited longer than {duration(limits.queue)} in the queue, so it was cancelled.",
            "A shorter run time or fewer resources may start sooner.",
        )
    if has_booted:
        return Cause(
            "not_answering",
            f"The job started on {job.batch_host}, but no server answered within {duration(limits.node)}, "
            "so it was cancelled.",
            "Please try again.",
        )
    return Cause(
        "hub_unreachable",
        f"The job started on {job.batch_host}, but the hub heard nothing of it within "
        f"{duration(limits.node)}, so it was cancelled.",
        "Please tell the operator: that node must have Python 3 and reach the hub.",
    )
