"""One run of a server: its job followed from submission to end.

Two sources tell what happens: the watcher (what Slurm says of the job) and the starter (boot, ready, end,
pushed from the node). A run puts both together: a story for the user and an address for the hub. What is said
of its end is made by its outcome, the end is brought about by its cancellation, and its cleanup tells
JupyterHub.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from logging import Logger
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, SlurmError
from flatirons.servers.causes import STOPPED, Cause, StarterEnd
from flatirons.servers.diagnosis import timeout
from flatirons.servers.report import Report
from flatirons.servers.timing import Timing
from flatirons.slurm.model import Job, JobSpec, JobState
from flatirons.slurm.subscription import Subscription
from flatirons.spawners.jupyterhub.cleanup import Cleanup, Shown
from flatirons.spawners.run.announcer import Announcer
from flatirons.spawners.run.caller_check import CallerCheck, NotExpected
from flatirons.spawners.run.cancel import Cancellation
from flatirons.spawners.run.outcome import Outcome
from flatirons.spawners.run.progress import StartProgress
from flatirons.spawners.run.stored_state import Attempt, digest
from flatirons.spawners.shared import metrics
from flatirons.spawners.shared.registry import Registry

LONGEST_SILENCE = 30.0  # seconds: a start without news makes sure that its job is still followed
SECONDS_FOR_SLURMS_WORD = 3.0  # how long a server's end waits to learn what Slurm says of it


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: in the queue, from the job's start until the server listens, and for a stop.

    `late` is how long an sbatch that a killed hub left behind may take to bring its job to Slurm.
    """

    queue: float
    node: float
    stop: float
    late: float = 10.0


class Owner(Shown, Protocol):
    """What a run needs of its spawner, as JupyterHub's Spawner names it."""

    log: Logger
    user: Any
    name: str
    job_name: str
    check_address: bool

    def save(self) -> Awaitable[None]:
        """Stores the run's attempt as soon as can be; done once it is stored."""

    async def boot(self) -> dict[str, Any]:
        """What the starter is answered when it boots."""

    def keep(self, report: Report) -> None:
        """Keeps a report of how the run ended, in the place of an earlier one of the same job."""

    async def with_suggested_fix(self, cause: Cause) -> Cause:
        """The cause, with that as its fix which the form would take."""


