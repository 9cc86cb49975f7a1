"""A server's job stays its job whatever its name and comment say, and another job with its id never is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from flatirons.errors import ServerEnded
from flatirons.servers.causes import UNANSWERED, StarterEnd
from flatirons.servers.follow import Limits
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import Registry
from tests.fakes.slurm import EPOCH, FakeSlurm
from tests.unit.spawners.run.test_server_run import (
    CODE,
    KEY,
    QUICK,
    kinds,
    make_run,
    saved,
    started,
    up,
)
from tests.waiting import until

REWRITTEN = {"name": "my-run", "comment": "cost-centre-17"}


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
async def registry(slurm: FakeSlurm) -> AsyncIterator[Registry]:
    """A hub whose watcher reads, as in use, only what it needs of the queue."""
    client = SlurmClient(Cluster("summit"), slurm)
    made = Registry("hub1", {"summit": client}, logging.getLogger("test"))
    watcher = made.watchers["summit"] = Watcher(client, comment_part=made.comment_part, schedule=QUICK)
    watcher.start()
    yield made
    await watcher.stop()


@pytest.fixture
async def run(registry: Registry) -> AsyncIterator[ServerRun]:
    made = make_run(registry, Attempt.new("summit", CODE))
    yield made
    made.close()


async def looked(slurm: FakeSlurm, times: int = 3) -> None:
    """Slurm was asked some more times."""
    asked = slurm.count("squeue")
    await until(lambda: slurm.count("squeue") > asked + times)


@pytest.mark.parametrize(
    "change",
    [
        REWRITTEN,
        {"name": "my-run"},
        {"comment": "(null)"},
        {"comment": "flatirons:hub1:another spawn:alice/second"},
        {"comment": "cost-centre-17 flatirons:another-hub:x:alice/"},
    ],
)
async def test_a_server_stays_whatever_its_jobs_name_and_comment_become(
    run: ServerRun, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture, change: dict[str, str]
) -> None:
    await up(run, slurm)
    slurm.change(1, **change, partition="seen")
    await until(lambda: run.job and run.job.partition == "seen")
    assert await run.registry.orphans.search("summit", set) == []
    assert run.exit_status() is None and kinds(run) == []
    assert slurm.jobs[1].state == "RUNNING"
    assert "PrivateData" not in caplog.text
    stopping = asyncio.ensure_future(run.stop())
    await until(lambda: slurm.count("scancel"))
    await stopping
    assert slurm.jobs[1].state == "CANCELLED" and kinds(run) == ["stopped"]


async def test_a_server_starts_although_a_plugin_replaces_name_and_comment_at_the_submission(
    run: ServerRun, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.on_submit = lambda job: slurm.change(job.id, **REWRITTEN)
    await up(run, slurm)
    await looked(slurm)
    assert run.exit_status() is None and run.attempt.host == "shas0101"
    assert slurm.count("scancel") == slurm.count("sacct") == 0, "the watcher reads the job from its list"
    assert "PrivateData" not in caplog.text
    slurm.end_job(1, "TIMEOUT")
    await until(lambda: kinds(run) == ["time_limit"])


async def test_the_time_of_the_submission_is_stored_and_tells_the_job_after_a_restart(
    run: ServerRun, registry: Registry, slurm: FakeSlurm
) -> None:
    await up(run, slurm)
    stored = saved(run)[-1]
    assert stored.submitted_at == EPOCH
    run.close()
    slurm.change(1, **REWRITTEN)
    again = make_run(registry, stored)
    again.follow()
    await until(lambda: again.job is not None)
    assert again.exit_status() is None
    again.close()


@pytest.mark.parametrize("user", ["alice", "bob"])
@pytest.mark.parametrize("comment", ["(null)", "flatirons:hub1:another spawn:alice/second"])
async def test_another_job_that_got_the_id_is_not_the_server(
    run: ServerRun, slurm: FakeSlurm, user: str, comment: str
) -> None:
    """A slurmctld that was killed forgets its last seconds, and assigns their ids again."""
    await up(run, slurm)
    slurm.change(1, user=user, comment=comment, submit=EPOCH + 900)
    await until(lambda: run.exit_status() is not None)
    await until(lambda: kinds(run) == ["vanished"])
    await run.stop()
    assert slurm.jobs[1].state == "RUNNING" and slurm.count("scancel") == 0


async def test_the_end_of_another_job_that_got_the_id_is_not_the_servers(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await up(run, slurm)
    slurm.accounting[1] = replace(slurm.jobs[1], user="bob", state="COMPLETED", submit=EPOCH + 900)
    del slurm.jobs[1]
    await until(lambda: kinds(run) == ["vanished"])


@pytest.mark.parametrize("stopping", [False, True])
async def test_after_a_restart_another_job_with_the_stored_id_is_not_cancelled(
    registry: Registry, slurm: FakeSlurm, stopping: bool
) -> None:
    slurm.add_job("alice", state="RUNNING", submit=EPOCH + 900)
    known: dict[str, Any] = {"job_id": 1, "submitted_at": EPOCH, "key_digest": "x", "port": 1}
    run = make_run(registry, replace(Attempt.new("summit", CODE), **known, stopping=stopping))
    if stopping:
        run.follow()
        await until(lambda: run.exit_status() is not None)
    else:
        await run.stop()
    assert slurm.jobs[1].state == "RUNNING" and slurm.count("scancel") == 0
    run.close()


@pytest.mark.parametrize("change", [{}, REWRITTEN])
async def test_a_requeued_job_is_the_same_job_with_another_time_of_submission(
    run: ServerRun, slurm: FakeSlurm, change: dict[str, str]
) -> None:
    await up(run, slurm)
    slurm.change(1, state="PENDING", nodes="", host="n/a", submit=EPOCH + 60, restarts=1, **change)
    await until(lambda: slurm.jobs[1].state == "CANCELLED")
    await until(lambda: kinds(run) == ["requeued"])


async def test_a_job_that_is_requeued_before_its_starter_called_may_still_start(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    arrival = await started(run, slurm)
    await until(lambda: run.job and run.job.state.is_running)
    slurm.change(1, state="PENDING", nodes="", host="n/a", submit=EPOCH + 60, restarts=1, **REWRITTEN)
    await until(lambda: run.job and run.job.state.is_waiting)
    slurm.run_job(1, "shas0102")
    await run.boot(1, KEY)
    await run.ready(4321)
    await arrival
    assert run.attempt.host == "shas0102"


# -- a job whose id was lost


@pytest.mark.parametrize("comment", ["{}", "cost-centre-17; {}", "{} (2.00 SU)"])
async def test_a_lost_job_is_found_by_its_mark_wherever_it_is_in_the_comment(
    registry: Registry, slurm: FakeSlurm, comment: str
) -> None:
    attempt = Attempt.new("summit", CODE)
    job_id = slurm.add_job("alice", comment=comment.format(registry.comment(attempt.spawn_id, "alice/")))
    run = make_run(registry, attempt)
    await run.find()
    assert run.attempt.job_id == job_id
    run.close()


async def test_a_lost_job_whose_comment_was_replaced_is_found_by_its_name(
    registry: Registry, slurm: FakeSlurm
) -> None:
    now = int(time.time())
    slurm.add_job("bob", name="jupyter", submit=now)
    slurm.add_job("alice", name="jupyter", submit=now - 3600, state="RUNNING")
    lost = slurm.add_job("alice", name="jupyter", comment="cost-centre-17", submit=now)
    run = make_run(registry, Attempt.new("summit", CODE))
    await run.find()
    assert run.attempt.job_id == lost
    run.close()


async def test_a_job_of_the_users_own_is_never_taken_for_a_lost_one(
    registry: Registry, slurm: FakeSlurm
) -> None:
    now = int(time.time())
    other = make_run(registry, replace(Attempt.new("summit", "other"), job_id=1))
    slurm.add_job("alice", name="jupyter", submit=now)  # of the other server
    slurm.add_job("alice", name="my own", submit=now)
    run = make_run(registry, Attempt.new("summit", CODE))
    await run.find()
    assert run.attempt.job_id == 0
    slurm.add_job("alice", name="jupyter", submit=now)
    slurm.add_job("alice", name="jupyter", submit=now)
    await run.find()
    assert run.attempt.job_id == 0, "it may be either"
    for each in (run, other):
        each.close()


# -- what an earlier release stored


def earlier(**known: Any) -> Attempt:
    """An attempt as it was stored before times of submission were."""
    return replace(Attempt.new("summit", CODE), requested_at=0, job_id=1, key_digest="x", port=4321, **known)


@pytest.mark.parametrize("change", [{}, {"name": "my-run"}, {"comment": "cost-centre-17"}])
async def test_a_job_of_an_earlier_release_is_recognized_and_its_submission_stored(
    registry: Registry, slurm: FakeSlurm, change: dict[str, str]
) -> None:
    attempt = earlier()
    slurm.add_job("alice", name="jupyter", comment=registry.comment(attempt.spawn_id, "alice/"))
    slurm.run_job(1)
    slurm.change(1, **change)
    run = make_run(registry, attempt)
    run.follow()
    await until(lambda: saved(run))
    assert saved(run)[-1].submitted_at == EPOCH
    slurm.change(1, **REWRITTEN)
    await looked(slurm)
    assert run.exit_status() is None
    run.close()


async def test_a_foreign_job_with_the_id_of_an_earlier_release_is_not_recognized(
    registry: Registry, slurm: FakeSlurm
) -> None:
    slurm.add_job("alice", **REWRITTEN)
    run = make_run(registry, earlier())
    run.follow()
    await until(lambda: run.exit_status() is not None)
    assert run.attempt.submitted_at == 0
    run.close()


async def test_the_end_that_only_accounting_knows_of_a_job_of_an_earlier_release_is_told(
    registry: Registry, slurm: FakeSlurm
) -> None:
    slurm.add_job("alice", name="jupyter", state="TIMEOUT", end=EPOCH + 60)
    slurm.forget(1)
    run = make_run(registry, earlier())
    run.follow()
    await until(lambda: kinds(run) == ["time_limit"])
    with pytest.raises(Exception, match="once more or too late"):
        await run.end(StarterEnd(0, None))
    run.close()


# -- what a hub may cancel unasked, and what it says of its own cancels


@pytest.fixture
def copied(registry: Registry, slurm: FakeSlurm) -> Attempt:
    """The attempt of a server that another hub started, whose database this one is a copy of."""
    registry.load_instance = lambda: "1a2b3c4d"
    slurm.add_job("alice", name="jupyter", comment="flatirons:hub1-99999999:spawn:alice/")
    return replace(Attempt.new("summit", CODE, "99999999"), spawn_id="spawn", job_id=1)


async def test_a_start_that_a_copy_of_the_hub_gives_up_goes_on_for_the_other_hub(
    registry: Registry, slurm: FakeSlurm, copied: Attempt
) -> None:
    run = make_run(registry, copied, Limits(queue=0.05, node=60, stop=5))
    with pytest.raises(ServerEnded, match="in the queue"):
        await run.arrive()
    await run.stop()
    assert slurm.jobs[1].state == "PENDING" and slurm.count("scancel") == 0
    run.close()


async def test_a_server_that_does_not_answer_a_copy_of_the_hub_goes_on(
    registry: Registry, slurm: FakeSlurm, copied: Attempt
) -> None:
    run = make_run(registry, replace(copied, key_digest="x", port=4321))
    await run.stop(UNANSWERED)
    assert slurm.count("scancel") == 0
    run.close()


async def test_a_copy_of_the_hub_cancels_neither_a_requeued_job_nor_one_that_was_being_stopped(
    registry: Registry, slurm: FakeSlurm, copied: Attempt
) -> None:
    slurm.run_job(1)
    stopping = make_run(registry, replace(copied, stopping=True))
    stopping.follow()
    await until(lambda: stopping.job is not None)
    stopping.close()
    up = make_run(registry, replace(copied, key_digest="x", port=4321))
    up.follow()
    await until(lambda: up.job is not None)
    slurm.requeue(1)
    await until(lambda: kinds(up) == ["requeued"])
    assert slurm.jobs[1].state == "PENDING" and slurm.count("scancel") == 0
    up.close()


async def test_a_server_that_somebody_stops_ends_also_after_the_hub_was_moved(
    registry: Registry, slurm: FakeSlurm, copied: Attempt
) -> None:
    run = make_run(registry, copied)
    await run.stop()
    assert slurm.jobs[1].state == "CANCELLED" and kinds(run) == ["stopped"]
    run.close()


@pytest.mark.parametrize(("uid", "kind"), [(10001, "stopped"), (0, "cancelled_by_operator")])
async def test_a_cancel_that_the_hub_sent_as_the_user_is_not_told_as_the_users(
    registry: Registry, slurm: FakeSlurm, uid: int, kind: str
) -> None:
    """A restarted hub finishes a stop; Slurm gets its scancel, and the hub no answer."""
    slurm.add_job("alice", name="jupyter", state="RUNNING")
    stored = replace(Attempt.new("summit", CODE), job_id=1, key_digest="x", port=4321, stopping=True)
    run = make_run(registry, stored)
    slurm.hang("scancel")
    run.follow()
    await until(lambda: run.job is not None)
    assert saved(run)[-1].cancel_sent and not saved(run)[-1].stopping
    slurm.end_job(1, "CANCELLED", cancelled_by=uid)
    await until(lambda: kinds(run) == [kind])
    run.close()


async def test_a_cancel_by_the_user_is_told_as_the_users(run: ServerRun, slurm: FakeSlurm) -> None:
    await up(run, slurm)
    slurm.end_job(1, "CANCELLED", cancelled_by=10001)
    await until(lambda: kinds(run) == ["cancelled"])
