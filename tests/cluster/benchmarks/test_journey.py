"""The benchmark of a person's wait runs to its end and prints the rows of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import journey
from tests.cluster.benchmarks.files import files_of
from tests.full import when_changed
from tests.repository import REPO


@when_changed(*files_of("journey"), "images/base")
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_parts_of_a_persons_wait_add_up_to_the_whole() -> None:
    done = subprocess.run(
        [REPO / "scripts" / "bench", "journey", "--quick", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    values = {(row["subject"], row["cache"], row["metric"]): row["value"] for row in found["rows"]}
    for cache in ("empty", "warm"):
        parts = [values["flatirons", cache, f"{part}_s"] for part in journey.PARTS]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(values["flatirons", cache, "click_to_output_s"], abs=0.01)
    assert values["flatirons", "warm", "loaded_kib"] < values["flatirons", "empty", "loaded_kib"] / 5
    assert 0 < values["floor", "none", "click_to_output_s"] < values["flatirons", "warm", "click_to_output_s"]
