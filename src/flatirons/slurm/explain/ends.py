"""Pending reasons, end states and refusals -> a plain sentence and what to do; pure.

What Slurm says stays visible: an unknown reason or refusal is passed on in Slurm's words, never hidden.
Source: job_reason_codes.html and job_state_reason.c (22.05 to 26.05), slurm_errno.c, resource_limits.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flatirons.slurm.explain.known_texts import REASONS, REFUSALS, STATE_TEXTS
from flatirons.slurm.explain.limits import explain_limit
from flatirons.slurm.model import End, Job, JobState
from flatirons.units import memory_in_words, time_in_words

_PREFIX = re.compile(r"^(?:s[a-z]+: )?(?:error: |fatal: |info: )?")
_NODES = re.compile(r"UnavailableNodes:(\S+)")
_RAISED = re.compile(r"RaisedSignal:(\d+)")
_NOT_LAUNCHED = 53  # slurmstepd ends so what it can't start: no folder, no log file; seen with 24.11
_SHELL_CODES = {
    126: "a program in it may not be executed",
    127: "a program in it was not found",
    130: "it was interrupted",
    137: "it was killed",
    143: "it was told to end",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is the matter, and what the reader can do about it (empty: nothing but wait)."""

    sentence: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


def reason(text: str) -> Explanation:
    """Why a job waits, from squeue's Reason: a code, or a text of its own with spaces or underscores."""
    code, _, rest = text.strip().strip("()").partition(",")
    said = REASONS.get(code) or explain_limit(code)
    if said and code == "ReqNodeNotAvail":
        return _node_not_available(rest)
    if said:
        return Explanation(*said)
    plain = " ".join(text.replace("_", " ").split())
    for words, saying in STATE_TEXTS.items():
        if words in plain.lower():
            return Explanation(*saying)
    return Explanation(f"Slurm gives as reason: {plain}.")


def _node_not_available(rest: str) -> Explanation:
    nodes = _NODES.search(rest)
    if nodes and nodes[1].strip(","):
        return Explanation(
            f"A node that the job needs is out of service ({nodes[1]}).",
            "Choose another partition or fewer nodes, or wait until the operators have it back.",
        )
    if "reserved" in rest.lower() or "maint" in rest.lower():
        return Explanation(
            "The nodes that the job needs are reserved, perhaps for maintenance.",
            "A shorter run time may let it start before the reservation begins.",
        )
    return Explanation(*REASONS["ReqNodeNotAvail"])


def end(job: Job, known: End | None = None) -> Explanation:
    """Why a job ended, from its last state and what accounting knows of it."""
    facts = known if known and known.state.is_over else _facts(job)
    explain = {
        JobState.FAILED: _failed,
        JobState.OUT_OF_MEMORY: _out_of_memory,
        JobState.TIMEOUT: _timeout,
        JobState.CANCELLED: _cancelled,
        JobState.NODE_FAIL: _node_fail,
    }.get(facts.state)
    if explain:
        return explain(job, facts)
    return _PLAIN_ENDS.get(facts.state) or Explanation(
        f"Slurm gives as the job's last state: {job.raw_state}."
    )


def _facts(job: Job) -> End:
    return End(job.id, job.state, job.exit_code, job.signal, node=job.nodes, raw_state=job.raw_state)


_PLAIN_ENDS = {
    JobState.COMPLETED: Explanation("The job ended by itself, without an error."),
    JobState.PREEMPTED: Explanation(
        "The job had to make way for one with more rights to its nodes (preemption).",
        "Start again, or choose a partition or QOS that isn't preempted.",
    ),
    JobState.BOOT_FAIL: Explanation(
        "A node of the job did not boot.", "Start again: Slurm will take another node."
    ),
    JobState.DEADLINE: Explanation("The job could not end before its deadline, so Slurm ended it."),
    JobState.REVOKED: Explanation("The job was started on another cluster of the federation."),
    JobState.VANISHED: Explanation(
        "Slurm no longer knows the job, and its accounting doesn't tell how it ended.",
        "Start again; if this happens more than once, please tell the operator.",
    ),
}


