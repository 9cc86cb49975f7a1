"""The messages that a notebook shows about the jobs of its engines and workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flatirons.errors import TELL_OPERATOR
from flatirons.parallel.login_environment import PROFILE_ENDED
from flatirons.slurm import explain
from flatirons.slurm.hostlist import expanded
from flatirons.slurm.model import Job, JobState

LONGEST_CODE = 24  # characters of Slurm's reason that a progress bar has room for


def waiting(job: Job, subject: str = "Engines", verb: str = " wait") -> str:
    """Why a job waits, what the user can do, and when Slurm expects to start it."""
    sentence = f"{subject} (job {job.id}){verb}: {explain.reason(job.reason)}"
    if job.start:
        sentence += f" Slurm expects to start it at {job.start.astimezone():%H:%M on %d %b}."
    return sentence


def new_part(message: str, shown: str) -> str:
    """The part of a message that is not in the message shown before: an estimate that was added, or all."""
    return message.removeprefix(shown).strip()


def progress_text(job: Job, now: datetime) -> str:
    """The state of a job in a few words, for a progress bar."""
    if job.state.is_waiting:
        code = job.reason.partition(",")[0]
        details = [] if code in ("", "None") or " " in code or len(code) > LONGEST_CODE else [code]
        if job.start:
            details.append(f"about {_time_of_day(job.start.astimezone(), now.astimezone())}")
        return f"waits ({', '.join(details)})" if details else "waits"
    if job.state.is_over:
        return f"job {job.id} has ended"
    return f"starts on {job.nodes}" if job.nodes else "starts"


def _time_of_day(start: datetime, now: datetime) -> str:
    if start.date() == now.date():
        return f"{start:%H:%M}"
    return f"{start:%a %H:%M}" if start - now < timedelta(days=6) else f"{start:%d %b}"


def why_ended(job: Job) -> str:
    """Why a job of engines, of a worker or of Spark ended, and what to do."""
    if job.state is JobState.FAILED and job.exit_code == PROFILE_ENDED:
        node = job.batch_host or job.nodes
        return f"/etc/profile of {node} ended the job's shell before anything could start. {TELL_OPERATOR}"
    return str(explain.end(job))


def find_lost_nodes(before: Job | None, now: Job) -> tuple[str, ...]:
    """The nodes that a running job has lost since `before`: Slurm removes nodes that fail."""
    if not before or not before.state.is_running or not now.state.is_running or not now.nodes:
        return ()
    left = set(expanded(now.nodes))
    return tuple(name for name in expanded(before.nodes) if name not in left)


def nodes_removed(nodes: tuple[str, ...], job: Job) -> str:
    """That Slurm removed failed nodes from a job of engines, and what to do."""
    return (
        f"Slurm has removed {', '.join(nodes)} from the engines (job {job.id}) after a failure; "
        f"the engines on {job.nodes} keep running. {RECOMPUTE}"
    )


RECOMPUTE = (
    "Tasks that ran there raise EngineError: run them again. "
    "For new engines: rc.cluster.start_engines_sync(n)."
)


def engines_lost(node: str, lost: int, left: int) -> str:
    """That engines were lost with their node, and what to do."""
    what = "1 engine is" if lost == 1 else f"{lost} engines are"
    rest = f"; {left} on other nodes keep running." if left else ", and no engine is left."
    return f"Node {node} no longer answers: {what} lost with it{rest} {RECOMPUTE}"


def workers_wait(jobs: Sequence[Job]) -> str:
    """Why Dask's workers wait; "" when none of them waits, or Slurm has given no reason yet."""
    explained = [job for job in jobs if job.reason not in ("", "None")]
    if not explained:
        return ""
    first = min(explained, key=lambda job: (job.start or _NEVER, job.id))
    if len(jobs) == 1:
        return waiting(first, "Dask's worker", " waits")
    return waiting(first, f"{len(jobs)} of Dask's workers wait, the first", "")


def worker_ended(worker: str, job: Job) -> str:
    """Why a worker's job ended although nobody stopped it, and what to do."""
    return f"Dask's worker {worker} (job {job.id}) has ended: {why_ended(job)} {SCALE}"


def worker_lost(worker: str, node: str, left: int) -> str:
    """That a worker was lost with its node, and what to do."""
    rest = "the other workers repeat its work" if left else "its work waits for a new worker"
    return f"Node {node} no longer answers: Dask has lost its worker {worker}; {rest}. {SCALE}"


SCALE = "To replace the worker, call cluster.scale(...) again with the same number after 15 seconds."
_NEVER = datetime.max.replace(tzinfo=UTC)


def executor_lost(node: str, left: int) -> str:
    """That an executor of Spark was lost with its node, and what to do."""
    others = "the other node" if left == 1 else f"the {left} other nodes"
    return (
        f"Node {node} no longer answers: Spark has lost the executor on it, and repeats its work on {others} "
        "within about a minute. To replace the node, call spark.stop() and then session() again."
    )
