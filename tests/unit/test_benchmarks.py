"""The parts of the benchmarks read real output correctly, and their options are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import burst, coldstart
from benchmarks.__main__ import parse
from benchmarks.burst import Bursts
from benchmarks.shared import large_cluster
from benchmarks.shared.form_editor import Fields
from benchmarks.shared.hub_process import request_times_ms
from benchmarks.shared.options import Options
from benchmarks.shared.server_bench import health_numbers
from benchmarks.shared.subjects import FLATIRONS, KEPT
from benchmarks.shared.testbed import BenchFailure
from tests.cluster.benchmarks.files import files_of

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


def test_the_hubs_log_tells_the_time_of_each_successful_request(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    log.write_text("200 POST /hub/flatirons/form (a@b) 99.00ms\n" + LOG)
    begin = len(log.read_bytes()) - len(LOG.encode())
    end = len(log.read_bytes())
    assert request_times_ms(log, begin, end, "POST", "/hub/flatirons/form") == [12.34]
    assert request_times_ms(log, begin, end, "GET", "/hub/spawn/") == [1.5]


def test_a_field_is_changed_to_a_value_that_the_form_offers() -> None:
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


def test_the_large_cluster_has_the_number_of_nodes_and_partitions_that_was_asked_for() -> None:
    lines = large_cluster.slurm_conf(1997, 58).splitlines()
    counts = [int(line.partition("-")[2][:4]) for line in lines if line.startswith("NodeName=")]
    assert sum(counts) == 1997
    assert len({line.split()[0] for line in lines if line.startswith("PartitionName=")}) == 58


def test_subjects_servers_and_rounds_can_be_chosen_for_a_burst() -> None:
    words = ["burst", "--subjects", "flatirons,kept", "--servers", "10,200", "--rounds", "5"]
    arguments = parse(words)
    options = Options(False, arguments.subjects, arguments.servers, arguments.rounds)
    assert burst.plan_of(options) == [Bursts(n, 5, (FLATIRONS, KEPT)) for n in (10, 200)]


def test_without_a_choice_a_burst_follows_its_plan() -> None:
    assert burst.plan_of(Options(is_quick=True)) == list(burst.QUICK_PLAN)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["burst", "--subjects", "flatirons,other"], "no subject 'other'; there are flatirons, floor"),
        (["form", "--subjects", "flatirons"], "--subjects is an option of spawn, burst, journey only"),
        (["spawn", "--servers", "1,2"], "spawn takes one number of servers"),
        (["burst", "--rounds", "0"], "'0' is not a whole number from 1 up"),
    ],
)
def test_a_wrong_choice_is_refused_with_a_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err


def test_a_cold_start_counts_only_if_the_image_offers_what_the_stock_image_offers() -> None:
    stock = {"kernels": ["python3"], "extensions of the server": ["jupyter_lsp", "jupyterlab"]}
    coldstart.check_offers({"stock": stock, "flatirons": {**stock, "kernels": ["ir", "python3"]}})
    with pytest.raises(BenchFailure, match=r"extensions of the server .*: jupyter_lsp"):
        coldstart.check_offers(
            {"stock": stock, "flatirons": {**stock, "extensions of the server": ["jupyterlab"]}}
        )


def test_a_cold_start_counts_only_with_the_check_packages() -> None:
    stock = {"jupyterlab==4.6.6"}
    coldstart.check_packages({"stock": stock, "flatirons": {*stock, "flatirons==1.0"}})
    with pytest.raises(BenchFailure, match="lark==1"):
        coldstart.check_packages({"stock": {*stock, "lark==1"}, "flatirons": stock})


def test_the_health_of_a_hub_that_was_asked_once_is_that_answer() -> None:
    assert health_numbers([(0.0, 0.25, 200)]) == {"health_p99_ms": (250, "ms"), "health_max_ms": (250, "ms")}


def test_without_a_request_nothing_is_said_of_the_health() -> None:
    assert health_numbers([]) == {}


def test_the_files_of_a_benchmark_are_its_module_what_it_imports_and_what_it_names() -> None:
    files = files_of("coldstart")
    assert {"benchmarks/coldstart.py", "benchmarks/shared/testbed.py", "benchmarks/peers.txt"} <= set(files)
    assert {"benchmarks/node/time_server.py", "benchmarks/stock-install.sh"} <= set(files)
    assert not {"benchmarks/burst.py", "benchmarks/shared/server_bench.py"} & set(files)
