"""The benchmark of engines runs to its end and prints the rows of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import engines
from benchmarks.shared.testbed import HERE, run_script, running_testbed
from benchmarks.shared.users import MAKE_ROOM, NODES
from cluster.demo.progress import Progress
from cluster.layout import CONTROLLER
from cluster.state import Bind
from tests.cluster.benchmarks.files import files_of
from tests.full import when_changed
from tests.repository import REPO


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_engines_benchmark_prints_the_rows_of_the_contract() -> None:
    done = subprocess.run(
        [REPO / "scripts" / "bench", "engines", "--quick", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    values = {(row["subject"], row["metric"]): row["value"] for row in found["rows"]}
    for subject in engines.SUBJECTS:
        assert values[subject, "all_up_s"] > values[subject, "first_map_s"] > 0
    assert values["flatirons", "engines_pss_mib"] < values["stock", "engines_pss_mib"]
    assert {(row["n"], row["nodes"]) for row in found["rows"]} == {(8, 2)}


@when_changed(*files_of("engines"))
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_sixty_four_engines_run_on_four_nodes() -> None:
    binds = [Bind(str(engines.PROGRAM), engines.PROGRAM_ON_NODE, False)]
    with running_testbed(Progress(), HERE / "site.toml", NODES, binds=binds) as demo:
        run_script(demo, CONTROLLER, MAKE_ROOM)
        found = engines.measure(demo, "flatirons", 64, 4)
    assert found["names"] == {f"shas010{number}": 16 for number in range(1, 5)}
