"""Why a job ended: its last state and what accounting knows -> a plain sentence and what to do; pure.

Slurm may report the same end in several ways: a job that ran out of memory may be OUT_OF_MEMORY, or FAILED
with signal 9.
"""

from __future__ import annotations

import re

from flatirons.errors import TELL_OPERATOR
from flatirons.slurm.explain.explanation import Explanation
from flatirons.slurm.explain.reasons import REASON_CODES
from flatirons.slurm.model import End, Job, JobState
from flatirons.units import memory_in_words, time_in_words

_RAISED = re.compile(r"RaisedSignal:(\d+)")
_NOT_LAUNCHED = 53  # the signal of a job that slurmstepd can't start: no folder, no log file; seen with 24.11
_LAUNCH_REASONS = (
    *("JobLaunchFailure", "Prolog", "SystemFailure", "NodeDown", "BadConstraints", "InactiveLimit"),
)
_SHELL_CODES = {
    126: "a program in it may not be executed",
    127: "a program in it was not found",
    130: "it was interrupted",
    137: "it was killed",
    143: "it was asked to end",
}
_START_AGAIN = "Start again: Slurm will take another node."


def end(job: Job, known: End | None = None) -> Explanation:
    """Why a job ended, from its last state and, where accounting has it, from its `known` end."""
    facts = known if known and known.state.is_over else _end_of(job)
    match facts.state:
        case JobState.OUT_OF_MEMORY:
            return _out_of_memory(facts)
        case JobState.TIMEOUT:
            return _timeout(job)
        case JobState.FAILED:
            return _failed(job, facts)
        case JobState.CANCELLED:
            return _cancelled(facts)
        case JobState.NODE_FAIL:
            return _node_fail(job, facts)
    return _OTHER_ENDS.get(facts.state) or Explanation(f"The last state of the job was {job.raw_state}.")


def _end_of(job: Job) -> End:
    return End(job.id, job.state, job.exit_code, job.signal, node=job.nodes, raw_state=job.raw_state)


_OTHER_ENDS = {
    JobState.COMPLETED: Explanation("The job ended by itself, without an error."),
    JobState.PREEMPTED: Explanation(
        "The job had to make way for a job with a higher claim to its nodes (preemption).",
        "Start again, or choose a partition or QOS that isn't preempted.",
    ),
    JobState.BOOT_FAIL: Explanation("A node of the job did not boot.", _START_AGAIN),
    JobState.DEADLINE: Explanation("The job could not end before its deadline, so Slurm ended it."),
    JobState.REVOKED: Explanation("The job was started on another cluster of the federation."),
    JobState.VANISHED: Explanation(
        "Slurm no longer knows the job, and its accounting doesn't tell how it ended.",
        "Start again; if this happens more than once, please tell the operator.",
    ),
}


def _out_of_memory(facts: End) -> Explanation:
    requested, used = facts.memory_per_node_mib, facts.max_rss_mib
    each = " on each node" if facts.nodes and facts.nodes > 1 else ""
    sentences = [
        "The job ran out of memory and was killed.",
        f"It had asked for {memory_in_words(requested)}{each}." if requested else "",
        f"Slurm last saw it use {memory_in_words(used)}." if used else "",
    ]
    return Explanation(" ".join(filter(None, sentences)), "Ask for more memory.")


def _timeout(job: Job) -> Explanation:
    minutes = job.runtime_limit_minutes
    limit = f" of {time_in_words(60 * minutes)}" if minutes else ""
    return Explanation(f"The job reached its time limit{limit}.", "Ask for more time.")


def _failed(job: Job, facts: End) -> Explanation:
    if job.reason in _LAUNCH_REASONS:
        return REASON_CODES[job.reason]
    if is_launch_failure(job, facts):
        return REASON_CODES["JobLaunchFailure"]
    signal = signal_of(job, facts)
    if signal == 9 and is_near_limit(facts):
        return _out_of_memory(facts)
    if signal:
        return Explanation(f"The job was ended by signal {signal}.", "Its log may say more.")
    if facts.exit_code:
        meaning = _SHELL_CODES.get(facts.exit_code)
        hint = f": {meaning}" if meaning else ""
        return Explanation(
            f"The job's script ended with exit code {facts.exit_code}{hint}.", "Its log may say more."
        )
    return Explanation("The job failed before its script could run.", TELL_OPERATOR)


def _cancelled(facts: End) -> Explanation:
    if facts.cancelled_by == 0:
        return Explanation("The job was cancelled by an operator (root).", "Ask them before you start again.")
    whom = facts.cancelled_by_name
    if not whom and facts.cancelled_by is not None:
        whom = f"the user with id {facts.cancelled_by}"
    return Explanation(f"The job was cancelled by {whom}." if whom else "The job was cancelled.")


def _node_fail(job: Job, facts: End) -> Explanation:
    node = job.batch_host or facts.node
    which = f"Its node {node}" if node else "A node of the job"
    return Explanation(f"{which} failed.", _START_AGAIN)


def signal_of(job: Job, facts: End) -> int | None:
    """The signal that ended the job; None when no signal did."""
    raised = _RAISED.match(job.reason)
    return facts.signal or (int(raised[1]) if raised else None)


def is_launch_failure(job: Job, facts: End | None) -> bool:
    """Did Slurm fail to start the job's script at all?"""
    return job.reason in _LAUNCH_REASONS or _NOT_LAUNCHED in (job.signal, facts.signal if facts else None)


def is_near_limit(facts: End) -> bool:
    """Was the job seen to use at least 90% of the memory that it had asked for on each node?"""
    if facts.max_rss_mib is None or not facts.memory_per_node_mib:
        return False
    return facts.max_rss_mib >= 0.9 * facts.memory_per_node_mib
