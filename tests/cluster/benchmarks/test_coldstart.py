"""The benchmark of a cold start runs to its end and prints the rows of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import coldstart
from tests.cluster.benchmarks.files import files_of
from tests.full import when_changed
from tests.repository import REPO


@when_changed(*files_of("coldstart"))
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_cold_start_is_faster_than_that_of_a_stock_image() -> None:
    done = subprocess.run(
        [REPO / "scripts" / "bench", "coldstart", "--quick", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    values = {
        (row["subject"], row["metric"], row["cache"], row.get("home", "")): row["value"]
        for row in found["rows"]
    }
    for cache, home in (("warm", ""), ("cold", ""), ("warm", "slow")):
        for subject in coldstart.IMAGES:
            answer, kernel = (
                values[subject, f"first_{what}_s", cache, home] for what in ("answer", "kernel")
            )
            assert 0 < answer < kernel
    warm = {subject: values[subject, "first_answer_s", "warm", ""] for subject in coldstart.IMAGES}
    assert warm["flatirons"] < warm["stock"]
    far = {subject: values[subject, "home_operations", "warm", "slow"] for subject in coldstart.IMAGES}
    assert far["flatirons"] < far["stock"]
