"""A run whose starter the hub refused: what its user reads when the start takes too long, or its job ends."""

from __future__ import annotations

import pytest

from flatirons.errors import ServerEnded
from flatirons.servers.follow import Limits
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import Registry
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import CODE, KEY, make_run, registry, run, slurm, started, up
from tests.waiting import until

__all__ = ["registry", "run", "slurm"]  # fixtures

TOLD = "The hub can't tell yet whether a call for this server comes from its node: n1 can't be looked up."


async def test_a_start_that_takes_too_long_is_explained_by_the_refusal_rather_than_by_silence(
    registry: Registry, slurm: FakeSlurm
) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(60, 0.3, 5))
    arrival = await started(run, slurm)
    await until(lambda: run.job and run.job.state.is_running)
    run.call_refused(TOLD, is_starters=False)
    assert run.progress.events[-1]["message"] == TOLD
    with pytest.raises(ServerEnded, match="can't be looked up"):
        await arrival
    run.close()


async def test_a_refusal_explains_nothing_once_a_later_call_was_admitted(
    registry: Registry, slurm: FakeSlurm
) -> None:
    run = make_run(registry, Attempt.new("summit", CODE), Limits(60, 0.3, 5))
    arrival = await started(run, slurm)
    run.call_refused(TOLD, is_starters=False)
    await run.boot(1, KEY)
    with pytest.raises(ServerEnded, match="no server answered"):
        await arrival
    run.close()


async def test_a_refusal_does_not_explain_the_end_of_a_server_that_was_up_or_is_stopped(
    run: ServerRun, slurm: FakeSlurm
) -> None:
    await up(run, slurm)
    run.call_refused(TOLD, is_starters=True)
    assert run.refusal == ""


async def test_a_repeated_refusal_is_told_once(run: ServerRun, slurm: FakeSlurm) -> None:
    await started(run, slurm)
    for _ in range(3):
        run.call_refused(TOLD, is_starters=False)
    assert [event["message"] for event in run.progress.events].count(TOLD) == 1
