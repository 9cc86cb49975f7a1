"""The fault suite reports each broken invariant, and nothing if none is broken."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.faults.faults import FAULTS, nobody, one_of_each, one_of_each_group, those
from tests.faults.invariants import Job, View, notebook_jobs, wrongs

ALICE = ("alice", "")
UP: dict[str, Any] = {"ready": True, "pending": None, "state": {"job_id": 7}}
GONE: dict[str, Any] = {"ready": False, "pending": None, "state": {}}
STARTING = {**UP, "ready": False, "pending": "spawn"}
RUNS = Job(7, "RUNNING", ALICE, "shas0101")
ENDED = replace(RUNS, state="COMPLETED")
REPORT = {"job_id": 7, "kind": "node_failure", "sentence": "", "node": "shas0101", "ended_at": 200.0}


def found(job: Job | None, model: dict[str, Any], *, answer: Any = 7, reports: Any = ()) -> list[str]:
    """What is wrong if only alice's server may exist; it was requested, and its job existed."""
    view = View({job.id: job} if job else {}, {ALICE: model}, {ALICE: list(reports)}, {ALICE: answer})
    return wrongs(view, [RUNS], {ALICE: 100.0}, those("node_failure", node="shas0101"))


def test_a_server_that_answers_with_its_job_is_right_and_so_is_one_that_waits() -> None:
    assert found(RUNS, UP) == []
    assert found(replace(RUNS, state="PENDING"), STARTING) == []
    assert found(ENDED, GONE, reports=[REPORT]) == []
    assert found(None, GONE, reports=[REPORT]) == [], "slurmctld may have forgotten it"


@pytest.mark.parametrize(
    ("job", "model", "more", "sentence"),
    [
        (RUNS, GONE, {"reports": [REPORT]}, "belongs to no server"),
        (RUNS, {**UP, "state": {"job_id": 8}}, {}, "belongs to no server"),
        (RUNS, STARTING, {}, "runs, but the hub says ready=False"),
        (RUNS, UP, {"answer": 8}, "and the server 8"),
        (RUNS, UP, {"answer": "HTTP 503"}, "and the server 'HTTP 503'"),
        (replace(RUNS, state="PENDING"), UP, {}, "is PENDING, but the hub says"),
        (ENDED, UP, {"reports": [REPORT]}, "whose job 7 is over"),
        (None, {**UP, "pending": "stop"}, {"reports": [REPORT]}, "whose job 7 is over"),
        (ENDED, GONE, {}, "ended (COMPLETED) without a report"),
        (ENDED, GONE, {"reports": [{**REPORT, "job_id": 6}]}, "without a report"),
        (ENDED, GONE, {"reports": [{**REPORT, "kind": "stopped"}]}, "ended as stopped"),
        (ENDED, GONE, {"reports": [{**REPORT, "node": "shas0102"}]}, "ended as node_failure"),
        (ENDED, GONE, {"reports": [{**REPORT, "ended_at": 50.0}]}, "nobody says why"),
    ],
)
def test_each_broken_invariant_is_found(
    job: Job | None, model: dict[str, Any], more: dict[str, Any], sentence: str
) -> None:
    assert any(sentence in wrong for wrong in found(job, model, **more))


def test_a_fault_that_ends_nothing_allows_no_end() -> None:
    assert not nobody(ALICE, REPORT)
    assert not those("node_failure", keys={("bob", "")})(ALICE, REPORT)


def test_only_jobs_of_a_hub_are_notebooks() -> None:
    rows = "7|RUNNING|flatirons:hub:spawn:alice/|shas0101\n8|RUNNING|(null)|shas0101\n"
    assert notebook_jobs(rows) == {7: RUNS}


def test_a_short_run_has_one_fault_of_each_group_and_all_others() -> None:
    class First:
        def choice(self, faults: list[Any]) -> Any:
            return faults[0]

    chosen: Any = one_of_each_group(First())  # type: ignore[arg-type]
    groups = [fault.group for fault in chosen if fault.group]
    assert len(groups) == len(set(groups)) > 3
    assert {fault.name for fault in FAULTS if not fault.group} < {fault.name for fault in chosen}


def test_a_short_run_cancels_one_server_in_each_phase_that_there_is() -> None:
    jobs = [replace(RUNS, id=number) for number in range(1, 8)]
    phases = {1: "waiting", 2: "waiting", 3: "starting", 4: "up", 5: "up", 6: "stopping"}
    for seed in range(20):
        chosen = one_of_each(jobs, phases, Random(seed))
        assert sorted(phases[job.id] for job in chosen) == ["starting", "stopping", "up", "waiting"]
