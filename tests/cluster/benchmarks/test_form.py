"""The benchmark of the form runs to its end and prints the rows of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cluster.benchmarks.files import files_of
from tests.full import when_changed
from tests.repository import REPO


@when_changed(*files_of("form"))
@pytest.mark.cluster
@pytest.mark.timeout(900)  # the first run builds what it needs
def test_the_form_benchmark_prints_the_rows_of_the_contract() -> None:
    done = subprocess.run(
        [REPO / "scripts" / "bench", "form", "--quick", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == "form"
    assert {"cores", "slurm", "python", "jupyterhub"} <= {
        key for key, value in found["machine"].items() if value
    }
    values = {(row["subject"], row["metric"]): row["value"] for row in found["rows"]}
    for subject in ("flatirons", "moss"):
        assert values[subject, "render_p95_ms"] > 0
        assert values[subject, "render_failed"] == 0
    ratio = values["flatirons", "render_p95_ms"] / values["floor", "render_p95_ms"]
    assert values["flatirons", "render_p95_to_floor"] == pytest.approx(ratio, abs=0.01)
    assert values["flatirons", "slurm_commands_per_render"] < values["moss", "slurm_commands_per_render"]
    assert {row["unit"] for row in found["rows"] if row["metric"].endswith("_p95_ms")} == {"ms"}
