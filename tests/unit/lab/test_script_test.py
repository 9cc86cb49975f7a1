"""What the composer learns of Slurm before a script is submitted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.slurm import FakeSlurm
from tests.unit.lab.panel import Panel, assert_matches

SCRIPT = "#!/bin/bash\n#SBATCH --time=5 # five minutes\nhostname\n"


@pytest.fixture(autouse=True)
def account(slurm: FakeSlurm) -> None:
    """The panel names no user, so the fake takes it for root."""
    slurm.accounts["root"] = ("general",)


async def answer(panel: Panel, script: str) -> dict[str, Any]:
    body: dict[str, Any] = (await panel.call("test", {"script": script})).json()
    assert_matches("test", body)
    return body


async def test_slurm_reads_the_script_as_it_is_and_nothing_is_submitted(
    panel: Panel, slurm: FakeSlurm
) -> None:
    body = await answer(panel, SCRIPT)
    assert body["is_accepted"] and body["sentence"].startswith("Starts ") and body["start_at"]
    [call] = slurm.calls
    assert call.argv == ("sbatch", "--test-only") and call.stdin == SCRIPT
    assert not slurm.jobs


@pytest.mark.parametrize(
    ("stderr", "options"),
    [
        (
            "sbatch: error: invalid partition specified: x\nsbatch: error: x: Invalid partition name",
            "partition",
        ),
        ("sbatch: unrecognized option '--tiem=5'\nTry \"sbatch --help\" for more information", "tiem"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "qos"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("sbatch: invalid option -- 'P'\nTry \"sbatch --help\" for more information", "P"),
        ("sbatch: option requires an argument -- 'p'", "p"),
        ("sbatch: error: Invalid --mail-type specification", "mail-type"),
        ("sbatch: error: Batch job submission failed: Job dependency problem", "dependency"),
    ],
)
async def test_a_refusal_is_explained_and_names_the_option(
    panel: Panel, slurm: FakeSlurm, stderr: str, options: str
) -> None:
    slurm.fail("sbatch", stderr)
    body = await answer(panel, SCRIPT)
    assert not body["is_accepted"] and body["sentence"].startswith("Slurm refused the job: ")
    assert body["options"][0] == options and body["start_at"] is None


@pytest.mark.parametrize("script", ["#!/bin/sh\nls\n\0\n", "#!/bin/sh\nls\n#SBATCH -t 5\r\n"])
async def test_a_script_that_slurm_cannot_read_is_not_sent_and_its_line_is_named(
    panel: Panel, slurm: FakeSlurm, script: str
) -> None:
    body = await answer(panel, script)
    assert not body["is_accepted"] and body["line"] == 3
    assert not slurm.calls


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"script": 7}, 400),
        ([SCRIPT], 400),
        ({"script": "\ud800"}, 400),
        ({"script": "#!/bin/sh\n" + "x" * 1024 * 1024}, 413),
    ],
)
async def test_a_body_without_a_script_runs_nothing(
    panel: Panel, slurm: FakeSlurm, body: Any, status: int
) -> None:
    refused = await panel.call("test", body)
    assert refused.status_code == status and refused.json()["message"].endswith(".")
    assert not slurm.calls


async def test_a_large_script_of_many_bytes_is_read(panel: Panel, slurm: FakeSlurm) -> None:
    script = "#!/bin/sh\n" + "# ä\n" * 200_000
    assert (await answer(panel, script))["is_accepted"]
    assert slurm.calls[-1].stdin == script


async def test_a_slurm_that_is_away_is_a_sentence(panel: Panel, slurm: FakeSlurm) -> None:
    slurm.fail("sbatch", "sbatch: error: Unable to contact slurm controller (connect failure)")
    refused = await panel.call("test", {"script": SCRIPT})
    assert refused.status_code == 502 and refused.json()["message"].endswith(".")
