"""ipyparallel's Cluster with what is asked of Slurm as keywords."""

from __future__ import annotations

from typing import Any

import ipyparallel
from traitlets import default

from flatirons.errors import OptionsRefused
from flatirons.parallel.ipp.launcher import FlatironsControllerLauncher, FlatironsEngineSetLauncher
from flatirons.parallel.ipp.traits import Asked
from flatirons.parallel.options import NAMES

_ARGUMENTS = {"engines", "controller", "parent", "config", "log"}


class Cluster(Asked, ipyparallel.Cluster):
    """A controller here, and engines in a Slurm job of their own.

    Keywords, each optional: `n` engines; `partition`, `account`, `qos`, `reservation`; `runtime`, minutes or
    "2:00:00"; `nodes` to spread over, or `engines_per_node` at most; `cpus` and `memory`, MiB or "4G", for
    each engine; and all that ipyparallel's own Cluster takes. `start_engines_sync(4, partition="sknl")` adds
    a set.
    """

    def __init__(self, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in _ARGUMENTS and not self.has_trait(name):
                known = ", ".join(("n", *NAMES))
                raise TypeError(f"Cluster() has no keyword {name!r}; it takes {known} and ipyparallel's.")
        super().__init__(**kwargs)

    @default("engine_launcher_class")
    def _default_engines(self) -> type:
        return FlatironsEngineSetLauncher

    @default("controller_launcher_class")
    def _default_controller(self) -> type:
        return FlatironsControllerLauncher

    async def start_engines(
        self, n: int | None = None, engine_set_id: str | None = None, **kwargs: Any
    ) -> Any:
        """Starts a set of engines and gives its id; keywords override what the cluster was made with."""
        if issubclass(self.engine_launcher_class, FlatironsEngineSetLauncher):
            said = {name: getattr(self, name) for name in NAMES if getattr(self, name)}
            kwargs = {**said, **kwargs}
        return await super().start_engines(n, engine_set_id, **kwargs)

    async def resize(self, n: int) -> None:
        """Has `n` engines from now on; new ones, a set of their own, may have to wait for Slurm.

        Sets that are too many end, the newest first; of one that is too large the engines with the highest
        numbers end, and its job keeps their cores until its last has ended. Raises OptionsRefused when that
        would part an MPI program, and when `n` isn't a number of engines.
        """
        if n < 1:
            raise OptionsRefused({"n": f"A cluster is resized to at least one engine, not to {n}."})
        surplus = sum(each.n for each in self.engines.values()) - n
        if surplus < 0:
            await self.start_engines(-surplus)
        while surplus > 0:
            name, newest = list(self.engines.items())[-1]
            if newest.n > surplus:
                await self._shrink(newest, surplus)
                return
            surplus -= newest.n
            await self.stop_engines(name)

    async def _shrink(self, engines: Any, count: int) -> None:
        if engines.mpi:
            raise OptionsRefused({"n": "The engines of one MPI program can't be parted: stop the whole set."})
        with await self.connect_client() as client:
            client.shutdown(sorted(client.ids)[-count:], block=True)
        engines.n -= count
        self.update_cluster_file()

    async def start_cluster(self, n: int | None = None) -> Cluster:
        """Starts controller and engines; when Slurm refuses the engines, no controller is left behind."""
        started_here = self.controller is None
        try:
            await super().start_cluster(n)
        except BaseException:
            if started_here:
                await self.stop_controller()
            raise
        return self
