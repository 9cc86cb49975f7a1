"""Why servers end, according to their reports, where real Slurm makes it hard to find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.layout import CONTROLLER
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

CONF = "/etc/slurm/summit/slurm.conf"
HELD = "/etc/slurm/summit/epilog-is-held"
EPILOG = "/etc/slurm/summit/epilog"


@pytest.fixture
def release(cluster: Any) -> Iterator[Callable[[], None]]:
    """Makes the epilogs of all jobs wait until this is called."""

    def on_controller(line: str) -> None:
        done = cluster.exec(CONTROLLER, ["sh", "-c", line])
        assert done.returncode == 0, done.stderr

    reconfigure = f"SLURM_CONF={CONF} scontrol reconfigure"
    waits = f"#!/bin/sh\\nwhile [ -e {HELD} ]; do sleep 0.2; done\\n"
    on_controller(f"touch {HELD} && printf '{waits}' >{EPILOG} && chmod 755 {EPILOG}")
    on_controller(f"echo Epilog={EPILOG} >>{CONF} && {reconfigure}")
    yield lambda: on_controller(f"rm -f {HELD}")
    on_controller(f"rm -f {HELD} && sed -i /^Epilog=/d {CONF} && {reconfigure}")


def newest(person: Person) -> dict[str, Any]:
    """The report of the user's last run."""
    found: list[dict[str, Any]] = person.rest("GET", f"/flatirons/report/{person.name}").json()["reports"]
    return found[0] if found else {}


def test_during_a_long_epilog_the_report_says_that_an_operator_cancelled_the_job(
    alice: Person, slurm: Slurm, release: Callable[[], None]
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    slurm.ask("scancel", str(job))
    eventually(lambda: newest(alice).get("job_id") == job)
    eventually(lambda: newest(alice)["kind"] == "cancelled_by_operator")
    assert slurm.jobs("alice", "CG"), "its epilog still runs"
    eventually(lambda: not (alice.server() or {}).get("ready"), 60)
    release()
    eventually(lambda: not slurm.jobs("alice", "CG"))
    assert (newest(alice)["kind"], newest(alice)["job_id"]) == ("cancelled_by_operator", job)


def test_a_job_on_two_nodes_that_ran_out_of_memory_is_offered_twice_that_of_each(alice: Person) -> None:
    alice.start(**{**SHAS, "memory": "500M", "environment": "hungry"}, nodes=2)
    eventually(lambda: newest(alice).get("fix"), 60)
    report = newest(alice)
    assert (report["kind"], report["fix"]) == ("out_of_memory", {"memory": "1G"})
    assert report["requested_memory_mib"] == 500 and "500 MB on each node" in report["sentence"]


def test_slurms_refusal_is_in_a_report(alice: Person) -> None:
    answer = alice.start(**SHAS, constraint="nosuch")
    assert answer.status_code == 400 and "Invalid feature specification" in answer.text
    report = newest(alice)
    assert (report["kind"], report["job_id"]) == ("refused", 0)
    assert report["sentence"] == answer.json()["message"] and report["options"]["constraint"] == "nosuch"
