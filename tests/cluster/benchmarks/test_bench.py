"""Benchmarks run to their end and say what the contract has; their parts read what is really there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import coldstart, crowd, engines, estate
from benchmarks.editing import Fields
from benchmarks.hubs import requests
from benchmarks.stage import HERE, BenchFailure, do, stage
from cluster.demo.progress import Progress
from cluster.layout import CONTROLLER
from cluster.state import Bind
from tests.repository import REPO

LOG = """\
[I 2026-11-25 01:00:00.000 JupyterHub log:192] 200 GET /hub/spawn/bench001 (bench001@10.89.0.1) 1.50ms
[I 2026-11-25 01:00:00.001 JupyterHub log:192] 200 POST /hub/flatirons/form?user=a&server= (a@::1) 12.34ms
[W 2026-11-25 01:00:00.002 JupyterHub log:192] 403 POST /hub/flatirons/form?user=a&server= (@::1) 0.40ms
[I 2026-11-25 01:00:00.003 JupyterHub log:192] 302 POST /hub/login?next= -> /hub/home (a@::1) 3.00ms
[I 2026-11-25 01:00:00.004 JupyterHub base:1234] User logged in: 200 POST
"""
FORM = """\
<form><input name="other" value="1"><div class="flatirons-form" id="flatirons-form" hx-post="x">
<input type="hidden" name="_boxes" value="a,b"><input type="search" id="search-partition">
<select class="form-select" name="partition"><optgroup label="big"><option value="a">A</option>
<option value="b&amp;c" selected>B</option></optgroup></select>
<input type="radio" name="environment" value="python" checked>
<input type="radio" name="environment" value="r">
<input type="checkbox" name="box" value="on"><input class="x" type="text" value="2G" name="memory">
</div></form>
"""


def test_the_hubs_log_tells_what_each_good_answer_took(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    log.write_text("200 POST /hub/flatirons/form (a@b) 99.00ms\n" + LOG)
    begin = len(log.read_bytes()) - len(LOG.encode())
    end = len(log.read_bytes())
    assert requests(log, begin, end, "POST", "/hub/flatirons/form") == [12.34]
    assert requests(log, begin, end, "GET", "/hub/spawn/") == [1.5]


def test_a_change_is_one_that_the_form_offers() -> None:
    fields = Fields.of(FORM)
    assert fields.values == {
        "_boxes": "a,b",
        "partition": "b&c",
        "environment": "python",
        "memory": "2G",
    }
    assert fields.changed(0) == ("partition", "a")
    name, value = fields.changed(1)
    assert name == "memory" and value != "2G"


def test_the_large_centre_is_as_large_as_it_is_said_to_be() -> None:
    lines = estate.slurm_conf(1997, 58).splitlines()
    counts = [int(line.partition("-")[2][:4]) for line in lines if line.startswith("NodeName=")]
    assert sum(counts) == 1997
    assert len({line.split()[0] for line in lines if line.startswith("PartitionName=")}) == 58


@pytest.mark.cluster
@pytest.mark.timeout(900)  # the first time it builds what it needs
def test_the_benchmark_of_the_form_says_what_the_contract_has() -> None:
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
    assert values["flatirons", "slurm_commands_per_render"] < values["moss", "slurm_commands_per_render"]
    assert {row["unit"] for row in found["rows"] if row["metric"].endswith("_p95_ms")} == {"ms"}


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_benchmark_of_engines_says_what_the_contract_has() -> None:
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


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_sixty_four_engines_name_four_nodes() -> None:
    binds = [Bind(str(engines.PROGRAM), "/opt/engines.py", False)]
    with stage(Progress(), HERE / "site.toml", crowd.NODES, binds=binds) as demo:
        do(demo, CONTROLLER, crowd.MAKE_ROOM)
        found = engines.measure(demo, "flatirons", 64, 4)
    assert found["names"] == {f"shas010{number}": 16 for number in range(1, 5)}


def test_a_cold_start_counts_only_if_nothing_of_a_stock_image_is_missing() -> None:
    stock = {"kernels": ["python3"], "extensions of the server": ["jupyter_lsp", "jupyterlab"]}
    coldstart.same_offers({"stock": stock, "flatirons": {**stock, "kernels": ["ir", "python3"]}})
    with pytest.raises(BenchFailure, match=r"extensions of the server .*: jupyter_lsp"):
        coldstart.same_offers(
            {"stock": stock, "flatirons": {**stock, "extensions of the server": ["jupyterlab"]}}
        )


def test_a_cold_start_counts_only_with_the_same_packages() -> None:
    stock = {"jupyterlab==4.6.6"}
    coldstart.same_packages({"stock": stock, "flatirons": {*stock, "flatirons==1.0"}})
    with pytest.raises(BenchFailure, match="lark==1"):
        coldstart.same_packages({"stock": {*stock, "lark==1"}, "flatirons": stock})


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_the_benchmark_of_cold_starts_finds_all_that_a_stock_image_offers_sooner() -> None:
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
