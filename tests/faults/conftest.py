"""The separate cluster and hub of the fault suite, which breaks them.

`FLATIRONS_FAULTS_DEMO=NAME` uses a demo that was started with tests/faults/world.py's `site_extra`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster.demo.build import build
from cluster.demo.progress import Progress
from cluster.demo.service import Demo, free_port
from tests.faults.faults import FAULTS
from tests.faults.table import Table, write
from tests.faults.world import FEW, MANY, World, site_extra
from tests.full import IS_FULL, SEED
from tests.shards import SUMMARIES


@pytest.fixture(scope="session")
def faulty_demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    """A demo that may be broken."""
    given = os.environ.get("FLATIRONS_FAULTS_DEMO")
    if given:
        yield Demo(given)
        return
    demo = Demo(f"test-{os.getpid()}-faults", free_port())
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print()
        demo.up(build(Progress()), extra_site=site_extra())
    yield demo
    demo.down()
    demo.forget()


@pytest.fixture(scope="session")
def world(faulty_demo: Demo) -> Iterator[World]:
    """The servers that faults hit."""
    made = World(faulty_demo, MANY if IS_FULL else FEW)
    made.settle_in()
    yield made
    made.close()


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """The results; printed at the end with how to repeat them, and stored in the full form."""
    made = Table()
    yield made
    if made.rows:
        again = f"FLATIRONS_SEED={SEED} scripts/test {'--full ' if IS_FULL else ''}tests/faults"
        text = f"{made.markdown()}\nthe same moments again: {again}"
        request.config.stash[SUMMARIES].append(("faults", text))
    if IS_FULL:
        write(made, [fault.name for fault in FAULTS])


@pytest.fixture(autouse=True)
def hubs_log(request: pytest.FixtureRequest, world: World) -> Iterator[None]:
    """Adds what the hub logs during a test to the report of its failure."""
    log = world.demo.hub_log
    began = log.stat().st_size
    yield
    with log.open(errors="replace") as file:
        file.seek(began)
        print("---- hub's log, without our own questions ----")
        print(*(line for line in file if " 200 GET /hub/api/" not in line), sep="")