class ServerRun:
    """Follows one attempt of a spawner, whose state it stores whenever something becomes known."""

    def __init__(
        self, attempt: Attempt, spawner: Owner, registry: Registry[ServerRun], limits: Limits
    ) -> None:
        self.attempt = attempt
        self.spawner = spawner
        self.user: str = spawner.user.name
        self.log = spawner.log
        self.registry = registry
        self.client = registry.clients[attempt.cluster]
        self.watcher = registry.watcher(attempt.cluster)
        self.limits = limits
        self.progress = StartProgress()
        self.job: Job | None = None
        self._timing = Timing()
        self._announcer = Announcer(self.progress, attempt.cluster)
        self.caller_check = CallerCheck(self, self.watcher)
        self.outcome = Outcome(
            self, self.client, self.progress, spawner.keep, self.log, spawner.with_suggested_fix
        )
        self._cancellation = Cancellation(
            self, self.client, self.watcher, self.progress, self.user, limits.stop
        )
        self._cleanup = Cleanup(spawner, self.log)
        self._submission: asyncio.Task[None] | None = None
        self._attendant: asyncio.Task[None] | None = None
        self._changes: Subscription | None = None
        self.closed = asyncio.Event()
        self.seen = asyncio.Event()  # Slurm has been heard of the job
        registry.expect(self)

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
            self.outcome.refuse(error)
            raise
        metrics.SUBMISSIONS.labels(self.attempt.cluster).inc()
        await self._change(job_id=job_id)
        self.log.info("Job %s on %s belongs to spawn %s", job_id, self.attempt.cluster, self.attempt.spawn_id)
        self._announcer.submitted(job_id)

    async def arrive(self) -> None:
        """Returns when the server listens; raises ServerEnded when it won't."""
        while not self.attempt.port:
            if self.outcome.error:
                raise self.outcome.error
            self.attend()
            try:
                # not wait_for: that of Python 3.11 forgets a cancellation that comes together with news
                async with asyncio.timeout(min(self._seconds_left(), LONGEST_SILENCE)):
                    await self.progress.changed()
            except TimeoutError:
                if self._seconds_left() <= 0:
                    raise self.outcome.conclude(self._late()) from None

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
        return self.outcome.exit_status()

    async def explained(self) -> None:
        """Waits a little until the end of this run, which is over, is explained."""
        await self.outcome.explained()

    async def find(self) -> None:
        """After a restart: learns the job's id where the hub ended before it could store it."""
        if self.attempt.job_id or self._submission:
            return
        try:
            job = await self.registry.find(self.attempt.cluster, self.attempt.spawn_id, self.user)
        except SlurmError as error:
            self.log.warning("Can't look for the job of spawn %s yet: %s", self.attempt.spawn_id, error)
            return
        if job is None and self._timing.waited < self.limits.late and not self._stopping:
            return
        if job is None:
            self.outcome.forgo()
        else:
            await self._change(job_id=job.id)

    async def stop(self, cause: Cause = STOPPED) -> None:
        """Cancels the job and returns when Slurm says that it is gone; raises SlurmError when it isn't.

        `cause` is what the report says, unless the run has ended already, by something else.
        """
        self.outcome.stopped_for = cause
        with contextlib.suppress(SQLAlchemyError):  # only for a hub that is killed now
            await self._change(stopping=True)
        if self._submission:
            await asyncio.wait([self._submission])
        await self.find()
        if not self.attempt.job_id:
            return
        self.attend()
        if self._changes:
            self._changes.urgent = True
        try:
            await self._cancellation.carry_out()
        except SlurmError:  # JupyterHub forgets the server nevertheless: the job is an orphan from now on
            self.outcome.outlive(cause)
            raise

    def close(self) -> None:
        """Stops following the job."""
        self.closed.set()
        self.outcome.count()
        self.registry.forget(self)
        if self._attendant:
            self._attendant.cancel()

    # -- what Slurm says

    async def _attend(self) -> None:
        while not self.attempt.job_id and not self.outcome.error:
            await self.find()
            if not self.attempt.job_id:
                await asyncio.sleep(1)  # between attempts to ask a Slurm that doesn't answer
        if self.attempt.stopping and not self._stopping:
            await self._finish_stop()
        async with self.watcher.watch(self.attempt.job_id, self.user) as changes:
            self._changes = changes
            async for found in changes:
                changes.urgent = self._stopping or not self.attempt.port
                job = self.learn(found)
                if job.state.is_over:
                    if self.caller_check.refusal and not self.attempt.key_digest:
                        self.outcome.hear(
                            StarterEnd(1, None, self.caller_check.refusal)
                        )  # it wasn't let speak itself
                    await self.outcome.settle(job)
                elif self._may_be_requeued and await self._does_wait():
                    await self._drop(job)
                if job.state.is_over or self.outcome.is_requeued:
                    break
        if not self._stopping:
            self._cleanup.tell()

    @property
    def _may_be_requeued(self) -> bool:
        is_waiting = self.job is not None and self.job.state.is_waiting
        return is_waiting and bool(self.attempt.key_digest) and not self._stopping

    async def _does_wait(self) -> bool:
        """Does the job wait, as Slurm says when asked from now on?

        Its last answer may be older than the start of the job: among many, a starter reports before a query
        comes back that was on its way.
        """
        while self._may_be_requeued:
            try:
                snapshot = await self.watcher.refresh_anew()
            except SlurmError:
                await asyncio.sleep(1)  # between attempts to ask a Slurm that doesn't answer
                continue
            job = snapshot.jobs.get(self.attempt.job_id)
            return job is not None and job.state.is_waiting
        return False

    def _ours(self, job: Job) -> Job:
        """The job, or if another has its id now, ours as vanished.

        A slurmctld that was killed forgets its last seconds, and gives their ids out again. A comment that
        isn't of this hub says nothing: its user, or a plugin of the site's, may have written another.
        """
        spawn_id = self.registry.spawn_id(job)
        is_rewritten = spawn_id is None and (job.user, job.name) == (self.user, self.spawner.job_name)
        if job.state.is_over or is_rewritten or spawn_id == self.attempt.spawn_id:
            return job
        last = self.job or Job(job.id, JobState.VANISHED)
        return replace(last, state=JobState.VANISHED)

    async def _finish_stop(self) -> None:
        """Does what an earlier hub process was killed over."""
        try:
            await self.client.cancel(self.attempt.job_id, user=self.user)
        except SlurmError as error:  # it can be stopped again
            self.log.warning("Job %s is not cancelled: %s", self.attempt.job_id, error.detail or error)
            await self._change(stopping=False)

    async def _drop(self, job: Job) -> None:
        """The job waits, and its boot code is used: put back into the queue, it would run for nobody."""
        self.outcome.requeue(job)
        try:
            await self.client.cancel(job.id, user=self.user)
        except SlurmError as error:  # it is an orphan from now on
            self.log.warning("Job %s, requeued, is not cancelled: %s", job.id, error.detail or error)

    def remind(self) -> None:
        """Has a server cleaned up that is over for long, and still shown; of another the address is held.

        Its job is followed again if that ended by a mistake: JupyterHub asks seldom.
        """
        if self.attempt.job_id:
            self.attend()
        is_over = self.exit_status() is not None
        self._cleanup.remind(self.attempt.job_id, is_over=is_over)
        if self.spawner.ready and self.attempt.port and not is_over:
            self.spawner.correct_address()

    def learn(self, job: Job) -> Job:
        """Slurm shows this job by the id of ours; gives ours. What is known already isn't told again."""
        ours = self._ours(job)
        if ours != self.job or ours.state.is_waiting:  # one that waits may have moved up
            self._see(ours)
        return ours

    def _see(self, job: Job) -> None:
        before, self.job = self.job, job
        self.seen.set()
        if job.state.is_starting:
            self._timing.nodes_boot()
        if job.state.is_running and not (before and before.state.is_running):
            if not self.attempt.key_digest:
                self._timing.script_runs()
            if not self.attempt.port:
                self._announcer.began_to_run(job)
        self._announcer.seen(job, self.watcher.queue_position(job), self.attempt)
        self.progress.ring()

    # -- what the starter says

    async def submitted(self) -> None:
        """Returns once the job's id is known, as far as it can be."""
        if self._submission:
            await asyncio.wait([self._submission])  # a job may run before sbatch told us its id
        if not self.attempt.job_id:
            await self.find()

    async def boot(self, job_id: int, key: str) -> None:
        """A starter came with the boot code; raises NotExpected for the wrong job and for a used code."""
        await self.submitted()
        used = self.attempt.port or self.attempt.key_digest not in ("", digest(key))
        if job_id != self.attempt.job_id or used or not self.is_wanted:
            raise NotExpected(f"boot of job {job_id} for {self.attempt}")
        host = self.attempt.host or self.caller_check.admitted
        stored = self._change(key_digest=digest(key), host=host)
        self._timing.container_starts()
        self.registry.expect(self)
        if self.job:
            self._see(self.job)
        if not host:  # else Slurm was asked for it
            self.watcher.kick()
        await stored

    async def ready(self, port: int) -> None:
        """The server listens on `port` of the job's node; raises NotExpected for a server that isn't wanted.

        A starter says it again when the answer was lost on the way, as when the hub was killed meanwhile.
        """
        host = await self.caller_check.node()
        if self.attempt.port not in (0, port) or not self.is_wanted:
            raise NotExpected(f"ready on port {port} for {self.attempt}")
        if not self.attempt.port:
            stored = self._change(host=host, port=port)
            if self._changes:
                self._changes.urgent = False
            self._announcer.ready(host, self._timing)
            await stored

    def end(self, ending: StarterEnd) -> Awaitable[None]:
        """The server ended; done once Slurm said why (it may have run out of memory), or took too long to.

        Noted at once. Raises NotExpected when the end was told before, or is explained without the starter.
        """
        if self.outcome.is_told:
            raise NotExpected(f"end, once more or too late, for {self.attempt}")
        self.outcome.hear(ending)
        return self._trust(ending)

    async def _trust(self, ending: StarterEnd) -> None:
        self.attend()
        assert self._attendant
        self.watcher.kick()
        await asyncio.wait([self._attendant], timeout=SECONDS_FOR_SLURMS_WORD)
        await self.outcome.trust(ending)

    # -- parts

    @property
    def phase(self) -> str:
        """What the server is doing, in one word."""
        if self.outcome.error:
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
    def _stopping(self) -> bool:
        """Was its end asked for in this hub process?"""
        return self.outcome.stopped_for is not None

    @property
    def is_wanted(self) -> bool:
        """Is there still somebody who waits for the server, or has it?"""
        is_over = self.outcome.error or self.outcome.is_told
        return not (is_over or self._stopping or self.closed.is_set())

    def _change(self, **known: str | int | bool) -> Awaitable[None]:
        """Done once what became known is stored; it holds at once."""
        self.attempt = replace(self.attempt, **known)  # type: ignore[arg-type]  # names and types are Attempt's
        self.progress.ring()
        return self.spawner.save()

    def _seconds_left(self) -> float:
        running = self.job is not None and self.job.state.is_running
        return self.limits.node - self._timing.ran if running else self.limits.queue - self._timing.waited

    def _late(self) -> Cause:
        limits, has_booted = self.limits, bool(self.attempt.key_digest)
        return timeout(self.job, queue=limits.queue, node=limits.node, has_booted=has_booted)
