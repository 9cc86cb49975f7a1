"""Why a server ended, from what Slurm, its starter and its log say; pure.

Slurm knows best about memory, time, nodes and who cancelled; the starter about the image, the home and the
port; the log about what went wrong inside. They are consulted in this order. Every cause is a plain sentence
with advice, and where possible with the options that would have helped.
"""

from __future__ import annotations

from dataclasses import replace

from flatirons import units
from flatirons.errors import TELL_OPERATOR
from flatirons.job.node.calls import NOT_WANTED
from flatirons.servers import starter_ends
from flatirons.servers.causes import HUB, NOT_EXPECTED, Cause, Receiver, StarterEnd
from flatirons.servers.log_patterns import cause_in_log
from flatirons.slurm import explain
from flatirons.slurm.model import End, Job, JobState
from flatirons.units import time_in_words

ENDED_BY_ITSELF = "The notebook server ended by itself, without an error."


def diagnose(
    job: Job | None,
    end: End | None,
    said: StarterEnd | None,
    *,
    was_up: bool,
    has_starter_called: bool = False,
    node_reason: str = "",
    receiver: Receiver = HUB,
) -> Cause:
    """The cause, as far as it is known.

    `was_up`: the server listened. `has_starter_called`: its starter made a call. `node_reason`: why its node
    is out of service, if known.
    """
    facts = _facts(job, end)
    by_slurm = _by_slurm(job, facts, node_reason) if job and facts else None
    if by_slurm and facts:
        return _outlived(by_slurm, facts) if _has_outlived_kill(facts, said, was_up=was_up) else by_slurm
    if said:
        cause = _by_starter(said, receiver, was_up=was_up)
        return replace(cause, fix=_more_memory(facts)) if facts and cause.kind == "out_of_memory" else cause
    if job and facts:
        return _without_end_call(job, facts, receiver, has_called=was_up or has_starter_called)
    return Cause("failed", "The server ended.")


def timeout_cause(
    job: Job | None, *, queue: float, node: float, has_starter_called: bool, receiver: Receiver = HUB
) -> Cause:
    """Why a start was given up: it took more than `queue` seconds, or from the job's start more than `node`.

    `has_starter_called`: its starter made a call.
    """
    if job is None or not (job.state.is_running or job.state.is_ending):
        sentence = f"The job waited longer than {time_in_words(queue)} in the queue, so it was cancelled."
        advice = "A shorter run time or fewer resources may start sooner."
        return Cause("too_long_in_queue", sentence, advice)
    began, end = f"The job started on {job.batch_host}", f"within {time_in_words(node)}, so it was cancelled."
    if has_starter_called:
        return Cause("not_answering", f"{began}, but no server answered {end}", "Please try again.")
    advice = f"{TELL_OPERATOR} {receiver.needs}"
    return Cause(receiver.kind, f"{began}, but {receiver.no_call} {end}", advice)


def _facts(job: Job | None, end: End | None) -> End | None:
    """What accounting knows of the end, else what the queue shows of it."""
    if end and end.state.is_over:
        return end
    return End(job.id, job.state, job.exit_code, job.signal, node=job.nodes) if job else None


def _without_end_call(job: Job, facts: End, receiver: Receiver, *, has_called: bool) -> Cause:
    """The cause for a job whose starter didn't report its end; `has_called`: it made an earlier call."""
    by_slurm = explain.end(job, facts)
    if facts.state is not JobState.FAILED:
        kind = "completed" if facts.state is JobState.COMPLETED else "failed"
        return Cause(kind, by_slurm.sentence, by_slurm.advice)
    if explain.signal_of(job, facts):
        return Cause("signal", by_slurm.sentence, by_slurm.advice)
    if facts.exit_code == NOT_WANTED:
        return NOT_EXPECTED
    if has_called:
        return Cause("failed", by_slurm.sentence, by_slurm.advice)
    node = job.batch_host or job.nodes or "its node"
    return Cause(
        receiver.kind,
        f"The job started on {node}, and {receiver.ended_without_call}.",
        f"{TELL_OPERATOR} {receiver.needs}",
    )


# -- what Slurm knows best


def _by_slurm(job: Job, facts: End, node_reason: str) -> Cause | None:
    """The cause that Slurm gives; None where the starter and the log may know more."""
    if _has_failed_prolog(job, facts, node_reason):
        return _failed_prolog(job)
    if facts.state is JobState.COMPLETED:
        return None
    said = explain.end(job, facts if facts.elapsed_seconds is not None else None)
    if _is_out_of_memory(facts):
        return Cause("out_of_memory", said.sentence, said.advice, _more_memory(facts))
    if facts.state is JobState.FAILED and not explain.is_launch_failure(job, facts):
        return None
    fix = _more_time(job) if facts.state is JobState.TIMEOUT else {}
    return Cause(_kind(facts), said.sentence, said.advice, fix)


