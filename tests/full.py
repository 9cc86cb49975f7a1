"""How much is tried: `scripts/test --full` tries all, else what a change has time for.

A change is tried with one seed, so that it fails or passes by itself; the full form takes another each time.
`FLATIRONS_SEED` of an earlier run, which the head of its output has, makes the same choices again.
"""

import os
import time

from hypothesis import settings

IS_FULL = bool(os.environ.get("FLATIRONS_FULL"))
SEED = int(os.environ.get("FLATIRONS_SEED") or (time.time_ns() // 1_000_000 if IS_FULL else 1))


def examples(quick: int, full: int) -> settings:
    """So many inputs of Hypothesis's for a change, and in the full form."""
    return settings(max_examples=full if IS_FULL else quick, deadline=None)
