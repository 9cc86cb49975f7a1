"""Engines by the dozen from a notebook: IPyParallel on Slurm, in the notebook's own image.

`ipyparallel.Cluster(engines="flatirons", n=8)` works wherever this package is installed, by these entry
points of the distribution:

    [project.entry-points."ipyparallel.controller_launchers"]
    flatirons = "flatirons.parallel.ipp.launcher:FlatironsControllerLauncher"

    [project.entry-points."ipyparallel.engine_launchers"]
    flatirons = "flatirons.parallel.ipp.launcher:FlatironsEngineSetLauncher"

and `etc/ipython/ipcluster_config.py` beside this file, installed below the environment's prefix, makes the
profile `slurm`, so that `ipcluster start --profile=slurm` works too.

`Cluster` here is ipyparallel's, with what is asked of Slurm as keywords:
`Cluster(n=8, partition="shas", nodes=2)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatirons.parallel.ipp.cluster import Cluster as Cluster

__all__ = ["Cluster"]


def __getattr__(name: str) -> Any:
    """Imports ipyparallel when `Cluster` is first asked for; the profile needs none of it."""
    if name != "Cluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flatirons.parallel.ipp.cluster import Cluster

    return Cluster
