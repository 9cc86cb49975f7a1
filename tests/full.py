"""How much is tried: `scripts/test --full` tries all, else what a change has time for.

A change is tried with one seed, so that it fails or passes by itself; the full form takes another each time.
`FLATIRONS_SEED` of an earlier run, which the head of its output has, makes the same choices again.
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
    """So many inputs of Hypothesis's for a change, and in the full form."""
    return settings(max_examples=full if IS_FULL else quick, deadline=None)


def when_changed(*folders: str) -> pytest.MarkDecorator:
    """Marks a slow test that only a change in these folders can break: else it is left to the full form."""
    reason = f"nothing changed in {', '.join(folders)}: --full"
    return pytest.mark.skipif(not (IS_FULL or is_changed(folders)), reason=reason)


@cache
def is_changed(folders: tuple[str, ...]) -> bool:
    """Whether the working tree differs there from what was landed before; True if that isn't known."""
    base = _landed_before()
    done = subprocess.run(["git", "diff", "--quiet", base, "--", *folders], cwd=REPO) if base else None
    return done is None or done.returncode != 0


@cache
def _landed_before() -> str:
    """The commit at which this work left the origin's main branch; on that branch, its state of a day ago.

    A landing may be many commits, and a fresh clone of it has no other trace of where it began. "" where
    there is no such commit: without git, or in a shallow clone.
    """
    head = _git("rev-parse", "HEAD")
    forked = _git("merge-base", "HEAD", "origin/HEAD")
    if forked and forked != head:
        return forked
    committed = _git("log", "-1", "--format=%ct")
    return _git("rev-list", "-1", f"--before={int(committed) - A_DAY_S}", "HEAD") if committed else ""


def _git(*words: str) -> str:
    """What git prints; "" if it can't tell."""
    done = subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
