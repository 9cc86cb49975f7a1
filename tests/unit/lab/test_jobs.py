"""The queue as the panel gets it."""

from __future__ import annotations

import asyncio

from tests.fakes.slurm import FakeSlurm
from tests.unit.lab.panel import Panel, assert_matches


async def test_the_queue_has_the_users_jobs_with_reasons_in_words(panel: Panel, slurm: FakeSlurm) -> None:
    waiting, running = slurm.add_job("alice"), slurm.add_job("alice")
    slurm.add_job("bob")
    slurm.jobs[waiting].reason = "Resources"
    slurm.run_job(running)
    body = (await panel.call("jobs")).json()
    assert_matches("jobs", body)
    rows = {row["id"]: row for row in body["jobs"]}
    assert rows.keys() == {waiting, running}
    assert rows[waiting]["state"] == "PENDING" and rows[waiting]["reason"]
    assert rows[running]["nodes"] == "shas0101" and rows[running]["cluster"] == "summit"


async def test_many_tabs_cost_one_query(panel: Panel, slurm: FakeSlurm) -> None:
    before = slurm.count("squeue")
    answers = await asyncio.gather(*(panel.call("jobs") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert slurm.count("squeue") == before + 1


async def test_a_slurm_that_is_away_is_a_sentence(panel: Panel, slurm: FakeSlurm) -> None:
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
    answer = await panel.call("jobs")
    assert answer.status_code == 502 and answer.json()["message"].endswith(".")
