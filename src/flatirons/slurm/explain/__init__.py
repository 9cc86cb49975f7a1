"""What Slurm says, in plain words; pure.

=============  ============================================================================================
reasons        why a job waits: squeue's Reason
limits         the same, for the reasons that name a limit
ends           why a job ended: TIMEOUT, OUT_OF_MEMORY, NODE_FAIL and the other final states
refusals       why sbatch refused a job
options_named  which options of sbatch that is about
explanation    the form of them all: a sentence and advice
=============  ============================================================================================
"""

from flatirons.slurm.explain.ends import end, is_launch_failure, is_near_limit, signal_of
from flatirons.slurm.explain.explanation import Explanation
from flatirons.slurm.explain.options_named import options_named
from flatirons.slurm.explain.reasons import reason
from flatirons.slurm.explain.refusals import refusal, slurm_sentence

__all__ = [
    "Explanation",
    "end",
    "is_launch_failure",
    "is_near_limit",
    "options_named",
    "reason",
    "refusal",
    "signal_of",
    "slurm_sentence",
]
