"""The same cases for the Slurm in memory and for the real one.

`FLATIRONS_TEST_CLUSTER=NAME` uses a virtual cluster that is already up (`scripts/cluster --name NAME up`) and
needs no hub; otherwise the `cluster` fixture of all tests is used.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from flatirons.runner import Launch, Runner
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job
from tests.fakes.slurm import FakeSite, FakeSlurm, Partition
from tests.repository import REPO

DRIVER = REPO / "scripts/cluster"


@dataclass(frozen=True)
class SlurmSite:
    """A site with two clusters, `summit` and `blanca`, and the people of the virtual cluster."""

    summit: SlurmClient
    blanca: SlurmClient
    is_real: bool

    async def until(
        self, job_id: int, holds: Callable[[Job], bool], client: SlurmClient | None = None
    ) -> Job:
        """The job once it `holds`; the test's time limit ends a wait that doesn't succeed."""
        while True:
            job = await (client or self.summit).job(job_id)
            assert job is not None
            if holds(job):
                return job
            await asyncio.sleep(0.1)  # real Slurm takes its time


class InNode(Runner):
    """Runs commands in the hub node of a virtual cluster, as the hub's account unless a user is named."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._enter: dict[str, list[str]] = {}

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """What enters the node, then the command."""
        given = ["env", *(f"{key}={value}" for key, value in env.items())]
        return Launch((*self._enter_argv(user or "jupyterhub"), *given, *argv), os.environ, {})

    def _enter_argv(self, user: str) -> list[str]:
        if user not in self._enter:
            line = [str(DRIVER), "--name", self.name, "argv", "hub", "--user", user]
            self._enter[user] = json.loads(subprocess.check_output(line))
        return self._enter[user]


def _fake() -> SlurmSite:
    summit, blanca = FakeSlurm(), FakeSlurm()
    blanca.partitions = {name: Partition(name) for name in ("blanca-csdms", "blanca-sol")}
    blanca.default_partition = "blanca-csdms"
    blanca.accounts = {"alice": ("csdms",), "bob": ("sol",), "carol": ("csdms", "sol")}
    summit.plays_scripts = blanca.plays_scripts = True
    site = FakeSite({"/etc/slurm/summit/slurm.conf": summit, "/etc/slurm/blanca/slurm.conf": blanca})
    return _slurm(site, is_real=False)


def _slurm(runner: Runner, *, is_real: bool) -> SlurmSite:
    summit, blanca = (
        SlurmClient(Cluster(name, f"/etc/slurm/{name}/slurm.conf"), runner) for name in ("summit", "blanca")
    )
    return SlurmSite(summit, blanca, is_real)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def slurm(request: pytest.FixtureRequest) -> SlurmSite:
    """The Slurm in memory, then the real one."""
    if request.param == "fake":
        return _fake()
    name = os.environ.get("FLATIRONS_TEST_CLUSTER")
    runner = InNode(name) if name else request.getfixturevalue("cluster").runner()
    return _slurm(runner, is_real=True)
