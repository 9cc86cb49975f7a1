"""ipyparallel's Cluster with Slurm's options as keywords; `flatirons.parallel.Cluster` for users."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import ipyparallel
from traitlets import default

from flatirons.errors import OptionsRefused
from flatirons.parallel.ipp.launcher import FlatironsControllerLauncher, FlatironsEngineSetLauncher
from flatirons.parallel.ipp.option_traits import OptionTraits, describe_keywords
from flatirons.parallel.options import NAMES

LEAVE_TIME = 60.0  # seconds; the controller drops an engine after half a minute of silence
LEAVE_PAUSE = 0.1  # seconds
_OTHER_KEYWORDS = {"engines", "controller", "parent", "config", "log"}


class EngineCluster(OptionTraits, ipyparallel.Cluster):
    def __init__(self, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in _OTHER_KEYWORDS and not self.has_trait(name):
                known = ", ".join(("n", *NAMES))
                raise TypeError(
                    f"Cluster() has no keyword {name!r}; it takes {known} and ipyparallel's own keywords."
                )
        super().__init__(**kwargs)

    @default("engine_launcher_class")
    def _default_engine_launcher(self) -> type:
        return FlatironsEngineSetLauncher

    @default("controller_launcher_class")
    def _default_controller_launcher(self) -> type:
        return FlatironsControllerLauncher

    async def start_engines(
        self, n: int | None = None, engine_set_id: str | None = None, **kwargs: Any
    ) -> Any:
        """The id of a new set of engines. Keywords override those that the cluster was made with."""
        if issubclass(self.engine_launcher_class, FlatironsEngineSetLauncher):
            set_options = {name: getattr(self, name) for name in NAMES if getattr(self, name)}
            kwargs = {**set_options, **kwargs}
        return await super().start_engines(n, engine_set_id, **kwargs)

    async def resize(self, n: int) -> None:
        """Changes the number of engines to `n`; new engines are a separate set and may wait in the queue.

        When there are too many engines, whole sets end, the newest first. Of a set that is too large, the
        engines with the highest ids end; its job keeps their cores until its last engine has ended. Raises
        OptionsRefused when that would split an MPI program, or when `n` isn't positive.
        """
        if n < 1:
            raise OptionsRefused({"n": f"A cluster has at least one engine; it can't be resized to {n}."})
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
            raise OptionsRefused(
                {"n": "The engines of an MPI program only end together: stop the whole set."}
            )
        with await self.connect_client() as client:
            await self._wait_for_ended_engines(client)
            client.shutdown(sorted(client.ids)[-count:], block=True)
        engines.n -= count
        self.update_cluster_file()

    async def _wait_for_ended_engines(self, client: Any) -> None:
        """Returns when the controller has dropped the engines of stopped sets, or after LEAVE_TIME.

        A request to an engine that has ended already would never be answered.
        """
        left = sum(each.n for each in self.engines.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_TIME):
                while True:
                    if len(client.ids) <= left:
                        return
                    await asyncio.sleep(LEAVE_PAUSE)

    async def start_cluster(self, n: int | None = None) -> EngineCluster:
        """Starts the controller and the engines. If Slurm refuses the engines, it stops the controller."""
        started_here = self.controller is None
        try:
            await super().start_cluster(n)
        except BaseException:
            if started_here:
                await self.stop_controller()
            raise
        return self


EngineCluster.__doc__ = f"""A controller in the notebook's job, and engines in a separate Slurm job.

`Cluster(n=8, partition="shas")` takes these keywords and all keywords of ipyparallel's own Cluster:

    n: Number of engines.
{describe_keywords()}

`start_engines_sync(4, partition="sknl")` adds a set of engines.
"""
