"""Runs Slurm's commands through a runner, and returns their answers as values of `model`.

There is one client for each cluster. Its methods raise SubmitRefused when Slurm refuses a job,
SlurmUnreachable when there is no answer or none that can be read, and SlurmError when Slurm refuses anything
else. An unknown error never counts as "no such job".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias, TypeVar

from flatirons.concurrency import BatchedCall
from flatirons.errors import (
    AccountRefused,
    CommandError,
    CommandFailed,
    CommandTimeout,
    SlurmError,
    SlurmUnreachable,
)
from flatirons.runner import Completed, Runner
from flatirons.slurm import argv, explain, identity, parse, parse_cluster
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.cluster_model import Configuration, Node, Partition, Reservation
from flatirons.slurm.command_errors import MAYBE_SUBMITTED, NOT_ANSWERING, failed, refused, without_id
from flatirons.slurm.model import Cluster, End, Job, JobSpec, Snapshot

T = TypeVar("T")
log = logging.getLogger(__name__)

QUERY_SECONDS = 30.0
SUBMIT_SECONDS = 60.0
SUBMISSIONS_AT_ONCE = 8  # more of them would only wait for slurmctld and munged, and for each other
SUBMISSION_PATIENCE = 10.0  # seconds: when Slurm hangs, submissions that hang must not block the others
SACCT_IDS = 1000  # at a time: one argument of a command holds at most 128 KiB
# Characters. A longer answer (about 1,000 jobs) is parsed in a thread, so as not to block the event loop.
THREAD_FROM = 250_000

_CONNECT_FAILURE = "Unable to contact slurm controller (connect failure)"
_NO_SUCH_JOB = "Invalid job id specified"
_NO_ACCOUNTING = "Slurm accounting storage is disabled"
_OVER_ALREADY = re.compile(
    "Invalid job id specified|already completing or completed|Job has already finished"
)


OnCommand: TypeAlias = Callable[[str, str, str, float], None]
"""Called when a command has ended, with the cluster, the command, its outcome (ok, failed, late, missing or
cancelled) and the seconds that it took."""


def _ignore(cluster: str, command: str, outcome: str, seconds: float) -> None:
    """An OnCommand that does nothing."""


class SlurmClient:
    """The Slurm of one cluster."""

    def __init__(
        self, cluster: Cluster, runner: Runner, *, job_names: Sequence[str] = (), owner: str = ""
    ) -> None:
        """Makes queries cheaper where possible.

        `job_names`: if all jobs that matter have one of these names, squeue prints only those. `owner`: if
        they all belong to this user, slurmctld sends only that user's jobs, unless queues are asked for.
        """
        self.cluster = cluster
        self.runner = runner
        self.on_command: OnCommand = _ignore
        self.job_names = tuple(job_names)
        self.owner = owner
        self._abandoned: set[asyncio.Task[None]] = set()
        self._end_query = BatchedCall(self._ends)  # a thousand servers that end together cost two queries
        self._turns = asyncio.Semaphore(SUBMISSIONS_AT_ONCE)
        self._needs_details = False

    async def submit(self, spec: JobSpec, script: str, *, user: str | None) -> int:
        """Submits `script` as `user` (None: as this process's own user); returns the job's id.

        Raises SubmitRefused or SlurmUnreachable. After SlurmUnreachable the job may exist or not; its comment
        helps to find it. If the caller is cancelled, the job is cancelled as soon as its id is known.
        """
        submission = asyncio.ensure_future(self._submit(spec, script, user))
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError:
            task = asyncio.ensure_future(self._undo(submission, user))
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)
            raise

    async def _submit(self, spec: JobSpec, script: str, user: str | None) -> int:
        began = time.time()
        try:
            async with self._turn():
                done = await self._run(
                    argv.sbatch(spec, self.cluster.spelling),
                    user=user,
                    stdin=script,
                    deadline=SUBMIT_SECONDS,
                    late=MAYBE_SUBMITTED,
                )
        except CommandFailed as error:
            late = NOT_ANSWERING if _CONNECT_FAILURE in error.stderr else MAYBE_SUBMITTED
            raise refused(error, late) from error
        ids = parse.job_ids(done.stdout)
        return ids[0] if len(ids) == 1 else await self._find_submitted(spec, user, began, ids, done)

    async def _find_submitted(
        self, spec: JobSpec, user: str | None, began: float, ids: Sequence[int], done: Completed
    ) -> int:
        """The id of the job that sbatch took, according to squeue: sbatch printed no id, or `ids`.

        Raises SlurmUnreachable if Slurm shows no such job, or doesn't answer.
        """
        owner = user or _own_name()
        printed = f"sbatch printed no job id, or several: stdout={done.stdout!r} stderr={done.stderr!r}"
        try:
            jobs = await self.jobs_of(owner, as_user=user)
        except SlurmError as error:
            raise SlurmUnreachable(MAYBE_SUBMITTED, f"{printed}; {error.detail}") from error
        found = identity.find_submitted(jobs, spec, owner, since=began, among=ids)
        if found is None:
            raise SlurmUnreachable(without_id(done), f"{printed}; squeue shows no such job of {owner}")
        log.warning("%s: job %s was found by squeue, because %s", self.cluster.name, found.id, printed)
        return found.id

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Waits for one of the few turns to submit; goes on without one after SUBMISSION_PATIENCE seconds."""
        try:
            async with asyncio.timeout(SUBMISSION_PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._turns.release()

    async def _undo(self, submission: asyncio.Future[int], user: str | None) -> None:
        with contextlib.suppress(SlurmError):  # not submitted, or to be found by its comment
            await self.cancel(await submission, user=user)

    async def test_only(self, spec: JobSpec, script: str, *, user: str | None) -> tuple[datetime | None, str]:
        """When the job could start if it were submitted now, and Slurm's sentence. Raises like `submit`."""
        try:
            done = await self._run(
                argv.sbatch(spec, self.cluster.spelling, test_only=True), user=user, stdin=script
            )
        except CommandFailed as error:
            raise refused(error, NOT_ANSWERING) from error
        return parse.estimated_start(done.stderr), explain.slurm_sentence(done.stderr)

    async def test_script(self, script: str, *, user: str | None) -> tuple[datetime | None, str]:
        """Like `test_only`, for a user's own script, whose own options count."""
        try:
            done = await self._run(argv.sbatch_test(), user=user, stdin=script)
        except CommandFailed as error:
            raise refused(error, NOT_ANSWERING) from error
        return parse.estimated_start(done.stderr), explain.slurm_sentence(done.stderr)

    async def cancel(self, job_id: int, *, user: str | None, signal: str = "") -> None:
        """Cancels the job, or sends it a signal. A job that has ended or is unknown to Slurm is no error."""
        try:
            await self._run(argv.scancel(job_id, signal), user=user)
        except CommandFailed as error:
            if _OVER_ALREADY.search(error.stderr):
                return
            raise failed(error) from error

    async def update(self, job_id: int, settings: Mapping[str, str], *, user: str | None) -> None:
        """Changes a waiting job, which keeps its place in the queue; see `argv.scontrol_update`.

        Raises SlurmError if Slurm refuses it, for example because the job runs by now. Slurm would shorten
        the time of a job that began to run at this very moment, too.
        """
        try:
            await self._run(argv.scontrol_update(job_id, settings), user=user)
        except CommandFailed as error:
            raise failed(error) from error

    async def may_update(self, job_id: int, settings: Mapping[str, str], *, user: str | None) -> bool:
        """May this process run what `update` runs? The sudo rules of a site may not allow it."""
        word, *rest = argv.scontrol_update(job_id, settings)
        return await self.runner.permits([self.cluster.command(word), *rest], user=user)

    async def jobs(
        self, *, comment_part: str = "", ids: Container[int | None] = (), with_queues: bool = False
    ) -> Snapshot:
        """All jobs that slurmctld has (see `job_names` and `owner` above), in one query.

        `comment_part`: only jobs whose comment contains this text, and those with one of these `ids`.
        `with_queues`: also the order of waiting jobs.
        """
        mark = secrets.token_hex(4)
        began = time.monotonic()
        owner = "" if with_queues else self.owner
        text = await self._ask(argv.squeue_jobs(mark, user=owner, names=self.job_names))
        jobs = await _parse(parse.jobs, text, mark, comment_part, ids)
        queues = await _parse(parse.queues, text, mark) if with_queues else {}
        return Snapshot(jobs, began, time.monotonic(), queues)

    async def jobs_of(self, owner: str, *, as_user: str | None = None) -> list[Job]:
        """All jobs of a user, whatever their names; asks `as_user`, who sees them also with PrivateData."""
        mark = secrets.token_hex(4)
        try:
            done = await self._run(argv.squeue_jobs(mark, user=owner), user=as_user)
        except CommandFailed as error:
            raise failed(error) from error
        jobs = (await _parse(parse.jobs, done.stdout, mark)).values()
        return [replace(job, has_local_times=bool(as_user)) for job in jobs if job.user == owner]

    async def job(self, job_id: int, *, user: str | None = None) -> Job | None:
        """The job; None when Slurm answers that there is no such job.

        Where PrivateData hides the jobs of others from the hub's account, ask as the job's `user`.
        """
        mark = secrets.token_hex(4)
        try:
            done = await self._run(argv.squeue_job(mark, job_id), user=user)
        except CommandFailed as error:
            if _NO_SUCH_JOB in error.stderr:
                return None
            raise failed(error) from error
        found = parse.jobs(done.stdout, mark).get(job_id)
        return replace(found, has_local_times=bool(user)) if found else None

    async def ends(self, job_ids: Iterable[int]) -> dict[int, End]:
        """What accounting knows of the jobs, by id, including those that still live (see End.state).

        Without accounting: what slurmctld still knows of those that ended (for its MinJobAge, 5 minutes).
        Callers who ask while a query is running share the next one.
        """
        return await self._end_query.get(job_ids)

    async def _ends(self, ids: Sequence[int]) -> dict[int, End]:
        ids = sorted(ids)
        found: dict[int, End] = {}
        try:
            for first in range(0, len(ids), SACCT_IDS):
                done = await self._run(argv.sacct(ids[first : first + SACCT_IDS]))
                found |= parse.ends(done.stdout)
        except CommandFailed as error:
            if _NO_ACCOUNTING in error.stderr + error.stdout:
                return await self._ends_without_accounting(ids)
            raise failed(error) from error
        return found

    async def _ends_without_accounting(self, ids: Sequence[int]) -> dict[int, End]:
        mark = secrets.token_hex(4)
        text = await self._ask(argv.squeue_jobs(mark, user=self.owner))  # whatever names they have by now
        jobs = await _parse(parse.jobs, text, mark)
        remembered = (jobs[number] for number in ids if number in jobs)
        return {job.id: parse.end_of(job) for job in remembered if job.state.is_over}

    async def submit_hosts(self) -> frozenset[str]:
        """The names of the machine that runs sbatch; none where they aren't known."""
        return await self.runner.host_names()

    async def partitions(self) -> list[Partition]:
        """All partitions, including hidden ones."""
        return await _parse(parse_cluster.partitions, await self._ask(argv.scontrol_partitions()))

    async def nodes(self) -> list[Node]:
        """All nodes, with what is in use on each.

        Asks for details only where GPUs in use aren't counted otherwise: slurmctld has more work with them.
        """
        nodes = await self._nodes()
        if not self._needs_details and any(node.gpus_not_counted for node in nodes):
            self._needs_details = True
            nodes = await self._nodes()
        return nodes

    async def _nodes(self) -> list[Node]:
        text = await self._ask(argv.scontrol_nodes(details=self._needs_details))
        return await _parse(parse_cluster.nodes, text)

    async def node_reason(self, name: str) -> str:
        """Why a node is out of service; "" while it is in service."""
        return parse_cluster.node_reason(await self._ask(argv.scontrol_node(name)))

    async def node_addresses(self, name: str) -> tuple[str, ...]:
        """What Slurm calls a node besides its name: where slurmctld reaches it, and its own host name."""
        return parse_cluster.node_addresses(await self._ask(argv.scontrol_node(name)))

    async def reservations(self) -> list[Reservation]:
        """All reservations, including future ones."""
        return await _parse(parse_cluster.reservations, await self._ask(argv.scontrol_reservations()))

    async def configuration(self) -> Configuration:
        """The settings of slurmctld that matter to users."""
        found = parse_cluster.configuration(await self._ask(argv.scontrol_config()))
        if found.slurm_user_uid is not None:
            self.runner.refuse_uid(found.slurm_user_uid)
        return found

    async def waiting(self) -> Mapping[str, int]:
        """How many jobs wait for each partition."""
        return parse_cluster.waiting(await self._ask(argv.squeue_waiting()))

    async def associations(self, *users: str) -> list[Association]:
        """The associations of users, in every cluster of the accounting database."""
        return await _parse(parse_cluster.associations, await self._ask(argv.sacctmgr_associations(*users)))

    async def accounts(self, cluster_name: str) -> list[Account]:
        """The accounts of the cluster that has this name in the accounting database."""
        return parse_cluster.accounts(await self._ask(argv.sacctmgr_accounts(cluster_name)))

    async def qos(self) -> list[Qos]:
        """Every QOS of the accounting database."""
        return parse_cluster.qos(await self._ask(argv.sacctmgr_qos()))

    async def _ask(self, line: Sequence[str]) -> str:
        try:
            return (await self._run(line)).stdout
        except CommandFailed as error:
            raise failed(error) from error

    async def _run(
        self,
        line: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        deadline: float = QUERY_SECONDS,
        late: str = NOT_ANSWERING,
    ) -> Completed:
        """Runs one of argv's command lines on this cluster. Raises CommandFailed when it fails.

        Raises SlurmUnreachable when it doesn't end within `deadline` seconds, with the text `late`, and when
        it can't be run. Raises SlurmError for a user as whom the hub runs nothing.
        """
        command = [self.cluster.command(line[0]), *line[1:]]
        env = self.cluster.environment() if user else {**argv.EPOCH_TIMES, **self.cluster.environment()}
        try:
            with self._reported(line[0]):
                return await self.runner.run(command, user=user, stdin=stdin, env=env, deadline=deadline)
        except CommandFailed:
            raise
        except AccountRefused as error:
            raise SlurmError(error.user, error.detail) from error
        except CommandTimeout as error:
            raise SlurmUnreachable(late, error.detail) from error
        except CommandError as error:  # no such command: waiting won't help
            raise SlurmUnreachable(f"{error.user} Please tell the operator.", error.detail) from error

    @contextlib.contextmanager
    def _reported(self, command: str) -> Iterator[None]:
        """Calls `on_command` when the command has ended, however it ended."""
        outcome, began = "missing", time.monotonic()
        try:
            yield
            outcome = "ok"
        except CommandFailed:
            outcome = "failed"
            raise
        except CommandTimeout:
            outcome = "late"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self.on_command(self.cluster.name, command, outcome, time.monotonic() - began)


def _own_name() -> str:
    """The name of the account that runs this process."""
    return pwd.getpwuid(os.getuid()).pw_name


async def _parse(parser: Callable[..., T], text: str, *more: object) -> T:
    """Parses here, or in a thread when that would block the event loop for long."""
    if len(text) < THREAD_FROM:
        return parser(text, *more)
    return await asyncio.to_thread(parser, text, *more)
