"""What a notebook is told of a job that its engines or workers are in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from flatirons.slurm import explain
from flatirons.slurm.model import Job
from flatirons.slurm.parse_cluster import expanded

LONGEST_CODE = 24  # characters; a longer one stands in the sentence only


def waiting(job: Job, subject: str = "Engines", verb: str = " wait") -> str:
    """Why a job waits, what can be done, and when Slurm expects to start it."""
    sentence = f"{subject} (job {job.id}){verb}: {explain.reason(job.reason)}"
    if job.start:
        sentence += f" Slurm expects the start at {job.start.astimezone():%H:%M on %d %b}."
    return sentence


def news(sentence: str, told: str) -> str:
    """What of a sentence is new to whoever was told another: an estimate that came later, or all of it."""
    return sentence.removeprefix(told).strip()


def on_bar(job: Job, now: datetime) -> str:
    """The state of a job in the few words for which a progress bar has room."""
    if job.state.is_waiting:
        code = job.reason.partition(",")[0]
        told = [] if code in ("", "None") or " " in code or len(code) > LONGEST_CODE else [code]
        if job.start:
            told.append(f"about {_clock(job.start.astimezone(), now.astimezone())}")
        return f"waits ({', '.join(told)})" if told else "waits"
    if job.state.is_over:
        return f"job {job.id} has ended"
    return f"starts on {job.nodes}" if job.nodes else "starts"


def _clock(start: datetime, now: datetime) -> str:
    if start.date() == now.date():
        return f"{start:%H:%M}"
    return f"{start:%a %H:%M}" if start - now < timedelta(days=6) else f"{start:%d %b}"


def lost_nodes(before: Job | None, now: Job) -> tuple[str, ...]:
    """The nodes that a running job had and has no more: Slurm takes those away that fail."""
    if not before or not before.state.is_running or not now.state.is_running or not now.nodes:
        return ()
    left = set(expanded(now.nodes))
    return tuple(name for name in expanded(before.nodes) if name not in left)


def slurm_lost(nodes: tuple[str, ...], job: Job) -> str:
    """That Slurm took nodes away from the engines, and what to do."""
    return (
        f"Slurm has taken {', '.join(nodes)} from the engines (job {job.id}), as failed; "
        f"those on {job.nodes} go on. {AGAIN}"
    )


AGAIN = "What ran there raises EngineError: compute it again. New engines: rc.cluster.start_engines_sync(n)."


def node_lost(host: str, gone: int, stay: int) -> str:
    """That engines went with their node, and what to do."""
    what = "1 engine is" if gone == 1 else f"{gone} engines are"
    rest = f"; {stay} on other nodes go on." if stay else ", and no other is left."
    return f"Node {host} no longer answers: {what} gone with it{rest} {AGAIN}"


def workers_wait(jobs: Sequence[Job]) -> str:
    """Why Dask's workers wait, the first of them; "" when none does, or Slurm doesn't say yet."""
    told = [job for job in jobs if job.reason not in ("", "None")]
    if not told:
        return ""
    first = min(told, key=lambda job: (job.start or _NEVER, job.id))
    if len(jobs) == 1:
        return waiting(first, "Dask's worker", " waits")
    return waiting(first, f"{len(jobs)} of Dask's workers wait, the first", "")


def worker_ended(worker: str, job: Job) -> str:
    """Why a worker's job ended that nobody ended, and what to do."""
    return f"Dask's worker {worker} (job {job.id}) has ended: {explain.end(job)} {SCALE}"


def worker_lost(worker: str, node: str, stay: int) -> str:
    """That a worker went with its node, and what to do."""
    rest = "the others compute again what it had" if stay else "what it had waits for another"
    return f"Node {node} no longer answers: Dask has lost its worker {worker}; {rest}. {SCALE}"


SCALE = "For another worker call cluster.scale(...) again, as before, in a quarter of a minute."
_NEVER = datetime.max.replace(tzinfo=UTC)


def spark_lost(node: str, stay: int) -> str:
    """That an executor went with its node, and what to do."""
    others = "the other node" if stay == 1 else f"the {stay} other nodes"
    return (
        f"Node {node} no longer answers: Spark has lost the executor on it, and within a minute or so "
        f"computes again on {others} what ran there. For a new node: spark.stop(), then session() again."
    )
