"""Spark on Slurm from a notebook: `from flatirons.parallel.spark import session`.

`session(nodes=2)` starts a standalone Spark cluster as one Slurm job in the notebook's own image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatirons.parallel.spark.launch import session as session

__all__ = ["session"]


def __getattr__(name: str) -> Any:
    """Imports what `session` needs when it is first asked for: the parts on the nodes need none of it."""
    if name != "session":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flatirons.parallel.spark.launch import session

    return session
