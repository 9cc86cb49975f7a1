"""Whether a server's jupyterhub goes with the hub's; pure."""

from __future__ import annotations

import re
from enum import Enum


class Fit(Enum):
    """JupyterHub's own rule: of another major version it warns (_check_version in its _version.py)."""

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
