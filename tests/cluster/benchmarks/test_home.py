"""The benchmark of Home runs to its end and prints the rows of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cluster.benchmarks.files import files_of
from tests.full import when_changed
from tests.repository import REPO


@when_changed(*files_of("home"))
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_home_is_measured_while_it_is_opened_and_while_it_stays_open() -> None:
    done = subprocess.run(
        [REPO / "scripts" / "bench", "home", "--quick", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    values = {(row["subject"], row["metric"]): row["value"] for row in rows}
    for subject in ("flatirons", "floor"):
        assert values[subject, "home_failed"] == 0 < values[subject, "home_p95_ms"]
    assert {row["streams"] for row in rows if row["metric"] == "open_hub_cpu_percent"} == {0, 20}
    assert {row["n"] for row in rows} == {10}
