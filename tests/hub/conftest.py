"""Users on the virtual cluster of the session, for tests without a separate hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import visit


@pytest.fixture
def slurm(cluster: Any) -> Slurm:
    """The Slurm of the virtual cluster."""
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
    """A job takes the only node of sknl."""
    with slurm.sknl_taken() as job:
        yield job
