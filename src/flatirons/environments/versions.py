"""Whether the jupyterhub of a server is compatible with the hub's; pure."""

from __future__ import annotations

import re
from enum import Enum


class Fit(Enum):
    """A comparison by JupyterHub's rule: it warns if the major versions differ.

    Source: _check_version in jupyterhub/_version.py.
    """

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    UNKNOWN = "unknown"


def fit(version: str, hub: str) -> Fit:
    """How the server's major version compares with the hub's."""
    theirs, ours = major(version), major(hub)
    if theirs is None or ours is None:
        return Fit.UNKNOWN
    if theirs == ours:
        return Fit.SAME
    return Fit.OLDER if theirs < ours else Fit.NEWER


def major(version: str) -> int | None:
    """The first number of a version; None if the text isn't a version."""
    match = re.match(r"(\d+)(?:\.|$)", version)
    return int(match[1]) if match else None
