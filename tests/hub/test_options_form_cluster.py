"""An operator's own form on our spawner, as in docs/how-to/any-spawner.md, on a virtual cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.layout import HUB, HUB_ACCOUNT
from tests.hub.test_options_form_spawner import manual
from tests.hub.test_plain_config import STATE, PlainHub, configuration, jobs, running
from tests.person import Person
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

OWN_STATE = "/var/lib/jupyterhub/options"


def with_own_form() -> str:
    """The plain configuration, with the page's lines in place of its form."""
    text, count = re.subn(
        r"^# The form, .*?\.attach\(c\.SlurmSpawner\)$", "", configuration(), flags=re.M | re.S
    )
    assert count == 1
    return text.replace(STATE, OWN_STATE) + manual("Flatirons' SlurmSpawner").replace(
        '"physics"', '"ucb-knl"'
    )


@pytest.fixture(scope="module")
def hub(cluster: Any) -> Iterator[PlainHub]:
    """The hub with the operator's own form."""
    hub = PlainHub(cluster.demo)
    (cluster.demo.etc / "plain.py").write_text(with_own_form())
    cluster.exec(HUB, ["install", "-d", "-m", "700", OWN_STATE], HUB_ACCOUNT.name)
    with running(cluster, hub):
        yield hub


@pytest.fixture
def alice(cluster: Any, hub: PlainHub) -> Iterator[Person]:
    """Alice at that hub; her server is stopped afterwards."""
    person = Person(cluster.hub_url, "alice").log_in()
    yield person
    person.stop()
    person.http.close()
    eventually(lambda: jobs(cluster) == "")


def test_a_form_of_the_operator_starts_a_job_that_a_restart_finds_and_a_stop_ends(
    cluster: Any, alice: Person, hub: PlainHub
) -> None:
    page = alice.form()
    assert "Haswell" in page.text and 'name="account"' not in page.text
    answer = alice.post_form(partition="sknl", cpus="2", runtime="10m")
    assert answer.status_code == 302, answer.text
    began = alice.wait_ready()["started"]
    assert jobs(cluster).split() == ["jupyter", "sknl", "ucb-knl", "2", "10:00"]
    assert alice.ask_server("api/status").status_code == 200
    hub.stop()
    hub.start()
    assert alice.wait_ready()["started"] == began
    assert alice.ask_server("api/status").status_code == 200


def test_an_option_that_no_field_offers_is_refused_and_starts_nothing(cluster: Any, alice: Person) -> None:
    page = alice.post_form(partition="sknl", cpus="9", runtime="1:00:00")
    assert page.status_code == 400 and alice.message_of(page, "cpus")
    refused = alice.start(partition="sknl", account="ucb-general")
    assert refused.status_code == 400 and "account" in refused.json()["message"]
    assert jobs(cluster) == ""
