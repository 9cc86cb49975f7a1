"""The operators' page of a real hub: servers in several phases, an orphan, how Slurm answers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import BLOCKED, SHAS, waiting
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

HOSTILE = "<script>alert('slurm')</script>"
SPOIL = """
found=$(realpath "$(command -v squeue)")
printf '#!/bin/sh\\necho "%s" >&2\\nexit 1\\n' "$1" > /run/hostile
chmod 755 /run/hostile
mount --bind /run/hostile "$found"
"""
MEND = 'umount --lazy "$(realpath "$(command -v squeue)")"'


ROLE = """
c.JupyterHub.load_roles.append({"name": "operators", "users": ["carol"], "scopes": ["admin:servers"]})
"""


@pytest.fixture(scope="module")
def operators(cluster: Any) -> Iterator[None]:
    """A role for operators, in the hub's configuration; JupyterHub deletes it when it is gone from there."""
    config = cluster.demo.etc / "hub_config.py"
    before = config.read_text()
    cluster.stop_hub()
    try:
        config.write_text(before + ROLE)
        cluster.start_hub()
        yield
        cluster.stop_hub()
    finally:
        config.write_text(before)
        cluster.start_hub()


@pytest.fixture
def operator(cluster: Any, operators: None) -> Iterator[Person]:
    """Carol, who has the rights of an operator and no more."""
    carol = Person(cluster.hub_url, "carol").log_in()
    yield carol
    carol.http.close()


def seen(operator: Person) -> dict[str, Any]:
    """The operations, as JSON."""
    found: dict[str, Any] = operator.rest("GET", "/flatirons/operations").raise_for_status().json()
    return found


def page(operator: Person) -> str:
    """The operations, as HTML."""
    return operator.http.get("/hub/flatirons/operations").raise_for_status().text


