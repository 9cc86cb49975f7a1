"""The check of options against real Slurm: what a user may use now, whatever the source of the options."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from flatirons.slurm_form.offers import GATE_SECONDS
from tests.hub.test_spawn import environment_of, slurm_step_pids
from tests.person import Person
from tests.real_slurm import Slurm
from tests.repository import REPO
from tests.servers import SHAS
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

EVIL = [
    "$(touch /tmp/gate-x)",
    "`touch /tmp/gate-x`",
    "; touch /tmp/gate-x",
    "x --uid=0",
    "x\n#SBATCH --uid=0",
]


def refused(person: Person, option: str, **options: Any) -> str:
    """The message for the option, the same on the page and from REST; fails when either accepts it.

    JupyterHub answers 202 if the check takes longer than its `slow_spawn_timeout`: then the sentence is in
    the start's last event.
    """
    page, rest = person.post_form(**options), person.start(**options)
    sentence = unescape(person.message_of(page, option))
    assert page.status_code == 400 and sentence, page.text
    if rest.status_code == 202:
        last = person.events()[-1]
        assert last.get("failed") and f"{option}: {sentence}" in last["message"], last
    else:
        assert rest.status_code == 400
        assert f"{option}: {sentence}" in rest.json()["message"], rest.text
    return sentence


def changed(person: Person, **options: Any) -> httpx.Response:
    """The part of the page that replaces the old one after a change."""
    headers = {"HX-Request": "true"}
    return person.http.post("/hub/flatirons/form", data=person._xsrf(options), headers=headers)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("account", "ucb-gpu"),  # bob's
        ("account", "sol"),  # bob's, on the other cluster
        ("partition", "sops"),  # of a group that she isn't in
        ("partition", "sknl"),  # not with this account
        ("partition", "sdown"),
        ("qos", "lifted"),
        ("reservation", "course"),
        ("runtime", "8-00:00:00"),
        ("memory", "1T"),
        ("gpus", "h100:1"),
        ("cluster", "blanca2"),
    ],
)
def test_what_alice_may_not_have_is_refused_at_its_field_and_starts_no_job(
    alice: Person, slurm: Slurm, option: str, value: str
) -> None:
    if (option, value) == ("partition", "sknl"):
        assert refused(alice, "account", **{**SHAS, option: value})
    else:
        assert refused(alice, option, **{**SHAS, option: value})
    assert slurm.jobs("alice") == []


@pytest.mark.parametrize("option", ["account", "partition", "qos", "runtime", "environment", "constraint"])
def test_a_hostile_text_is_never_run(cluster: Any, alice: Person, slurm: Slurm, option: str) -> None:
    for text in EVIL:
        assert refused(alice, option, **{**SHAS, option: text})
    assert slurm.jobs("alice") == []
    assert cluster.exec("hub", ["test", "-e", "/tmp/gate-x"]).returncode == 1


def test_a_right_that_was_revoked_after_the_page_was_loaded_is_refused_soon(
    alice: Person, slurm: Slurm
) -> None:
    mine = {**SHAS, "partition": "sknl", "account": "ucb-knl"}
    where = ("user", "alice", "cluster=summit", "account=ucb-knl")
    assert ">ucb-knl" in changed(alice, **mine).text
    slurm.ask("sacctmgr", "-i", "delete", "user", "name=alice", *where[2:])
    gone = time.monotonic()
    try:
        # with a second mistake, so that a post that is too early starts no job
        eventually(lambda: alice.message_of(alice.post_form(**mine, threads="0"), "account"), 20, 0.3)
        assert time.monotonic() - gone < GATE_SECONDS + 3
        assert alice.start(**mine).status_code == 400
        assert alice.post_form(**mine).status_code == 400
        assert slurm.jobs("alice") == []
    finally:
        slurm.ask("sacctmgr", "-i", "add", *where, "qos=normal,debug", "defaultqos=normal")
    back = time.monotonic()
    eventually(lambda: not alice.message_of(alice.post_form(**mine, threads="0"), "account"), 20, 0.3)
    assert time.monotonic() - back < GATE_SECONDS + 3


@pytest.fixture
def no_controller(cluster: Any, slurm: Slurm) -> Iterator[None]:
    """summit's slurmctld is dead; the hub has seen it alive before."""

    def fault(what: str) -> None:
        argv = [REPO / "scripts" / "cluster", "--name", cluster.name, "fault", what, "slurmctld@summit"]
        subprocess.run(argv, check=True, capture_output=True)

    fault("kill")
    try:
        yield
    finally:
        fault("start")
        eventually(lambda: cluster.exec("hub", ["timeout", "2", "squeue", "-h"]).returncode == 0, 60, 0.3)


@pytest.fixture
def seen(alice: Person) -> Person:
    """alice; the hub has facts for her form."""
    assert alice.form().status_code == 200
    return alice


def test_without_slurm_the_form_shows_the_age_of_its_facts_and_a_post_gets_a_sentence(
    seen: Person, no_controller: None, cluster: Any
) -> None:
    began = time.monotonic()
    page = seen.form()
    assert page.status_code == 200 and time.monotonic() - began < 5
    assert 'value="shas"' in page.text, "what was known is offered"
    said = "Slurm doesn&#39;t answer on summit. What is shown is"
    eventually(lambda: said in changed(seen, **SHAS).text, 40, 0.5)
    assert said in seen.form().text
    began = time.monotonic()
    fragment = changed(seen, **{**SHAS, "cpus": "2"})
    assert fragment.status_code == 200 and time.monotonic() - began < 3
    bad = seen.post_form(**{**SHAS, "cpus": "0"})
    assert (bad.status_code == 400 and "at least 1" in bad.text) or "between 1 and" in bad.text
    assert seen.start(**{**SHAS, "account": "ucb-gpu"}).status_code == 400, "the last known facts judge"
    answer = seen.post_form("lost", **SHAS)
    if answer.status_code == 302:  # the start continues; its end says why
        assert seen.events("lost")[-1].get("failed")
    else:
        assert answer.status_code < 500, answer.text
        assert "Slurm" in answer.text


def test_the_values_of_site_fields_arrive_in_the_job_and_in_the_server(
    cluster: Any, alice: Person, slurm: Slurm
) -> None:
    remark = "$(touch /tmp/gate-x) 'a' \"b\" `c`; <d> %s é"
    options = {**SHAS, "patience": "7", "remark": remark, "threads": "3"}
    assert alice.post_form(**options).status_code == 302
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    assert "Nice=7" in slurm.ask("scontrol", "show", "job", str(job))
    [pid] = slurm_step_pids(cluster, job)
    environment = environment_of(cluster, pid).split("\n")
    assert {f"REMARK={remark}", "PATIENCE=7", "OMP_NUM_THREADS=3"} <= set(environment)
    assert cluster.exec("shas0101", ["test", "-e", "/tmp/gate-x"]).returncode == 1


@pytest.mark.parametrize("bad", ["1001", "-1", "7 --uid=0"])
def test_a_field_of_the_site_enforces_its_bounds(alice: Person, slurm: Slurm, bad: str) -> None:
    assert refused(alice, "patience", **{**SHAS, "patience": bad})
    assert slurm.jobs("alice") == []
