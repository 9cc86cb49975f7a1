"""People on the virtual cluster of the session, for the tests that don't have a hub of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import visit


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
    with slurm.sknl_taken() as job:
        yield job