def _kind(facts: End) -> str:
    if facts.state is JobState.CANCELLED and facts.cancelled_by == 0:
        return "cancelled_by_operator"
    return _KIND_BY_STATE.get(facts.state, "failed")


_KIND_BY_STATE = {
    JobState.CANCELLED: "cancelled",
    JobState.FAILED: "launch",
    JobState.TIMEOUT: "time_limit",
    JobState.NODE_FAIL: "node_failure",
    JobState.BOOT_FAIL: "node_failure",
    JobState.PREEMPTED: "preempted",
    JobState.DEADLINE: "deadline",
    JobState.VANISHED: "vanished",
    JobState.REVOKED: "revoked",
}


def _has_failed_prolog(job: Job, facts: End, node_reason: str) -> bool:
    """Whether the job ended because its node's prolog failed.

    Slurm cancels a job that may not be requeued, such as ours, as root, and drains the node for "Prolog
    error" (seen with 24.11, with PrologFlags=Alloc and without). The job itself looks as if an operator had
    cancelled it.
    """
    if facts.state is JobState.CANCELLED:
        return "prolog" in node_reason.lower() and not facts.cancelled_by
    return facts.state is JobState.FAILED and job.reason == "Prolog"


def _failed_prolog(job: Job) -> Cause:
    node = job.batch_host or job.nodes or "its node"
    return Cause(
        "prolog",
        f"Slurm's prolog, which prepares a node for a job, failed on {node}.",
        f"Start again: Slurm should take another node. {TELL_OPERATOR}",
    )


def _is_out_of_memory(facts: End) -> bool:
    if facts.state is JobState.OUT_OF_MEMORY:
        return True
    return facts.state is JobState.FAILED and facts.signal == 9 and explain.is_near_limit(facts)


def _has_outlived_kill(facts: End, said: StarterEnd | None, *, was_up: bool) -> bool:
    """Whether something else in the job ran out of memory, such as a kernel, and the server ended later.

    Slurm calls a job OUT_OF_MEMORY if any process in it was killed for its memory, however the job ended.
    """
    is_clean = said is not None and was_up and said.exit_code == 0 and not said.signal
    return is_clean and facts.state is JobState.OUT_OF_MEMORY


def _outlived(by_slurm: Cause, facts: End) -> Cause:
    requested = facts.memory_per_node_mib
    asked = f" ({units.memory_in_words(requested)})" if requested else ""
    killed = f"Earlier, a kernel or another program was killed: the job had used all of its memory{asked}."
    sentence = f"{ENDED_BY_ITSELF} {killed}"
    return replace(by_slurm, kind="completed", sentence=sentence)


def _more_memory(facts: End) -> dict[str, str]:
    """Twice the memory that the job had on each node, rounded up to whole GiB."""
    requested = facts.memory_per_node_mib or 0
    return {"memory": units.memory(-(-2 * requested // 1024) * 1024)} if requested else {}


def _more_time(job: Job) -> dict[str, str]:
    limit = job.runtime_limit_minutes
    return {"runtime": units.clock(2 * limit)} if limit else {}


# -- what the starter and the log say


def _by_starter(said: StarterEnd, receiver: Receiver, *, was_up: bool) -> Cause:
    """The cause that the starter names, else the one that the log is a sign of, else the exit code.

    The log of a server that was up and ended without an error isn't read.
    """
    if named := starter_ends.cause_of(said, receiver):
        in_log = cause_in_log(said.log) if said.kind in starter_ends.OF_THE_SITE else None
        return in_log if in_log and in_log.kind == "module_missing" else named
    is_clean = was_up and said.exit_code == 0 and not said.signal
    lines = [*(() if is_clean else said.log), *([said.message] if said.message else [])]
    return cause_in_log(lines) or _by_exit(said, was_up=was_up)


def _by_exit(said: StarterEnd, *, was_up: bool) -> Cause:
    """The cause by the message, which is that of an operating-system error, or by the exit code.

    A starter of an older version reports only a message, too.
    """
    when = "" if was_up else " before it listened"
    if said.message:
        return Cause("stopped" if said.exit_code == 0 else "failed", said.message)
    if said.signal:
        sentence = f"The notebook server was ended by signal {said.signal}{when}."
        return Cause("signal", sentence, "Its log may say why.")
    if not said.exit_code and was_up:
        return Cause("completed", ENDED_BY_ITSELF)
    sentence = f"The notebook server ended with exit code {said.exit_code}{when}."
    return Cause("failed", sentence, "The end of its log may say why.")
