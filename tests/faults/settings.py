"""How often each fault is tested, and how long everything may take to recover.

`FLATIRONS_REPETITIONS` is the number for each fault. The table in the reference comes from the full form,
which has ten.
"""

import os

from flatirons.slurm.polling import PollSchedule
from flatirons.spawners.shared.registry import SECONDS_BETWEEN_SEARCHES
from tests.full import IS_FULL

REPETITIONS = int(os.environ.get("FLATIRONS_REPETITIONS", "10" if IS_FULL else "1"))

DEADLINE_S = max(PollSchedule().longest, PollSchedule().quiet + SECONDS_BETWEEN_SEARCHES) + 15.0
"""From the repair until everything must be right. Within a minute the hub has asked Slurm again after any
failure, or has searched for orphans in an answer of Slurm that was half a minute old. The rest is for Slurm
(KillWait), and for this test, which looks at every server while other programs run."""
