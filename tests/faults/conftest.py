"""A cluster and a hub of the fault suite's own, since it breaks them.

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
from tests.faults.settings import IS_FULL, SEED
from tests.faults.table import Table, write
from tests.faults.world import FEW, MANY, World, site_extra


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
    """The servers that faults befall."""
    made = World(faulty_demo, MANY if IS_FULL else FEW)
    made.settle_in()
    yield made
    made.close()


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """What was seen; printed at the end, and in the full form kept."""
    request.config.stash[SEEN] = made = Table()
    yield made
    if IS_FULL:
        write(made, [fault.name for fault in FAULTS])


SEEN = pytest.StashKey[Table]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table, and how to have the same moments again, whatever became of the tests."""
    seen = config.stash.get(SEEN, None)
    if seen is not None and seen.rows:
        form = "FLATIRONS_FULL=1 " if IS_FULL else ""
        terminalreporter.section("faults")
        terminalreporter.write_line(seen.markdown())
        terminalreporter.write_line(
            f"the same moments again: {form}FLATIRONS_SEED={SEED} scripts/test tests/faults"
        )


@pytest.fixture(autouse=True)
def hubs_log(request: pytest.FixtureRequest, world: World) -> Iterator[None]:
    """What the hub logs during a test stands beside its failure."""
    log = world.demo.hub_log
    began = log.stat().st_size
    yield
    with log.open(errors="replace") as file:
        file.seek(began)
        print("---- hub's log, without our own questions ----")
        print(*(line for line in file if " 200 GET /hub/api/" not in line), sep="")
