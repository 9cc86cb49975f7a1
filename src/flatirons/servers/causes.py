"""Why a server ended, from what Slurm, its starter and its log say; pure.

Slurm knows best of memory, time, nodes and who cancelled; the starter of the image, the home and the port;
the log of what went wrong inside. They are asked in this order. Every cause is a plain sentence, what to do,
and where it can be said, the options that would have helped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flatirons import units
from flatirons.job.node.calls import NOT_WANTED
from flatirons.servers.messages import duration
from flatirons.slurm import explain
from flatirons.slurm.model import End, Job, JobState

TELL = "Please tell the operator."


@dataclass(frozen=True, slots=True)
class Ending:
    """What the starter said at its end; `log` holds the last lines of the server's output."""

    exit_code: int | None
    signal: int | None
    message: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a server ended. `kind` is a word for metrics and programs; `fix` are options, as texts."""

    kind: str
    sentence: str
    advice: str = ""
    fix: Mapping[str, str] = field(default_factory=dict)


STOPPED = Cause("stopped", "The server was stopped from the hub.")
UNANSWERED = Cause(
    "not_answering",
    "The server listened, but the hub could not reach it, so it was stopped.",
    "Please start again; if it happens again, please tell the operator.",
)
REQUEUED = Cause(
    "requeued",
    "Slurm put the job back into the queue, and its server is gone, so the job was cancelled.",
    "Please start again.",
)


NOT_EXPECTED = Cause(
    "not_expected",
    "The job began, but its server was not expected, or not any more.",
    "Please start again.",
)


def diagnose(
    job: Job | None,
    end: End | None,
    ending: Ending | None,
    *,
    was_up: bool,
    has_booted: bool = False,
    node_reason: str = "",
) -> Cause:
    """The cause, as far as it is known.

    `was_up`: the server had listened. `has_booted`: the starter was heard of. `node_reason`: why its node is
    out of service, if it is known to be.
    """
    facts = _facts(job, end)
    if job and facts and _is_prolog(job, facts, node_reason):
        return _prolog(job)
    by_slurm = _by_slurm(job, facts) if job and facts else None
    if by_slurm:
        return by_slurm
    if ending:
        cause = _by_words(ending, was_up) or _by_exit(ending, was_up)
        return replace(cause, fix=_more_memory(facts)) if facts and cause.kind == "out_of_memory" else cause
    if job and facts:
        return _by_silence(job, facts, is_heard=was_up or has_booted)
    return Cause("failed", "The server ended.")


def _by_silence(job: Job, facts: End, *, is_heard: bool) -> Cause:
    """Why a job ended whose starter said nothing of that; `is_heard`: it had reached the hub before."""
    said = explain.end(job, facts)
    if facts.state is not JobState.FAILED:
        kind = "completed" if facts.state is JobState.COMPLETED else "failed"
        return Cause(kind, said.sentence, said.advice)
    if explain.signal_of(job, facts):
        return Cause("signal", said.sentence, said.advice)
    if facts.exit_code == NOT_WANTED:
        return NOT_EXPECTED
    if is_heard:
        return Cause("failed", said.sentence, said.advice)
    node = job.batch_host or job.nodes or "its node"
    return Cause(
        "hub_unreachable",
        f"The job started on {node}, and ended without a word to the hub.",
        f"{TELL} That node must have Python 3 and room in /tmp, and reach the hub.",
    )


def _facts(job: Job | None, end: End | None) -> End | None:
    if end and end.state.is_over:
        return end
    return End(job.id, job.state, job.exit_code, job.signal, node=job.nodes) if job else None


def late(job: Job | None, *, queue: float, node: float, has_booted: bool) -> Cause:
    """Why a start took too long: `queue` or `node` seconds, the latter from the start of the job.

    `has_booted`: the starter was heard of.
    """
    if job is None or not job.state.is_running:
        return Cause(
            "too_long_in_queue",
            f"The job waited longer than {duration(queue)} in the queue, so it was cancelled.",
            "A shorter run time or fewer resources may start sooner.",
        )
    if has_booted:
        return Cause(
            "not_answering",
            f"The job started on {job.batch_host}, but no server answered within {duration(node)}, "
            "so it was cancelled.",
            "Please try again.",
        )
    return Cause(
        "hub_unreachable",
        f"The job started on {job.batch_host}, but the hub heard nothing of it within "
        f"{duration(node)}, so it was cancelled.",
        "Please tell the operator: that node must have Python 3 and room in /tmp, and reach the hub.",
    )


# -- what Slurm knows best


def _is_prolog(job: Job, facts: End, node_reason: str) -> bool:
    """Whether a prolog failed.

    A job that may not be requeued, as ours, Slurm then cancels as root, and it drains the node for "Prolog
    error" (seen with 24.11, with PrologFlags=Alloc and without); of the job itself it says no more than of
    one that an operator cancelled.
    """
    if facts.state is JobState.CANCELLED:
        return "prolog" in node_reason.lower() and not facts.cancelled_by
    return facts.state is JobState.FAILED and job.reason == "Prolog"


def _prolog(job: Job) -> Cause:
    node = job.batch_host or job.nodes or "its node"
    return Cause(
        "prolog",
        f"Slurm's prolog, which prepares a node for a job, failed on {node}.",
        f"Start again: Slurm should take another node. {TELL}",
    )


def _by_slurm(job: Job, facts: End) -> Cause | None:
    said = explain.end(job, facts if facts.elapsed_seconds is not None else None)
    if facts.state is JobState.FAILED and not _is_memory(facts) and not _was_never_started(job, facts):
        return None
    if facts.state is JobState.COMPLETED:
        return None
    if _is_memory(facts):
        return Cause("out_of_memory", said.sentence, said.advice, _more_memory(facts))
    kind = _KINDS.get(facts.state)
    if facts.state is JobState.CANCELLED:
        kind = "cancelled_by_operator" if facts.cancelled_by == 0 else "cancelled"
    if facts.state is JobState.FAILED:
        kind = "launch"
    fix = _more_time(job) if facts.state is JobState.TIMEOUT else {}
    return Cause(kind or "failed", said.sentence, said.advice, fix)


_KINDS = {
    JobState.TIMEOUT: "time_limit",
    JobState.NODE_FAIL: "node_failure",
    JobState.BOOT_FAIL: "node_failure",
    JobState.PREEMPTED: "preempted",
    JobState.DEADLINE: "deadline",
    JobState.VANISHED: "vanished",
    JobState.REVOKED: "revoked",
}


def _is_memory(facts: End) -> bool:
    if facts.state is JobState.OUT_OF_MEMORY:
        return True
    return facts.state is JobState.FAILED and facts.signal == 9 and explain.is_near_limit(facts)


def _was_never_started(job: Job, facts: End | None) -> bool:
    """Whether Slurm itself couldn't start the script."""
    return explain.is_launch_failure(job, facts)


