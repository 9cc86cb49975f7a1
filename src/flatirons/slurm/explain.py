"""Pending reasons, end states and refusals -> a plain sentence and what to do; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flatirons.slurm.model import End, Job, JobState

_PREFIX = re.compile(r"^(?:s[a-z]+: )?(?:error: |fatal: )?")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is the matter, and what the reader can do about it (empty: nothing but wait)."""

    sentence: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


def reason(text: str) -> Explanation:
    """Why a job waits."""
    return Explanation(f"Slurm says: {text}.") if text else Explanation("Slurm has not looked at it yet.")


def end(job: Job, known: End | None = None) -> Explanation:
    """Why a job ended, from its last state and what accounting knows."""
    state = known.state if known and known.state.is_over else job.state
    if state is JobState.COMPLETED:
        return Explanation("The job ended by itself.")
    return Explanation(f"The job ended: {state.value}.")


def refusal(stderr: str) -> tuple[str, Explanation]:
    """Slurm's own sentence from sbatch's stderr, and what it means."""
    return slurm_sentence(stderr), Explanation("")


def slurm_sentence(stderr: str) -> str:
    """What a Slurm command said on stderr, without its own name before each line."""
    lines = (_PREFIX.sub("", line).strip() for line in stderr.splitlines())
    return " ".join(line for line in lines if line)
