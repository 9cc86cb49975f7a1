"""Which jobs the search for orphans cancels, and which it only shows: those of hubs with the same secret."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from flatirons.errors import SlurmError
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import Registry
from tests.fakes.slurm import EPOCH, FakeSlurm
from tests.unit.spawners.run.test_server_run import DOWN, QUICK, make_run

OURS, OTHER, EARLIER = "flatirons:hub1-1a2b3c4d", "flatirons:hub1-99999999", "flatirons:hub1"


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
async def registry(slurm: FakeSlurm) -> AsyncIterator[Registry]:
    client = SlurmClient(Cluster("summit"), slurm)
    made: Registry[Any] = Registry("hub1", {"summit": client}, logging.getLogger("test"))
    made.load_instance = lambda: "1a2b3c4d"
    watcher = made.watchers["summit"] = Watcher(client, comment_part=made.comment_part, schedule=QUICK)
    watcher.start()
    yield made
    await watcher.stop()


def left_alone(registry: Registry) -> list[tuple[int, str, str]]:
    return [(each.job_id, each.user, each.instance) for each in registry.orphans.left_alone]


async def search(registry: Registry, *stored: str) -> list[int]:
    """A search in Slurm's newest answer."""
    await registry.watcher("summit").refresh_anew()
    return await registry.orphans.search("summit", lambda: set(stored))


def test_a_comment_names_the_hub_its_instance_and_the_spawn(registry: Registry) -> None:
    assert registry.comment("spawn", "alice/") == f"{OURS}:spawn:alice/"


@pytest.mark.parametrize("comment", [f"{OURS}:gone:alice/", f"phys-7 {OURS}:gone:alice/"])
async def test_a_job_of_this_very_hub_without_a_server_is_cancelled(
    registry: Registry, slurm: FakeSlurm, comment: str
) -> None:
    orphan = slurm.add_job("alice", comment=comment)
    assert await search(registry) == [orphan]
    assert slurm.jobs[orphan].state == "CANCELLED" and left_alone(registry) == []


@pytest.mark.parametrize(
    ("comment", "instance"),
    [
        (f"{OTHER}:x:alice/", "99999999"),
        (f"{EARLIER}:x:alice/", ""),
        (f"phys-7 {OTHER}:x:alice/", "99999999"),
    ],
)
async def test_a_job_of_another_hub_with_this_secret_is_left_alone_and_shown(
    registry: Registry, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture, comment: str, instance: str
) -> None:
    """A test hub with a copy of production's secret cancelled production's jobs at its first start."""
    job_id = slurm.add_job("alice", comment=comment, state="RUNNING")
    for _ in range(3):
        assert await search(registry) == []
    assert slurm.jobs[job_id].state == "RUNNING" and slurm.count("scancel") == 0
    assert left_alone(registry) == [(job_id, "alice", instance)] and registry.orphans.found == []
    assert caplog.text.count("Leaving alone job 1 of alice on summit") == 1
    slurm.end_job(job_id)
    assert await search(registry) == [] and left_alone(registry) == []


@pytest.mark.parametrize(
    "comment",
    [
        "flatirons:another-hub:x:alice/",
        "flatirons:another-hub-1a2b3c4d:x:alice/",
        "flatirons:hub10:x:alice/",
        f"{OTHER}",
        f"{OTHER}{'9' * 50}:x:alice/",
        "flatirons-notebook:1:base",
        "flatirons:hub1-<script>:x:alice/",
    ],
)
async def test_other_jobs_are_neither_cancelled_nor_shown(
    registry: Registry, slurm: FakeSlurm, comment: str
) -> None:
    slurm.add_job("bob", comment=comment)
    assert await search(registry) == [] and left_alone(registry) == []
    assert slurm.count("scancel") == 0


@pytest.mark.parametrize("prefix", [OURS, OTHER, EARLIER])
async def test_a_job_whose_spawn_the_database_has_is_a_servers(
    registry: Registry, slurm: FakeSlurm, prefix: str
) -> None:
    slurm.add_job("alice", comment=f"{prefix}:known:alice/")
    assert await search(registry, "known") == [] and left_alone(registry) == []


async def test_a_servers_job_is_no_orphan_though_its_comment_names_another_spawn(
    registry: Registry, slurm: FakeSlurm
) -> None:
    job_id = slurm.add_job("alice", comment=f"{OURS}:gone:alice/")
    run = make_run(registry, replace(Attempt.new("summit", "code"), job_id=job_id))
    assert await search(registry) == [] and slurm.count("scancel") == 0
    run.close()


async def test_nothing_is_cancelled_while_the_database_does_not_say_which_hub_this_is(
    registry: Registry, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> str:
        raise OperationalError("SELECT", {}, Exception("database is locked"))

    registry.load_instance = fails
    slurm.add_job("alice", comment=f"{OURS}:gone:alice/")
    await registry.orphans.search_all(set)
    assert slurm.count("scancel") == 0 and "database is locked" in caplog.text
    registry.load_instance = lambda: "1a2b3c4d"
    assert await search(registry) == [1]


async def test_a_job_that_a_stop_could_not_cancel_is_cancelled_later_whatever_its_comment_says(
    registry: Registry, slurm: FakeSlurm
) -> None:
    """Its server is gone from JupyterHub, and nothing in the queue says whose job it is."""
    job_id = slurm.add_job("alice", name="my-run", comment="cost-centre-17", state="RUNNING")
    run = make_run(registry, replace(Attempt.new("summit", "code"), job_id=job_id))
    slurm.fail("scancel", DOWN, times=2)
    with pytest.raises(SlurmError):
        await run.stop()
    run.close()
    assert await search(registry) == [job_id] and slurm.jobs[job_id].state == "RUNNING"
    assert await search(registry) == [job_id] and slurm.jobs[job_id].state == "CANCELLED"
    assert await search(registry) == []


async def test_a_job_that_got_the_id_of_one_that_could_not_be_cancelled_is_not_cancelled(
    registry: Registry, slurm: FakeSlurm
) -> None:
    job_id = slurm.add_job("alice", comment="cost-centre-17")
    submit = datetime.fromtimestamp(EPOCH - 60, UTC)
    registry.orphans.take("summit", job_id, "alice", submit)
    assert await search(registry) == [] and slurm.count("scancel") == 0
