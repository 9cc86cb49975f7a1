"""What the composer knows of the user's partitions, accounts, QOS and reservations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flatirons.lab.offer import as_offer
from flatirons.slurm import client
from flatirons.slurm.cluster_model import Configuration
from flatirons.slurm.rights import Rights
from tests.fakes import summit
from tests.fakes.slurm import FakeSlurm
from tests.unit.lab.panel import Panel, assert_matches

ANSWERS: dict[str, Any] = {
    "configuration": summit.CONFIGURATION,
    "partitions": list(summit.PARTITIONS),
    "nodes": list(summit.NODES),
    "reservations": list(summit.RESERVATIONS),
    "waiting": {},
    "qos": list(summit.QOS.values()),
    "accounts": [],
    "associations": list(summit.ASSOCIATIONS["alice"]),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of a cluster that answers as `summit` does."""
    asked: list[str] = []
    for name, answer in ANSWERS.items():

        async def ask(self: client.SlurmClient, *args: str, name: str = name, answer: Any = answer) -> Any:
            asked.append(name)
            return answer

        monkeypatch.setattr(client.SlurmClient, name, ask)
    return asked


async def test_the_offer_is_what_this_user_may_use(panel: Panel, asked: list[str]) -> None:
    body = (await panel.call("offer")).json()
    assert_matches("offer", body)
    assert body["has_slurm"] and body["trouble"] == ""
    partitions = {each["name"]: each for each in body["partitions"]}
    assert partitions.keys() == {"shas", "sknl", "lesson"}  # she is on the reservation that lesson needs
    assert partitions["shas"]["is_default"] and not partitions["sknl"]["is_default"]
    assert partitions["shas"]["max_minutes"] == 7 * 1440 and partitions["sknl"]["max_minutes"] == 1440
    assert partitions["sknl"]["max_memory_mib"] == 96000 and partitions["sknl"]["max_cpus"] == 64
    assert partitions["sknl"]["gpus"] == {"": 6, "a100": 4, "k80": 2}
    assert partitions["sknl"]["accounts"] == ["knl"] and partitions["sknl"]["qos"] == ["normal", "debug"]
    assert body["accounts"] == ["general", "knl"] and set(body["qos"]) == {"normal", "long", "debug"}
    assert body["reservations"] == ["workshop"]


async def test_many_tabs_ask_slurm_once(panel: Panel, asked: list[str]) -> None:
    answers = await asyncio.gather(*(panel.call("offer") for _ in range(6)))
    assert len({answer.text for answer in answers}) == 1
    assert sorted(asked) == sorted(ANSWERS)


async def test_a_slurm_that_is_away_offers_nothing_and_forbids_nothing(
    panel: Panel, slurm: FakeSlurm
) -> None:
    slurm.fail("scontrol", "Unable to contact slurm controller (connect failure)", times=9)
    body = (await panel.call("offer")).json()
    assert_matches("offer", body)
    assert body["trouble"].endswith(".") and body["partitions"] is body["accounts"] is None


def test_a_cluster_without_accounting_forbids_no_account() -> None:
    facts = replace(summit.FACTS, configuration=Configuration("summit"), qos={}, kept={})
    body = as_offer(Rights(facts, None, "alice"))
    assert body["accounts"] is None and body["qos"] is None
    assert {"shas", "sknl"} <= {each["name"] for each in body["partitions"]}
