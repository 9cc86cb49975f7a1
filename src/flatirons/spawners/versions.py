"""Whether a server's jupyterhub goes with the hub's; pure."""

from __future__ import annotations

import re
from enum import Enum

from flatirons.spawners.diagnosis import TELL, Cause

OLDEST = 2
"""The oldest major version whose servers log people in at JupyterHub 6 (tried: docs/how-to/images.md)."""


class Fit(Enum):
    """JupyterHub's own rule is the same major version (_check_version in its _version.py)."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    UNKNOWN = "unknown"


def fit(version: str, hub: str) -> Fit:
    """How a server's version goes with the hub's."""
    theirs, ours = major(version), major(hub)
    if theirs is None or ours is None:
        return Fit.UNKNOWN
    if theirs == ours:
        return Fit.SAME
    return Fit.OLDER if theirs < ours else Fit.NEWER


def major(version: str) -> int | None:
    """The first number of a version, None for a text that isn't one."""
    match = re.match(r"(\d+)(?:\.|$)", version)
    return int(match[1]) if match else None


def too_old(version: str, hub: str) -> Cause | None:
    """Why nobody can log in to a server of this version, None where somebody may.

    JupyterHub itself only warns of another major version, and many of those do work.
    """
    theirs = major(version)
    if theirs is None or theirs >= OLDEST:
        return None
    return Cause(
        "old_jupyterhub",
        f"The environment has jupyterhub {version}, and the hub {hub}: nobody could log in to its server.",
        f"Choose another environment. {TELL}",
    )
