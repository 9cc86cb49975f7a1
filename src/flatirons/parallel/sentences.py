"""What a notebook is told of a job that its engines or workers are in. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from flatirons.slurm import explain
from flatirons.slurm.model import Job
from flatirons.slurm.offers import expanded

LONGEST_CODE = 24  # characters; a longer one stands in the sentence only


def waiting(job: Job, subject: str = "Engines", verb: str = "wait") -> str:
    """Why a job waits, what can be done, and when Slurm expects to start it."""
    sentence = f"{subject} (job {job.id}) {verb}: {explain.reason(job.reason)}"
    if job.start:
        sentence += f" Slurm expects the start at {job.start.astimezone():%H:%M on %d %b}."
    return sentence


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
