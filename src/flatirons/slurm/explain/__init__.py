"""What Slurm says, in plain words: why a job waits, how it ended, why sbatch refused it; pure."""

from flatirons.slurm.explain.ends import (
    Explanation,
    end,
    is_launch_failure,
    is_near_limit,
    reason,
    refusal,
    signal_of,
    slurm_sentence,
)

__all__ = [
    "Explanation",
    "end",
    "is_launch_failure",
    "is_near_limit",
    "reason",
    "refusal",
    "signal_of",
    "slurm_sentence",
]