def _failed(job: Job, facts: End) -> Explanation:
    signal = signal_of(job, facts)
    if job.reason in _LAUNCH_REASONS:
        return Explanation(*REASONS[job.reason])
    if is_launch_failure(job, facts):
        return Explanation(*REASONS["JobLaunchFailure"])
    if signal == 9 and is_near_limit(facts):
        return _out_of_memory(job, facts)
    if signal:
        return Explanation(f"The job was ended by signal {signal}.", "Its log may say more.")
    if facts.exit_code:
        meaning = _SHELL_CODES.get(facts.exit_code)
        hint = f": {meaning}" if meaning else ""
        return Explanation(
            f"The job's script ended with exit code {facts.exit_code}{hint}.", "Its log may say more."
        )
    return Explanation("The job failed before its script could run.", "Please tell the operator.")


def signal_of(job: Job, facts: End) -> int | None:
    """The signal that ended the job; None for none."""
    raised = _RAISED.match(job.reason)
    return facts.signal or (int(raised[1]) if raised else None)


_LAUNCH_REASONS = (
    "JobLaunchFailure",
    "Prolog",
    "SystemFailure",
    "NodeDown",
    "BadConstraints",
    "InactiveLimit",
)


def is_launch_failure(job: Job, facts: End | None) -> bool:
    """Could Slurm not even start the job's script?"""
    return job.reason in _LAUNCH_REASONS or _NOT_LAUNCHED in (job.signal, facts.signal if facts else None)


def is_near_limit(facts: End) -> bool:
    """Was most of the memory that was asked for seen in use?"""
    if facts.max_rss_mib is None or not facts.memory_per_node_mib:
        return False
    return facts.max_rss_mib >= 0.9 * facts.memory_per_node_mib


def _out_of_memory(job: Job, facts: End) -> Explanation:
    each = " on each node" if facts.nodes and facts.nodes > 1 else ""
    size = facts.memory_per_node_mib
    asked = f" It had asked for {memory_in_words(size)}{each}." if size else ""
    used = f" Slurm last saw it use {memory_in_words(facts.max_rss_mib)}." if facts.max_rss_mib else ""
    return Explanation(f"The job ran out of memory and was killed.{asked}{used}", "Ask for more memory.")


def _timeout(job: Job, facts: End) -> Explanation:
    minutes = job.runtime_limit_minutes
    limit = f" of {time_in_words(60 * minutes)}" if minutes else ""
    return Explanation(f"The job reached its time limit{limit}.", "Ask for more time.")


def _cancelled(job: Job, facts: End) -> Explanation:
    if facts.cancelled_by == 0:
        return Explanation("The job was cancelled by an operator (root).", "Ask them before you start again.")
    whom = facts.cancelled_by_name
    if not whom and facts.cancelled_by is not None:
        whom = f"the user with id {facts.cancelled_by}"
    return Explanation(f"The job was cancelled by {whom}." if whom else "The job was cancelled.")


def _node_fail(job: Job, facts: End) -> Explanation:
    node = job.batch_host or facts.node
    which = f"Its node {node}" if node else "A node of the job"
    return Explanation(f"{which} failed.", "Start again: Slurm will take another node.")


def refusal(stderr: str) -> tuple[str, Explanation]:
    """Slurm's own sentence from sbatch's stderr, and what it means; both may be shown to the user."""
    sentence = slurm_sentence(stderr)
    for code in re.findall(r"\b(?:Assoc|QOS|Max|Partition)[A-Za-z]+\b", sentence):
        if code in REASONS or explain_limit(code):
            return sentence, reason(code)
    for words, saying in REFUSALS.items():
        if words in sentence:
            return sentence, Explanation(*saying)
    return sentence, Explanation("", "Change the options and try again, or show this to the operator.")


def slurm_sentence(stderr: str) -> str:
    """What a Slurm command said on stderr, as one line without its own name and "error:"."""
    lines = (_PREFIX.sub("", line).strip() for line in stderr.splitlines())
    told = [
        line.removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ")
        for line in lines
    ]
    return " ".join(_stop(line) for line in dict.fromkeys(told) if line)


def _stop(line: str) -> str:
    return line if line.endswith((".", "!", "?", ":")) else f"{line}."
