"""The user's Slurm, as the panel's routes see it: one query for all tabs, no oftener than SECONDS_KEPT."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING

from flatirons.concurrency import SharedCall
from flatirons.runner import AsSelf, Runner
from flatirons.slurm import argv
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job
from flatirons.slurm.spelling import Spelling

if TYPE_CHECKING:
    from flatirons.slurm_form.offers import ClusterOffer, OfferCache

SECONDS_KEPT = 2.0
"""How long an answer about the queue is good for every tab."""

HIDDEN = (*argv.INHERITED, "SPANK_", "PMI")
"""Variables of the notebook's own job, which Slurm's commands would take for options."""


def _as_self() -> Runner:
    return AsSelf(hidden=HIDDEN)


class UserSlurm:
    """The Slurm of this server's job, or of this machine; commands run as the server's own user."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, make_runner: Callable[[], Runner] = _as_self
    ) -> None:
        self._environ = environ
        self._make_runner = make_runner
        self._test_turn = asyncio.Lock()

    @cached_property
    def user(self) -> str:
        """The name of the user."""
        return pwd.getpwuid(os.getuid()).pw_name

    @cached_property
    def client(self) -> SlurmClient:
        """Runs Slurm's commands."""
        environ = self._environ
        spelling = Spelling.from_text(environ.get("FLATIRONS_SBATCH", ""))
        cluster = Cluster(
            environ.get("FLATIRONS_CLUSTER", ""), environ.get("SLURM_CONF", ""), spelling=spelling
        )
        return SlurmClient(cluster, self._make_runner())

    @property
    def is_there(self) -> bool:
        """Are Slurm's commands on this machine?"""
        return shutil.which("squeue") is not None

    @cached_property
    def _jobs(self) -> SharedCall[list[Job]]:
        return SharedCall(partial(self.client.jobs_of, self.user))

    async def jobs(self) -> list[Job]:
        """The user's jobs, at most SECONDS_KEPT old; raises SlurmError."""
        return await self._jobs.get(SECONDS_KEPT)

    @cached_property
    def _offers(self) -> OfferCache:
        from flatirons.slurm_form.offers import OfferCache  # here, so that no server's start waits for it

        return OfferCache({self.client.cluster.name: self.client})

    async def offer(self) -> ClusterOffer:
        """What the user may use, as the hub's form sees it: asked once for all tabs. Raises nothing."""
        return (await self._offers.facts(self.user, fresh=False)).clusters[self.client.cluster.name]

    async def test(self, script: str) -> tuple[datetime | None, str]:
        """When this script would start, and Slurm's sentence, one at a time; raises like `test_script`."""
        async with self._test_turn:
            return await self.client.test_script(script, user=None)
