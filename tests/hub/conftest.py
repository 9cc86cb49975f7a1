"""People on the virtual cluster of the session, for the tests that don't have a hub of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.hub.person import Person, eventually
from tests.hub.servers import Slurm, visit


@pytest.fixture
def slurm(cluster: Any) -> Slurm:
    """What Slurm knows."""
    return Slurm(cluster)


@pytest.fixture
def alice(cluster: Any, slurm: Slurm) -> Iterator[Person]:
    """Alice, logged in."""
    yield from visit(cluster, slurm, "alice")


@pytest.fixture
def bob(cluster: Any, slurm: Slurm) -> Iterator[Person]:
    """Bob, logged in."""
    yield from visit(cluster, slurm, "bob")


@pytest.fixture
def full_sknl(slurm: Slurm) -> Iterator[int]:
    """sknl has one node, and somebody has all of it."""
    job = slurm.submit("alice", "-p", "sknl", "-A", "ucb-knl", "--exclusive", "-J", "blocker")
    eventually(lambda: (job, "RUNNING", "blocker") in slurm.jobs("alice"))
    yield job
    slurm.ask("scancel", str(job))
