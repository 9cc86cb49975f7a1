"""When a server that ended leaves the proxy: a neighbour on its node must not get its user's requests."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import cast

import pytest

from flatirons.job.node.kinds import STOPPED
from flatirons.servers.causes import StarterEnd
from flatirons.spawners.run import departure
from flatirons.spawners.run.server_run import ServerRun
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import (
    QUICK,
    StubSpawner,
    registry,
    run,
    slurm,
    started,
    up,
)
from tests.waiting import until

__all__ = ["registry", "run", "slurm"]  # fixtures


def withdrawn_at(run: ServerRun) -> list[int]:
    return cast(StubSpawner, run.spawner).withdrawn_at


async def test_it_leaves_when_its_starter_says_that_it_ended_before_slurm_is_asked_anything(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    run.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    await up(run, slurm)
    slurm.hold("squeue")
    slurm.hold("sacct")
    asked = len(slurm.calls)
    ending = asyncio.ensure_future(run.end(StarterEnd(0, None, kind=STOPPED)))
    await asyncio.wait_for(run.departure.is_out(), 1)
    assert withdrawn_at(run) == [asked]
    ending.cancel()


async def test_slurm_is_asked_often_from_the_starters_report_on_until_the_job_is_over(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    """JupyterHub learns of the end only then, and nobody can start the server again before that."""
    run.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    await up(run, slurm)
    ending = asyncio.ensure_future(run.end(StarterEnd(0, None)))
    asked = slurm.count("squeue")
    await until(lambda: slurm.count("squeue") > asked + 3)
    slurm.end_job(1)
    await ending
    assert len(withdrawn_at(run)) == 1


@pytest.mark.parametrize("state", ["COMPLETING", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"])
async def test_it_leaves_when_slurm_says_that_its_job_ends_although_no_starter_called(
    run: ServerRun, slurm: FakeSlurm, state: str
) -> None:
    """As when starter and server were killed together."""
    await up(run, slurm)
    gate = slurm.hold("sacct")  # the report waits for accounting, the route doesn't
    if state == "COMPLETING":
        slurm.change(1, state=state)
    else:
        slurm.end_job(1, state)
    await until(lambda: withdrawn_at(run))
    gate.set()


async def test_it_leaves_when_its_job_is_requeued(run: ServerRun, slurm: FakeSlurm) -> None:
    await up(run, slurm)
    slurm.change(1, state="PENDING")
    await until(lambda: withdrawn_at(run))


@pytest.mark.parametrize("state", ["RUNNING", "SUSPENDED", "STOPPED", "a state of a later Slurm"])
async def test_it_stays_while_its_job_may_live(run: ServerRun, slurm: FakeSlurm, state: str) -> None:
    await up(run, slurm)
    slurm.change(1, state=state)
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller", times=3)
    asked = slurm.count("squeue")
    await until(lambda: slurm.count("squeue") > asked + 8)
    assert withdrawn_at(run) == []


async def test_nothing_is_removed_for_a_server_that_never_listened(run: ServerRun, slurm: FakeSlurm) -> None:
    await started(run, slurm)
    await run.boot(1, "a starter's own secret")
    ending = asyncio.ensure_future(run.end(StarterEnd(1, None)))
    slurm.end_job(1, "FAILED")
    await ending
    assert withdrawn_at(run) == []


async def test_jupyterhub_itself_removes_the_route_of_a_server_that_it_stops(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await up(run, slurm)
    await run.stop()
    assert withdrawn_at(run) == []


async def test_a_proxy_that_does_not_answer_holds_up_neither_the_starter_nor_the_report(
    run: ServerRun, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    down = asyncio.Event()

    async def hang() -> None:
        await down.wait()
        raise TimeoutError("the proxy is down")

    monkeypatch.setattr(departure, "SECONDS_TO_WITHDRAW", 0.01)
    monkeypatch.setattr(run.departure, "_withdraw", hang)
    await up(run, slurm)
    ending = asyncio.ensure_future(run.end(StarterEnd(1, None)))
    await asyncio.wait_for(run.departure.is_out(), 1)
    slurm.end_job(1, "FAILED")
    await ending
    assert cast(StubSpawner, run.spawner).reports
    with caplog.at_level(logging.ERROR):
        down.set()
        await until(lambda: "can't be removed" in caplog.text)
