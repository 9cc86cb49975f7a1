"""How much is tried: `FLATIRONS_FULL=1` for the table, else what a change has time for.

`FLATIRONS_REPETITIONS`: of each fault. `FLATIRONS_SEED`: of an earlier run, to have its moments again.
"""

import os
import time

IS_FULL = bool(os.environ.get("FLATIRONS_FULL"))
REPETITIONS = int(os.environ.get("FLATIRONS_REPETITIONS", "10" if IS_FULL else "1"))
SEED = int(os.environ.get("FLATIRONS_SEED", time.time_ns() // 1_000_000))
