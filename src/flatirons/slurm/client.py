"""Asks Slurm and tells it what to do, through a runner; async. One client for each cluster.

Raises SubmitRefused where Slurm said no to a job, SlurmUnreachable where there was no answer or none that can
be read, SlurmError where it refused anything else. Never says "no such job" for an error that we don't know.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar

from flatirons.concurrency import BatchedCall
from flatirons.errors import (
    CommandError,
    CommandFailed,
    CommandTimeout,
    SlurmError,
    SlurmUnreachable,
    SubmitRefused,
)
from flatirons.runner import Completed, Runner
from flatirons.slurm import argv, explain, parse, parse_cluster
from flatirons.slurm.accounting import Account, Association, Qos
from flatirons.slurm.model import (
    Cluster,
    Configuration,
    End,
    Job,
    JobSpec,
    Node,
    Partition,
    Reservation,
    Snapshot,
)

T = TypeVar("T")

QUERY_SECONDS = 30.0
SUBMIT_SECONDS = 60.0
SUBMISSIONS_AT_ONCE = 8  # more of them only wait for slurmctld and munged, and for each other
SUBMISSION_PATIENCE = 10.0  # seconds: when Slurm hangs, a few that hang hold nobody else up
SACCT_IDS = 1000  # at a time: one argument of a command holds at most 128 KiB
# Characters: a longer answer (about 1,000 jobs) is parsed in a thread, so that the event loop isn't held up.
THREAD_FROM = 250_000

NOT_ANSWERING = "Slurm does not answer at the moment. Please try again in a minute."
MAYBE_SUBMITTED = (
    "Slurm did not say whether it took the job. If it did, the job will be cancelled. "
    "Please try again in a minute."
)
NOT_ALLOWED = "The hub may not run Slurm's commands in your name. Please tell the operator."

# Slurm's words for "I wasn't reached" and "not now", from slurm_errno.c of 22.05 to 26.05. Anything else that
# sbatch prints is a refusal.
_UNREACHED = re.compile(
    r"""
    Unable\ to\ contact\ slurm\ controller | Communication\ connection\ failure
    | Message\ (send|receive)\ failure | Communication\ shutdown\ failure
    | [Tt]imed\ out | Zero\ Bytes\ were\ transmitted | Connection\ (refused|reset|rejected|forced)
    | Slurm\ backup\ controller\ in\ standby\ mode | Rate\ limit\ exceeded
    | Protocol\ authentication\ error | [Mm]unge | Unable\ to\ establish\ (controller|control)
    | Slurm\ temporarily\ unable | Unexpected\ message\ received | Incompatible\ versions
    | Could\ not\ establish\ a\ configuration\ source | Unable\ to\ process\ configuration\ file
    | Name\ or\ service\ not\ known | Can't\ find\ an\ address | Resource\ temporarily\ unavailable
    | Slurm\ job\ queue\ full | Problem\ talking\ to\ the\ database
    | ^ssh: | ^kex_exchange | Host\ key\ verification\ failed | Permission\ denied\ \( | Connection\ closed
    """,
    re.VERBOSE | re.MULTILINE,
)
# What sudo says of itself, but for the warning that it can't look up its own host's name.
_NOT_ALLOWED = re.compile(r"^sudo: (?!unable to resolve host)|^Sorry, user .* not allowed", re.MULTILINE)
_CONNECT_FAILURE = "Unable to contact slurm controller (connect failure)"
_NO_SUCH_JOB = "Invalid job id specified"
_NO_ACCOUNTING = "Slurm accounting storage is disabled"
_OVER_ALREADY = re.compile(
    "Invalid job id specified|already completing or completed|Job has already finished"
)


OnCommand: TypeAlias = Callable[[str, str, str, float], None]
"""Told of each command that ended: the cluster, the command, its outcome (ok, failed, late, missing or
cancelled), and how many seconds it took."""


def _nobody_counts(cluster: str, command: str, outcome: str, seconds: float) -> None:
    """What a client tells nobody."""


class SlurmClient:
    """One cluster's Slurm."""

    def __init__(
        self, cluster: Cluster, runner: Runner, *, job_names: Sequence[str] = (), owner: str = ""
    ) -> None:
        """`job_names`: when all jobs that matter have one of a few names, squeue prints only those. `owner`:
        when they are all of one user, slurmctld tells of that user's alone, unless queues are asked for.
        """
        self.cluster = cluster
        self.runner = runner
        self.on_command: OnCommand = _nobody_counts
        self.job_names = tuple(job_names)
        self.owner = owner
        self._abandoned: set[asyncio.Task[None]] = set()
        self._end_query = BatchedCall(self._ends)  # a thousand servers that end together cost two queries
        self._turns = asyncio.Semaphore(SUBMISSIONS_AT_ONCE)

    async def submit(self, spec: JobSpec, script: str, *, user: str | None) -> int:
        """The id of the job that runs `script` as `user` (None: as ourselves).

        Raises SubmitRefused, or SlurmUnreachable: then the job may be there or not, and is to be looked for
        by its comment. A caller that is cancelled meanwhile leaves no job behind: once its id is known, it is
        cancelled.
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
        try:
            async with self._turn():
                done = await self._run(
                    argv.sbatch(spec), user=user, stdin=script, deadline=SUBMIT_SECONDS, late=MAYBE_SUBMITTED
                )
        except CommandFailed as error:
            late = NOT_ANSWERING if _CONNECT_FAILURE in error.stderr else MAYBE_SUBMITTED
            raise refused(error, late) from error
        return parse.job_id(done.stdout)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the few turns to submit, or after some patience none."""
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
        """When the job could start if it were submitted now, and Slurm's sentence; raises like `submit`."""
        try:
            done = await self._run(argv.sbatch(spec, test_only=True), user=user, stdin=script)
        except CommandFailed as error:
            raise refused(error, NOT_ANSWERING) from error
        return parse.estimated_start(done.stderr), explain.slurm_sentence(done.stderr)

    async def cancel(self, job_id: int, *, user: str | None, signal: str = "") -> None:
        """Cancels the job, or signals it; a job that is over already, or unknown to Slurm, is no error."""
        try:
            await self._run(argv.scancel(job_id, signal), user=user)
        except CommandFailed as error:
            if _OVER_ALREADY.search(error.stderr):
                return
            raise _failed(error) from error

    async def jobs(self, *, of: str = "", with_queues: bool = False) -> Snapshot:
        """All jobs that slurmctld has (with `job_names`: of those names, with `owner`: theirs), in one query.

        `of`: only those whose comment holds this. `with_queues`: and in which order all jobs wait.
        """
        mark = secrets.token_hex(4)
        began = time.monotonic()
        owner = "" if with_queues else self.owner
        text = await self._ask(argv.squeue_jobs(mark, user=owner, names=self.job_names))
        jobs = await _apart(parse.jobs, text, mark, of)
        queues = await _apart(parse.queues, text, mark) if with_queues else {}
        return Snapshot(jobs, began, time.monotonic(), queues)

    async def job(self, job_id: int, *, user: str | None = None) -> Job | None:
        """The job; None when Slurm answers that it has none.

        Where PrivateData hides others' jobs from the hub's account, ask as the job's `user`.
        """
        mark = secrets.token_hex(4)
        try:
            done = await self._run(argv.squeue_job(mark, job_id), user=user)
        except CommandFailed as error:
            if _NO_SUCH_JOB in error.stderr:
                return None
            raise _failed(error) from error
        return parse.jobs(done.stdout, mark).get(job_id)

    async def ends(self, job_ids: Iterable[int]) -> dict[int, End]:
        """What accounting knows of the jobs, by id; of those that still live too (see End.state).

        Without accounting, what slurmctld still remembers of those that are over (its MinJobAge, 5 minutes).
        Whoever asks while a question is under way shares the next one.
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
            raise _failed(error) from error
        return found

    async def _ends_without_accounting(self, ids: Sequence[int]) -> dict[int, End]:
        snapshot = await self.jobs()
        remembered = (snapshot.jobs[number] for number in ids if number in snapshot.jobs)
        return {job.id: parse.end_of(job) for job in remembered if job.state.is_over}

    async def partitions(self) -> list[Partition]:
        """All partitions, hidden ones too."""
        return await _apart(parse_cluster.partitions, await self._ask(argv.scontrol_partitions()))

    async def nodes(self) -> list[Node]:
        """All nodes with what is in use of them now."""
        return await _apart(parse_cluster.nodes, await self._ask(argv.scontrol_nodes()))

    async def node_reason(self, name: str) -> str:
        """Why a node is out of service; "" while it isn't."""
        return parse_cluster.node_reason(await self._ask(argv.scontrol_node(name)))

    async def reservations(self) -> list[Reservation]:
        """All reservations, those to come too."""
        return await _apart(parse_cluster.reservations, await self._ask(argv.scontrol_reservations()))

    async def configuration(self) -> Configuration:
        """What of slurmctld's configuration matters to its users."""
        return parse_cluster.configuration(await self._ask(argv.scontrol_config()))

    async def waiting(self) -> Mapping[str, int]:
        """How many jobs wait for each partition."""
        return parse_cluster.waiting(await self._ask(argv.squeue_waiting()))

    async def associations(self, *users: str) -> list[Association]:
        """What users may charge, in every cluster of the accounting database."""
        return await _apart(parse_cluster.associations, await self._ask(argv.sacctmgr_associations(*users)))

    async def accounts(self, cluster_name: str) -> list[Account]:
        """The accounts of the cluster that accounting calls so."""
        return parse_cluster.accounts(await self._ask(argv.sacctmgr_accounts(cluster_name)))

    async def qos(self) -> list[Qos]:
        """Every QOS of the accounting database."""
        return parse_cluster.qos(await self._ask(argv.sacctmgr_qos()))

    async def _ask(self, line: Sequence[str]) -> str:
        try:
            return (await self._run(line)).stdout
        except CommandFailed as error:
            raise _failed(error) from error

    async def _run(
        self,
        line: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        deadline: float = QUERY_SECONDS,
        late: str = NOT_ANSWERING,
    ) -> Completed:
        """Runs one of argv's lines on this cluster; one that is late or missing is SlurmUnreachable."""
        command = [self.cluster.command(line[0]), *line[1:]]
        env = self.cluster.environment() if user else {**argv.EPOCH_TIMES, **self.cluster.environment()}
        outcome, began = "missing", time.monotonic()
        try:
            done = await self.runner.run(command, user=user, stdin=stdin, env=env, deadline=deadline)
            outcome = "ok"
            return done
        except CommandFailed:
            outcome = "failed"
            raise
        except CommandTimeout as error:
            outcome = "late"
            raise SlurmUnreachable(late, error.detail) from error
        except CommandError as error:  # no such command, or no such account: waiting won't help
            raise SlurmUnreachable(f"{error.user} Please tell the operator.", error.detail) from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self.on_command(self.cluster.name, line[0], outcome, time.monotonic() - began)


def _failed(error: CommandFailed) -> SlurmError:
    """What a command other than sbatch means by its failure."""
    if _NOT_ALLOWED.search(error.stderr):
        return SlurmUnreachable(NOT_ALLOWED, error.detail)
    if _UNREACHED.search(error.stderr) or not error.stderr.strip():
        return SlurmUnreachable(NOT_ANSWERING, error.detail)
    sentence = explain.slurm_sentence(error.stderr)
    return SlurmError(f"Slurm says: {sentence}", error.detail)


def refused(error: CommandFailed, unreached: str = NOT_ANSWERING) -> SlurmError:
    """What sbatch means by its failure; `unreached` is said when it didn't reach Slurm."""
    failure = _failed(error)
    if isinstance(failure, SlurmUnreachable):
        return failure if failure.user == NOT_ALLOWED else SlurmUnreachable(unreached, error.detail)
    sentence, explanation = explain.refusal(error.stderr)
    return SubmitRefused(f"Slurm refused the job: {sentence} {explanation}".strip(), error.detail)


async def _apart(parser: Callable[..., T], text: str, *more: str) -> T:
    """Parses here, or in a thread where that would take long."""
    if len(text) < THREAD_FROM:
        return parser(text, *more)
    return await asyncio.to_thread(parser, text, *more)
