"""Spark on Slurm from a notebook: `from flatirons.parallel.spark import session`.

`session(nodes=2)` starts a standalone Spark cluster as one Slurm job in the notebook's own image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatirons.parallel.spark.launch import session as session

__all__ = ["session"]


def __getattr__(name: str) -> Any:
    """Imports the modules of `session` only when somebody uses it; the programs on nodes don't need them."""
    if name != "session":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flatirons.parallel.spark.launch import session

    return session
