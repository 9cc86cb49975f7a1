"""How much is tested: `scripts/test --full` tests everything, an ordinary run what fits into its time.

An ordinary run has a fixed seed, so that its result depends only on the change; the full form uses a new seed
each time. `FLATIRONS_SEED` with the seed of an earlier run, which its output begins with, makes the same
choices again.
"""

import os
import subprocess
import time
from functools import cache

import pytest
from hypothesis import settings

from tests.repository import REPO

A_DAY_S = 24 * 3600

IS_FULL = bool(os.environ.get("FLATIRONS_FULL"))
SEED = int(os.environ.get("FLATIRONS_SEED") or (time.time_ns() // 1_000_000 if IS_FULL else 1))


def examples(quick: int, full: int) -> settings:
    """The number of Hypothesis's inputs in an ordinary run, and in the full form."""
    return settings(max_examples=full if IS_FULL else quick, deadline=None)


def when_changed(*folders: str) -> pytest.MarkDecorator:
    """Marks a slow test that only a change in these folders can break; other changes skip it."""
    reason = f"nothing changed in {', '.join(folders)}: --full"
    return pytest.mark.skipif(not (IS_FULL or is_changed(folders)), reason=reason)


@cache
def is_changed(folders: tuple[str, ...]) -> bool:
    """Whether the working tree differs there from the last state of the main branch; True if unknown."""
    base = _landed_before()
    done = subprocess.run(["git", "diff", "--quiet", base, "--", *folders], cwd=REPO) if base else None
    return done is None or done.returncode != 0


@cache
def _landed_before() -> str:
    """The commit at which this work left the origin's main branch; on that branch, its state of a day ago.

    One change may be many commits, and a fresh clone has no other trace of where it began. "" where there is
    no such commit: without git, or in a shallow clone.
    """
    head = _git("rev-parse", "HEAD")
    forked = _git("merge-base", "HEAD", "origin/HEAD")
    if forked and forked != head:
        return forked
    committed = _git("log", "-1", "--format=%ct")
    return _git("rev-list", "-1", f"--before={int(committed) - A_DAY_S}", "HEAD") if committed else ""


def _git(*words: str) -> str:
    """What git prints; "" if it fails."""
    done = subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
