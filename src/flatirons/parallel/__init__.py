"""Engines on many nodes from a notebook: IPyParallel, Dask and Spark on Slurm, in the notebook's own image.

`ipyparallel.Cluster(engines="flatirons", n=8)` works wherever this package is installed, because of these
entry points of the distribution:

    [project.entry-points."ipyparallel.controller_launchers"]
    flatirons = "flatirons.parallel.ipp.launcher:FlatironsControllerLauncher"

    [project.entry-points."ipyparallel.engine_launchers"]
    flatirons = "flatirons.parallel.ipp.launcher:FlatironsEngineSetLauncher"

`etc/ipython/ipcluster_config.py` in this folder is installed below the environment's prefix. It creates the
profile `slurm`, so that `ipcluster start --profile=slurm` works too.

`Cluster` is the public name of `ipp.cluster.EngineCluster`, ipyparallel's Cluster with Slurm's options as
keywords: `Cluster(n=8, partition="shas", nodes=2)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flatirons.parallel.ipp.cluster import EngineCluster as Cluster

__all__ = ["Cluster"]


def __getattr__(name: str) -> Any:
    """Imports ipyparallel only when somebody uses `Cluster`; making the profile doesn't need it."""
    if name != "Cluster":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flatirons.parallel.ipp.cluster import EngineCluster

    return EngineCluster