def rows(html: str, table: str) -> list[list[str]]:
    """The cells of a table of the page, as a reader sees them."""
    found = re.search(rf'<table[^>]* id="{table}">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert found, f"no table {table}"
    lines = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<td.*?</td>", line, re.DOTALL) for line in lines]
    return [[" ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in line] for line in cells]


def only(found: list[dict[str, Any]], **known: Any) -> dict[str, Any]:
    """The only one of these with these values."""
    [one] = [each for each in found if known.items() <= each.items()]
    return one


def test_operators_see_a_running_server_one_that_waits_and_an_orphan_after_a_restart_of_the_hub(
    cluster: Any, alice: Person, bob: Person, operator: Person, slurm: Slurm, full_sknl: int
) -> None:
    bob.start(**SHAS)
    bob.wait_ready()
    [(running, _, _)] = slurm.jobs("bob")
    assert alice.start("waits", **BLOCKED).status_code in (201, 202)
    [(pending, _, _)] = eventually(lambda: waiting(slurm))
    hub = slurm.ask("squeue", "-h", "-j", str(running), "-o", "%k").split(":")[1]
    comment = f"flatirons:{hub}:0123456789abcdef:alice/"
    orphan = slurm.submit("alice", "-A", "ucb-general", "--comment", comment)
    cluster.kill_hub()
    cluster.start_hub()
    eventually(lambda: seen(operator)["orphans"])
    eventually(lambda: [each["state"] for each in seen(operator)["servers"]].count("") == 0)

    found = seen(operator)
    up = only(found["servers"], user="bob")
    assert up.items() >= {"server": "", "cluster": "summit", "job_id": running, "phase": "up"}.items()
    assert (up["state"], up["node"]) == ("RUNNING", "shas0101")
    waits = only(found["servers"], user="alice")
    assert waits.items() >= {"server": "waits", "job_id": pending, "phase": "waiting", "node": ""}.items()
    assert (waits["state"], waits["reason"]) == ("PENDING", "Resources")
    lost = only(found["orphans"], job_id=orphan)
    assert lost.items() >= {"cluster": "summit", "user": "alice", "outcome": "cancelled"}.items()
    assert found["since"] < lost["at"] < time.time()
    summit = only(found["clusters"], name="summit")
    assert (summit["failures"], summit["trouble"]) == (0, "")
    assert 0 <= summit["age_seconds"] < 60
    commands = summit["commands"]
    assert commands["squeue"] >= 1 and commands["scancel"] == 1 and "sbatch" not in commands
    assert summit["rpcs"] == 2 * commands["squeue"] + commands["scancel"] + commands.get("scontrol", 0)

    html = page(operator)
    shown = {tuple(row[:3]): row for row in rows(html, "servers")}
    of_bob, of_alice = shown["bob", "(default)", "up"], shown["alice", "waits", "waiting"]
    assert of_bob[5] == f"summit {running} RUNNING" and of_bob[6].startswith("shas0101")
    assert re.fullmatch(r"1?\d minutes|20 minutes", of_bob[4]), "of the 20 minutes that it asked for"
    assert of_alice[4:7] == ["", f"summit {pending} PENDING (Resources)", ""]
    assert re.fullmatch(r"\d+ seconds?|\d minutes?", of_alice[3])
    [lost_row] = [row for row in rows(html, "orphans") if row[2] == str(orphan)]
    assert lost_row[1:] == ["summit", str(orphan), "alice", "cancelled"]
    [row] = [row for row in rows(html, "clusters") if row[0] == "summit"]
    assert re.fullmatch(r"\d+ seconds? ago", row[1]) and row[2] == "0"
    assert re.fullmatch(r"about \d+", row[4])


def test_an_operator_stops_a_server_and_cancels_a_start_without_javascript(
    alice: Person, bob: Person, operator: Person, slurm: Slurm, full_sknl: int
) -> None:
    bob.start(**SHAS)
    bob.wait_ready()
    assert alice.start("waits", **BLOCKED).status_code in (201, 202)
    eventually(lambda: waiting(slurm))
    page(operator)  # sets the cookie with the token for this page
    for user, server in (("bob", ""), ("alice", "waits")):
        body = {"user": user, "server": server}
        assert operator.http.post("/hub/flatirons/operations/stop", data=body).status_code == 403
        answer = operator.http.post("/hub/flatirons/operations/stop", data=operator._xsrf(body))
        assert answer.status_code == 200 and answer.url.path == "/hub/flatirons/operations"
    eventually(lambda: not slurm.jobs("bob") and not waiting(slurm), 60)
    eventually(lambda: not seen(operator)["servers"], 60)
    assert not (bob.server() or {}).get("ready") and not (alice.server("waits") or {}).get("pending")


def test_a_failed_start_is_counted_by_its_reason_with_a_link_to_its_report(
    alice: Person, operator: Person
) -> None:
    alice.start("bad", **{**SHAS, "environment": "gone"})
    found = eventually(
        lambda: [each for each in seen(operator)["failures"] if each["kind"] == "image_missing"], 60
    )
    assert found[0]["newest"][0].items() >= {"user": "alice", "server": "bad"}.items()
    assert sum(seen(operator)["history"]["failures"]) >= 1
    html = page(operator)
    assert any(row[0] == "image missing or unreadable" for row in rows(html, "failures"))
    assert 'href="/hub/flatirons/report/alice/bad"' in html


def test_a_server_that_started_here_has_its_seconds_in_the_queue(
    alice: Person, operator: Person, slurm: Slurm
) -> None:
    before = only(seen(operator)["clusters"], name="summit")["commands"].get("sbatch", 0)
    alice.start(**SHAS)
    alice.wait_ready()
    found = seen(operator)
    server = only(found["servers"], user="alice")
    assert server["phase"] == "up" and 0 <= server["waited_seconds"] < 30
    assert only(found["clusters"], name="summit")["commands"]["sbatch"] == before + 1
    alice.stop()
    assert [each for each in seen(operator)["servers"] if each["user"] == "alice"] == []


def test_an_error_of_slurm_is_shown_escaped_until_it_answers_again(
    cluster: Any, alice: Person, operator: Person, slurm: Slurm, full_sknl: int
) -> None:
    alice.start(**BLOCKED)  # while something waits Slurm is asked every few seconds
    eventually(lambda: waiting(slurm))

    def summit() -> dict[str, Any]:
        return only(seen(operator)["clusters"], name="summit")

    assert cluster.exec("hub", ["sh", "-ec", SPOIL, "spoil", HOSTILE]).returncode == 0
    try:
        troubled = eventually(lambda: (now := summit())["failures"] and now)
        html = page(operator)
    finally:
        assert cluster.exec("hub", ["sh", "-ec", MEND]).returncode == 0
    assert HOSTILE in troubled["trouble"]
    assert HOSTILE not in html and HOSTILE in unescape(html)
    assert '<tr data-key="summit" class="table-warning">' in html
    healed = eventually(lambda: (now := summit())["failures"] == 0 and now, 60)
    assert (healed["trouble"], healed["age_seconds"] < 10) == ("", True)
    [(job, _, _)] = waiting(slurm)
    assert only(seen(operator)["servers"], user="alice")["job_id"] == job, "no server is lost over it"


def test_only_operators_see_the_page(operators: None, alice: Person) -> None:
    assert alice.rest("GET", "/flatirons/operations").status_code == 403
    assert alice.http.get("/hub/flatirons/operations").status_code == 403
