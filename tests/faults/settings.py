"""How much is tried: `FLATIRONS_FULL=1` for the table, else what a change has time for.

`FLATIRONS_REPETITIONS`: of each fault. `FLATIRONS_SEED`: of an earlier run, to have its moments again.
"""

import os
import time

from flatirons.slurm.polling import PollSchedule
from flatirons.spawners.shared.registry import RECONCILE_SECONDS

IS_FULL = bool(os.environ.get("FLATIRONS_FULL"))
REPETITIONS = int(os.environ.get("FLATIRONS_REPETITIONS", "10" if IS_FULL else "1"))
SEED = int(os.environ.get("FLATIRONS_SEED", time.time_ns() // 1_000_000))

DEADLINE_S = max(PollSchedule().longest, PollSchedule().quiet + RECONCILE_SECONDS) + 15.0
"""From the mending until all must be right. In a minute the hub has asked Slurm again, whatever failed, or
searched for orphans an answer of Slurm that was half a minute old. What follows takes seconds of Slurm's
(KillWait), and ours, who look at every server beside other work."""
