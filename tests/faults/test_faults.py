"""After any fault, no notebook is lost, no job is left behind, and every end has its true reason."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from tests.faults.faults import FAULTS, PHASES, Fault, one_of_each_group
from tests.faults.invariants import Key, MayEnd, View, wrongs
from tests.faults.settings import DEADLINE_S, REPETITIONS
from tests.faults.table import Row, Table
from tests.faults.world import NoAnswer, World
from tests.full import IS_FULL, SEED

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

TRIED = FAULTS if IS_FULL else one_of_each_group(Random(SEED))


@pytest.mark.parametrize("fault", TRIED, ids=lambda fault: fault.name)
def test_after_a_fault_hub_and_slurm_agree_and_every_end_has_its_reason(
    world: World, table: Table, fault: Fault
) -> None:
    row = table.row(fault.name, SEED)
    for number in range(REPETITIONS):
        random = Random(f"{SEED} {fault.name} {number}")
        print(f"seed {SEED}, repetition {number}")
        try:
            repeat(world, fault, random, row)
        except AssertionError as error:
            print(f"{time.strftime('%H:%M:%S')} broken: {error}")
            row.broken += 1
            world.reset()
            raise
    missed = fault.hits - row.hit.keys()
    # the quick form has few repetitions, and hits whatever phases there are at its moment
    assert not (IS_FULL and missed), f"in {row.repetitions} repetitions none hit a server that was {missed}"


def repeat(world: World, fault: Fault, random: Random, row: Row) -> None:
    """One repetition: begins and ends with everything in order."""
    world.arrange()
    world.set_off()
    time.sleep(random.uniform(0, 2.5))  # the random moment
    lasts = random.uniform(*(fault.full if IS_FULL else fault.short))
    with fault.happen(world, random) as may_end:
        time.sleep(lasts)
    legitimate = with_phases(world, may_end)
    row.repetitions += 1
    row.hit.update(world.hit)
    row.servers += len(world.servers)
    mended = time.monotonic()
    view = settle(world, legitimate)
    took = time.monotonic() - mended
    row.slowest = max(row.slowest, took)
    ends = [view.report(job) for job in world.born.values()]
    row.ends.update(report["kind"] for report in ends if report)
    print(f"{fault.name}: lasted {lasts:.1f} s, right after {took:.1f} s, {dict(row.ends)}")


def with_phases(world: World, may_end: MayEnd) -> MayEnd:
    """The ends that the fault allows, and those that belong to a server's phase."""
    phases = {each.key: each.phase for each in world.servers}

    def may(key: Key, report: Mapping[str, Any]) -> bool:
        return report["kind"] in PHASES.get(phases[key], ()) or may_end(key, report)

    return may


def settle(world: World, may_end: MayEnd) -> View:
    """The first view in which nothing is wrong; fails at the deadline with what is wrong."""
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            view = world.look()
            world.remember(view)
            wrong = wrongs(view, world.born.values(), world.taken(), may_end)
        except NoAnswer as error:
            wrong = [f"no answer from {error}"]
        if not wrong:
            return view
        assert time.monotonic() < until, "\n".join(wrong)
        time.sleep(0.3)
