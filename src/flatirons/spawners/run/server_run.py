"""One run of a server of the hub: its submission, its job followed, its starter's calls, its stop.

How a job is followed is common to all servers (servers/follow.py). Here is what a hub adds: it stores what
becomes known, so that a restarted hub can go on; it hands the starter the server's environment; and it tells
JupyterHub when the server has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from flatirons.errors import FlatironsError, SlurmError
from flatirons.servers import messages
from flatirons.servers.cancel import Cancellation
from flatirons.servers.causes import CALL_REFUSED, HUB, STOPPED, UNANSWERED, Cause, StarterEnd, refused_call
from flatirons.servers.follow import JobFollower, Limits
from flatirons.servers.progress import StartProgress
from flatirons.slurm.model import Job, JobSpec
from flatirons.spawners.jupyterhub.cleanup import Cleanup
from flatirons.spawners.run.caller_check import CallerCheck, NotExpected
from flatirons.spawners.run.departure import Departure
from flatirons.spawners.run.job_identity import JobIdentity
from flatirons.spawners.run.outcome import Outcome
from flatirons.spawners.run.owner import Owner
from flatirons.spawners.run.stored_state import Attempt, digest
from flatirons.spawners.run.used_memory import UsedMemory
from flatirons.spawners.shared.registry import Registry


class ServerRun(JobFollower):
    """One attempt of a spawner; it stores the attempt whenever something becomes known."""

    def __init__(
        self, attempt: Attempt, spawner: Owner, registry: Registry[ServerRun], limits: Limits
    ) -> None:
        client, watcher = registry.clients[attempt.cluster], registry.watcher(attempt.cluster)
        user = spawner.user.name
        progress = StartProgress(on_ring=partial(registry.changes.ring, user))
        super().__init__(client, watcher, limits, user=user, receiver=HUB, progress=progress)
        self.attempt = attempt
        self.spawner = spawner
        self.log = spawner.log
        self.registry = registry
        self.caller_check = CallerCheck(self, self.watcher, registry.nodes(attempt.cluster))
        self.refusal = ""  # what the hub last answered the starter, unless it has admitted a call since
        self.memory = UsedMemory()
        self._identity = JobIdentity(self, registry, user=self.user or "", job_name=spawner.job_name)
        self.outcome = Outcome(
            self,
            self.client,
            self.progress,
            spawner.keep,
            self.log,
            spawner.with_suggested_fix,
            partial(registry.metrics.count_failure, user=spawner.user.name, server=spawner.name),
        )
        self._cleanup = Cleanup(spawner, self.log)
        self._submission: asyncio.Task[None] | None = None
        self.departure = Departure(self, spawner.withdraw, self.log)
        self._storing: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()
        registry.expect(self)

    # -- what the follower asks

    @property
    def job_id(self) -> int:
        """The job's id, 0 while it isn't known."""
        return self.attempt.job_id

    @property
    def has_starter_called(self) -> bool:
        """Has the starter made its first call?"""
        return self.attempt.has_starter_called

    @property
    def port(self) -> int:
        """The port on which the server listens, 0 while it doesn't."""
        return self.attempt.port

    @property
    def is_stopping(self) -> bool:
        """Has somebody asked this hub process for the server's end?"""
        return self.outcome.stopped_for is not None

    @property
    def is_concluded(self) -> bool:
        """Is it known why the server ended, or why it will never listen?"""
        return self.outcome.error is not None

    @property
    def is_wanted(self) -> bool:
        """Does anybody wait for the server, or use it?"""
        has_ended = self.is_concluded or self.outcome.has_ended
        return not (has_ended or self.is_stopping or self.closed.is_set())

    @property
    def is_urgent(self) -> bool:
        """Does somebody wait for the job's server, or for the job's end?"""
        return super().is_urgent or self.outcome.has_ended or self.departure.is_suspected

    @property
    def is_leaving(self) -> bool:
        """Is the server over, or ended by Slurm at this moment?"""
        return self.exit_status() is not None or (self.job is not None and self.job.state.is_ending)

    # -- towards the spawner

    async def submit(self, spec: JobSpec, script: str) -> None:
        """Submits the job; raises SubmitRefused or SlurmUnreachable.

        Cancelling the caller doesn't cancel the submission: `stop` must learn the job's id.
        """
        await self.spawner.save()  # Slurm must not know a spawn that the hub doesn't
        self._submission = asyncio.ensure_future(self._submit(spec, script))
        await asyncio.shield(self._submission)

    async def _submit(self, spec: JobSpec, script: str) -> None:
        cluster = self.attempt.cluster
        try:
            job_id = await self.client.submit(spec, script, user=self.user)
        except FlatironsError as error:
            self.outcome.record_refusal(error)
            raise
        self._timing.submitted()
        self.registry.metrics.count_submission(cluster)
        stored = self._change(job_id=job_id)
        self.log.info("Job %s on %s belongs to spawn %s", job_id, cluster, self.attempt.spawn_id)
        self.progress.tell(10, messages.submitted(job_id, cluster))  # before the watcher sees the job run
        await stored

    async def arrive(self) -> None:
        """Returns when the server listens; raises ServerEnded when it won't."""
        await self.wait_until_up()
        if self.outcome.error and not self.port:
            raise self.outcome.error

    def exit_status(self) -> int | None:
        """None while the job lives; then its exit code, or 1 where nothing but the failure is known."""
        return self.outcome.exit_status()

    async def explained(self) -> None:
        """Returns when the end of this run is explained, after some seconds at the latest."""
        await self.outcome.explained()

    async def stop(self, cause: Cause = STOPPED) -> None:
        """Cancels the job and returns when Slurm says that it is gone; raises SlurmError when it isn't.

        The report has this `cause`, unless the run has already ended for another one.
        """
        self.outcome.stopped_for = cause
        with contextlib.suppress(SQLAlchemyError):  # stored only for a hub that is killed now
            await self._change(stopping=True)
        if self._submission:
            await asyncio.wait([self._submission])
        await self.find()
        if not self.job_id:
            return
        self.follow()
        is_unasked = self.is_concluded or cause is UNANSWERED
        if is_unasked and not self._may_cancel_unasked("its server was given up"):
            return
        try:
            await self._make_sure()
            await Cancellation(self).carry_out()
        except SlurmError:  # JupyterHub forgets the server nevertheless, so the job is an orphan from now on
            self.outcome.record_failed_stop(cause)
            self._abandon()
            raise

    def close(self) -> None:
        """Stops following the job."""
        self.closed.set()
        self.progress.ring()
        self.outcome.count()
        self.registry.forget(self)
        if self._following:
            self._following.cancel()
        self.departure.close()

    def remind(self) -> None:
        """Follows the job again if that has failed, and corrects what JupyterHub shows of the server.

        JupyterHub may show a server long after its end, or have lost a running server's address.
        """
        if self.job_id:
            self.follow()
        has_ended = self.exit_status() is not None
        self._cleanup.remind(self.job_id, has_ended=has_ended)
        if self.spawner.ready and self.port and not has_ended:
            self.spawner.correct_address()

    # -- which job it is

    async def find(self) -> None:
        """Learns the job's id after a restart, if the hub ended before it could store it."""
        if self.job_id or self._submission:
            return
        try:
            job = await self._identity.find()
        except SlurmError as error:
            self.log.warning("Can't look for the job of spawn %s yet: %s", self.attempt.spawn_id, error)
            return
        if self.closed.is_set():  # what is stored may be the next server's by now
            return
        if job:
            await self._change(job_id=job.id)
        elif self._timing.waited >= self.limits.submission or self.is_stopping:
            self.outcome.record_not_submitted()

    async def submitted(self) -> None:
        """Returns once the job's id is known, as far as it can be."""
        if self._submission:
            await asyncio.wait([self._submission])  # a job may run before sbatch has printed its id
        if not self.job_id:
            await self.find()

    def identify(self, job: Job) -> Job:
        """The job if it is ours; ours as vanished, if another job has its id by now.

        A slurmctld that was killed forgets its last seconds and assigns their ids again.
        """
        if not self._identity.is_ours(job):
            return self._identity.as_vanished(job)
        self._note_submission(job)
        return job

    def _note_submission(self, job: Job) -> None:
        if self.attempt.submitted_at or job.submit is None or job.has_local_times:
            return
        self.attempt = replace(self.attempt, submitted_at=int(job.submit.timestamp()))
        if self.has_starter_called:  # otherwise its first call stores this, too
            self._storing = asyncio.ensure_future(self._store())

    async def _store(self) -> None:
        with contextlib.suppress(SQLAlchemyError):  # it is stored with the next change
            await self.spawner.save()

    async def _make_sure(self) -> None:
        """Learns what Slurm has under an id of an earlier hub process, before anything is done to that job.

        Raises SlurmError.
        """
        if self._submission is None and self.job is None and (job := await self._identity.look_up()):
            self.learn(job)

    # -- what Slurm says

    async def _follow(self) -> None:
        while not self.job_id and not self.is_concluded:
            await self.find()
            if not self.job_id:
                await asyncio.sleep(1)  # there is no event to wait for: Slurm doesn't answer or show the job
        if self.job_id:
            if self.attempt.stopping and not self.is_stopping:
                await self._finish_stop()
            await super()._follow()
        if not self.is_stopping:
            self._cleanup.tell()

    async def _finish_stop(self) -> None:
        """Cancels a job that an earlier hub process was about to cancel when it was killed."""
        if not self._may_cancel_unasked("it was being stopped"):
            await self._change(stopping=False)
            return
        try:
            await self._make_sure()
            if not (self.job and self.job.state.is_over):
                await self._change(cancel_sent=True)
                await self.client.cancel(self.job_id, user=self.user)
        except SlurmError as error:  # it can be stopped again
            self.log.warning("Job %s can't be cancelled yet: %s", self.job_id, error.detail or error)
            await self._change(stopping=False)

    def _may_cancel_unasked(self, reason: str) -> bool:
        if not self._identity.may_cancel_unasked:
            self.log.warning("Leaving alone job %s of another hub, although %s", self.job_id, reason)
            return False
        return True

    def see(self, job: Job) -> None:
        """Slurm described the job. When it ends, so does the server's route."""
        super().see(job)
        if job.state.is_ending or job.state.is_over:
            self._depart()
        else:
            self._hold_connection()

    def left_queue(self, seconds: float | None) -> None:
        """Counts how long the job was in the queue, if that is known."""
        super().left_queue(seconds)
        if seconds is not None:
            self.registry.metrics.left_queue(self.attempt.cluster, seconds)

    def give_up(self, cause: Cause) -> None:
        """The server won't start, for this cause, or because the hub refused its starter."""
        is_silent = cause.kind in (HUB.kind, UNANSWERED.kind)
        self.outcome.conclude(refused_call(self.refusal) if self.refusal and is_silent else cause)

    async def job_ended(self, job: Job) -> None:
        """Reports the end, also for a starter whose calls were refused."""
        if self.refusal and not self.port:
            self.outcome.record_starter_end(StarterEnd(1, None, self.refusal, kind=CALL_REFUSED))
        await self.outcome.record_job_end(job)

    async def job_requeued(self, job: Job) -> None:
        """Cancels the job, which would run for nobody."""
        self.outcome.record_requeue(job)
        self._depart()
        if not self._may_cancel_unasked("it was put back into the queue"):
            return
        try:
            await self.client.cancel(job.id, user=self.user)
        except SlurmError as error:  # it is an orphan from now on
            self.log.warning("The requeued job %s can't be cancelled yet: %s", job.id, error.detail or error)
            self._abandon()

    def _abandon(self) -> None:
        attempt = self.attempt
        self.registry.orphans.take(attempt.cluster, attempt.job_id, self.user or "", attempt.submit)

    def following_failed(self, error: BaseException) -> None:
        """Logs the error; `remind`, and code that waits for the server, will follow the job again."""
        self.log.error("Job %s is no longer followed, because of an error", self.job_id, exc_info=error)

    # -- what the starter says

    async def boot(self, job_id: int, key: str) -> None:
        """A starter came with the boot code; raises NotExpected for the wrong job and for a used code."""
        await self.submitted()
        is_used = self.port or self.attempt.key_digest not in ("", digest(key))
        if job_id != self.job_id or is_used or not self.is_wanted:
            raise NotExpected(f"boot of job {job_id} for {self.attempt}", self._wrong_boot(job_id))
        self.refusal = ""
        host = self.attempt.host or self.caller_check.admitted
        stored = self._change(key_digest=digest(key), host=host)
        self.registry.expect(self)
        self.container_starts()
        if not host:  # otherwise Slurm has just said where the job runs
            self.watcher.kick()
        await stored

    async def name_certificate(self, host: str) -> str:
        """A name for the certificate of this server on this host, which no other server's certificate has."""
        name = f"{digest(f'{self.attempt.spawn_id} on {host}')[:32]}.server.internal"
        await self._change(certificate_name=name)
        return name

    async def ready(self, port: int) -> None:
        """The server listens on `port` of the job's node; raises NotExpected for a server that isn't wanted.

        A starter repeats the call when the answer was lost, for example because the hub was killed.
        """
        host, place = await self.caller_check.node(), await self.caller_check.place()
        if self.port not in (0, port) or not self.is_wanted:
            raise NotExpected(f"ready on port {port} for {self.attempt}")
        if not self.port:
            self.refusal = ""
            stored = self._change(host=host, address="" if place.host == host else place.host, port=port)
            self.registry.metrics.answered(self.attempt.cluster, self._timing.ran)
            self.server_listens(host)
            self._hold_connection()
            await stored

    def uses(self, memory_mib: int) -> None:
        """The job uses so much memory on its node; raises NotExpected for a server that isn't up."""
        if not self.port or not self.is_wanted:
            raise NotExpected(f"usage for {self.attempt}")
        self.memory.note(memory_mib)
        self.registry.changes.ring(self.spawner.user.name)

    def end(self, said: StarterEnd) -> Awaitable[None]:
        """The server ended; done when Slurm has said why (perhaps it ran out of memory), or took too long.

        It is recorded at once, and the proxy is told before Slurm is asked: from now on, any neighbour on the
        node can take the server's port. Raises NotExpected when the end is known already.
        """
        if self.outcome.has_ended:
            raise NotExpected(f"end, once more or too late, for {self.attempt}")
        self.outcome.record_starter_end(said)
        self._depart()
        self.set_urgent(True)
        return self._accept_end(said)

    def call_refused(self, told: str, *, is_starters: bool) -> None:
        """Tells the user that the hub refused a call, at once; `is_starters`: it certainly was the starter's.

        Before the starter has made a call, it may have been the starter's; afterwards, that has a key.
        """
        is_news = is_starters or not self.has_starter_called
        if told and is_news and self.is_wanted and not self.port:
            self.refusal = told
            self.progress.tell(60, told)

    def _wrong_boot(self, job_id: int) -> str:
        if job_id != self.job_id:
            return (
                f"The hub refused a call for this server from job {job_id}, because its job is {self.job_id}."
            )
        return "The hub refused a second start of this server in the same job."

    def _hold_connection(self) -> None:
        """Holds a connection to a server that is up, whose loss is a sign of its end."""
        if self.port and self.registry.holds_connections:
            self.departure.watch(self.attempt.address or self.attempt.host, self.port)

    def _depart(self) -> None:
        """Takes a server that was up out of the proxy. JupyterHub has done that for one that it stops."""
        if self.port and not self.is_stopping:
            self.departure.begin()

    async def _accept_end(self, said: StarterEnd) -> None:
        await self.wait_for_slurm()
        await self.outcome.accept_starter_end(said)

    # -- parts

    def _change(self, **known: str | int | bool) -> Awaitable[None]:
        """Changes the attempt at once; done once that is stored."""
        self.attempt = replace(self.attempt, **known)  # type: ignore[arg-type]  # names and types are Attempt's
        self.progress.ring()
        return self.spawner.save()