def _more_memory(facts: End) -> dict[str, str]:
    asked = facts.memory_per_node_mib or 0
    return {"memory": units.memory(-(-2 * asked // 1024) * 1024)} if asked else {}


def _more_time(job: Job) -> dict[str, str]:
    limit = job.runtime_limit_minutes
    return {"runtime": units.clock(2 * limit)} if limit else {}


# -- what the starter and the log say


@dataclass(frozen=True, slots=True)
class Saying:
    """Words in a log, and the cause that they are a sign of; the sentence may use what they hold."""

    pattern: re.Pattern[str]
    kind: str
    sentence: str
    advice: str = ""

    def found_in(self, lines: Sequence[str]) -> Cause | None:
        """The cause, from the last line that holds the words."""
        for line in reversed(lines):
            if match := self.pattern.search(line):
                filled = self.sentence.format(*match.groups(""))
                return Cause(self.kind, re.sub(r"[ :]*([.:]?)$", r"\1", filled), self.advice)
        return None


def _saying(pattern: str, kind: str, sentence: str, advice: str = "") -> Saying:
    return Saying(re.compile(pattern), kind, sentence, advice)


SAYINGS = (
    _saying(r"^(The notebook server was stopped)\.$", "stopped", "{0}."),
    _saying(
        r"(The image \S+ (?:doesn't exist|can't be read by you) on \S+?)\.?$",
        "image_missing",
        "{0}.",
        f"Choose another environment. {TELL}",
    ),
    _saying(
        r"(Your home directory \S+ can't be entered on .+)$",
        "home_missing",
        "{0}",
        f"Start again; if it happens again: {TELL}",
    ),
    _saying(
        r"[Dd]isk quota exceeded",
        "quota",
        "Your disk quota is used up, so the server could not write its files.",
        "Remove files, on a log-in node if need be, and start again.",
    ),
    _saying(
        r"(?:\s(/(?:var/)?tmp)/\S*: [Nn]o space left on device"  # in the words of Go, and so of Apptainer
        r"|[Nn]o space left on device: '?(/(?:var/)?tmp)\b"  # of Python
        r"|(?:has room for a log|No usable temporary directory found))",
        "tmp_full",
        "The node has no room in its /tmp, which the container and the server need.",
        f"Start again, on another node if you can choose. {TELL}",
    ),
    _saying(
        r"[Nn]o space left on device(?:: '?([^\s']+))?",
        "home_full",
        "A disk that the server writes to is full: {0}.",
        "If it is your home, remove files, on a log-in node if need be, and start again.",
    ),
    _saying(
        r"(No port between \d+ and \d+ is free on this node|\d+ ports in a row were taken by others)",
        "port",
        "{0}.",
        "Start again, on another node if you can choose.",
    ),
    _saying(
        r"the hub at (\S+) can't be reached",
        "hub_unreachable",
        "The hub at {0} can't be reached from the node.",
        TELL,
    ),
    _saying(
        r"(?:Unable to locate a modulefile for|module\(s\) are unknown:) *'?([\w./-]+)'?",
        "module_missing",
        "The cluster has no software module {0} to load.",
        f"Choose another environment. {TELL}",
    ),
    _saying(
        r"(?:^(\S*(?:apptainer|singularity)) can't be run on this node"
        r"|exec: (\S*(?:apptainer|singularity))): (.+?)\.?$",  # a shell's, after a prologue
        "no_apptainer",
        "The node can't run {0}{1}: {2}.",
        f"Start again, on another node if you can choose. {TELL}",
    ),
    _saying(
        r"can't be run on this node: Exec format error",
        "wrong_architecture",
        "The environment's programs are made for another kind of processor than the node's.",
        f"Choose another environment, or a partition with other nodes. {TELL}",
    ),
    _saying(
        r"(?:jupyterhub-singleuser|jupyter-labhub)[^\n]*(?:[Nn]o such file|not found|can't be run)",
        "no_singleuser",
        "The environment has no jupyterhub-singleuser.",
        f"Choose another environment. {TELL}",
    ),
    _saying(
        r"jupyter-lab(?!hub)\b[^\n]*(?:[Nn]o such file|not found|can't be run)",
        "no_jupyterlab",
        "The environment has no jupyter-lab.",
        f"Choose another environment. {TELL}",
    ),
    _saying(
        r"No module named '(pipes|distutils)(?:\.\w+)*'",  # jupyterhub 1 to 3, on Python 3.12 and 3.13
        "old_jupyterhub",
        "The environment is too old for its Python, which has no module {0} any more: most often that is an "
        "old jupyterhub.",
        f"Choose another environment. {TELL} It needs a jupyterhub of the hub's major version.",
    ),
    _saying(
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        "import_error",
        "Python found no module {0}.",
        "A package in your home (~/.local) may hide the environment's own: move it away and start again.",
    ),
    _saying(
        r"ImportError: (.{1,200})",
        "import_error",
        "Python could not import what the server needs: {0}",
        "A package in your home (~/.local) may hide the environment's own: move it away and start again.",
    ),
    _saying(
        r"the image's architecture \((\w+)\) could not run on the host's \((\w+)\)"
        r"|image targets '(\w+)', cannot run on '(\w+)'",
        "wrong_architecture",
        "The image is made for {0}{2} processors, and the node's is {1}{3}.",
        f"Choose another environment, or a partition with such nodes. {TELL}",
    ),
    _saying(
        r"mount source (\S+) doesn't exist",
        "bind_missing",
        "The container needs {0}, which the node doesn't have.",
        f"Start again, on another node if you can choose. {TELL}",
    ),
    _saying(
        r"exec (\S+) failed: a shared library is likely missing",
        "container",
        "The environment's {0} can't be run: the Python that it names, or a library, isn't there.",
        f"Choose another environment. {TELL}",
    ),
    _saying(
        r"FATAL: +(.{1,200})",
        "container",
        "The container could not be started: {0}",
        TELL,
    ),
    _saying(
        r"MemoryError|Cannot allocate memory",
        "out_of_memory",
        "The server found no more memory.",
        "Ask for more memory.",
    ),
)


def _by_words(ending: Ending, was_up: bool) -> Cause | None:
    """The cause that its last words are a sign of: those of a server that ended in peace are of none."""
    is_clean = was_up and ending.exit_code == 0 and not ending.signal
    lines = [*(() if is_clean else ending.log), *([ending.message] if ending.message else [])]
    found = (saying.found_in(lines) for saying in SAYINGS)
    cause = next((each for each in found if each), None)
    if cause:
        return cause
    return Cause("failed", ending.message) if ending.message else None


def _by_exit(ending: Ending, was_up: bool) -> Cause:
    when = "" if was_up else " before it listened"
    if ending.signal:
        return Cause(
            "signal",
            f"The notebook server was ended by signal {ending.signal}{when}.",
            "Its log may say why.",
        )
    if not ending.exit_code and was_up:
        return Cause("completed", "The notebook server ended by itself, without an error.")
    return Cause(
        "failed",
        f"The notebook server ended with exit code {ending.exit_code}{when}.",
        "The end of its log may say why.",
    )
