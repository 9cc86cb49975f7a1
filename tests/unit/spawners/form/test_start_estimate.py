"""The estimate on the page: only for complete options, with suggestions that the form accepts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from flatirons.slurm.alternatives import Alternative
from flatirons.slurm.estimate import Estimate, Kind
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.model import JobSpec
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.start_estimate import StartEstimate, start_estimate
from tests.fakes import summit

NOW = Estimate(Kind.NOW, "Starts at once.")
LONG = Estimate(Kind.LATER, "Starts in about 5 hours.", 5 * 3600)
OWN = {"feature": {"sbatch": "--constraint"}, "threads": {"type": "integer", "env": "THREADS"}}


class Asked:
    """An estimator that records its questions, and finds that every candidate starts sooner."""

    def __init__(self, answer: Estimate) -> None:
        self.answer = answer
        self.specs: list[JobSpec] = []
        self.users: set[str] = set()
        self.candidates: list[Alternative] = []

    async def estimate(self, spec: JobSpec, *, user: str) -> Estimate:
        self.specs.append(spec)
        self.users.add(user)
        return self.answer

    async def find_sooner(self, estimate: Estimate, candidates: list[Alternative], *, user: str) -> list[Any]:
        self.candidates = list(candidates)
        return [(each, NOW) for each in candidates]


async def asked(
    posted: dict[str, list[str]],
    answer: Estimate = NOW,
    user: str = "alice",
    seen: ClusterFacts = summit.FACTS,
    own: dict[str, dict[str, Any]] = OWN,
    **settings: Any,
) -> tuple[StartEstimate | None, Asked]:
    estimator = Asked(answer)
    registry = SimpleNamespace(clients={"summit": None, "blanca": None}, estimator=lambda cluster: estimator)
    spawner: Any = SimpleNamespace(
        user=SimpleNamespace(name=user),
        cluster="summit",
        registry=registry,
        own_fields=own,
    )
    form = slurm_form(settings, {"summit": {}, "blanca": {}}, {"python": {}}, own)
    hooks = FormHooks(form, lambda spawner, fresh: summit.facts(spawner.user.name, seen))
    return await start_estimate(spawner, hooks, posted), estimator


def body(**options: str) -> dict[str, list[str]]:
    return {name: [text] for name, text in options.items()}


WHOLE = body(
    cluster="summit", partition="shas", account="general", qos="normal", gpus="0", environment="python"
)


async def test_slurm_is_asked_about_exactly_the_job_that_would_be_started() -> None:
    found, estimator = await asked({**WHOLE, **body(cpus="4", memory="2G", runtime="2h", feature="ib")})
    assert found == StartEstimate(NOW, [])
    [spec] = estimator.specs
    assert (spec.partition, spec.account, spec.qos, spec.cpus) == ("shas", "general", "normal", 4)
    assert (spec.memory_mib, spec.runtime_minutes, spec.extra) == (2048, 120, ("--constraint=ib",))
    assert estimator.users == {"alice"}


@pytest.mark.parametrize(
    "wrong",
    [
        body(cpus="0"),
        body(account="bobs"),
        body(partition="$(id)"),
        body(runtime="8d"),
        body(colour="red"),
        {"cpus": ["1", "2"]},
        body(cluster="nosuch"),
        body(feature="a b"),
        body(gpus=""),
    ],
)
async def test_slurm_isnt_asked_about_options_that_the_form_refuses(
    wrong: dict[str, list[str]],
) -> None:
    found, estimator = await asked({**WHOLE, **wrong})
    assert found is None
    assert estimator.specs == []


async def test_a_short_wait_needs_no_suggestions() -> None:
    short = Estimate(Kind.LATER, "Starts in about 5 minutes.", 300)
    for answer in (short, NOW, Estimate(Kind.TOO_OFTEN, "Later.")):
        found, estimator = await asked({**WHOLE, **body(cpus="4", runtime="12h")}, answer)
        assert found == StartEstimate(answer, [])
        assert estimator.candidates == []


async def test_suggestions_are_accepted_by_the_form() -> None:
    given = {**WHOLE, **body(cpus="4", memory="8G", runtime="1-00:00:00", gpus="v100:2", feature="ib")}
    found, _ = await asked(given, LONG)
    assert found and found.sooner
    form = slurm_form({}, {"summit": {}, "blanca": {}}, {"python": {}}, OWN)
    single = {name: values[0] for name, values in given.items()}
    for change, _ in found.sooner:
        assert await form.check({**single, **change.options}, summit.context("alice"))
        assert change.spec.extra == ("--constraint=ib",)
        assert change.spec.partition in ("shas", "sknl", "lesson")
    assert len({tuple(change.options.items()) for change, _ in found.sooner}) == len(found.sooner)


async def test_a_suggestion_keeps_a_sites_own_field_apart_from_a_standard_one_of_that_name() -> None:
    own = {
        "constraint": {"type": "checkbox", "sbatch": "--exclusive"},
        "mem_per_cpu": {"sbatch": "--licenses"},
    }
    given = {**WHOLE, **body(cpus="4", runtime="1-00:00:00", constraint="on", mem_per_cpu="matlab")}
    found, _ = await asked(given, LONG, own=own)
    assert found and found.sooner
    for each, _ in found.sooner:
        assert (each.spec.extra, each.spec.constraint) == (("--exclusive", "--licenses=matlab"), "")


async def test_an_alternative_that_the_site_forbids_isnt_suggested() -> None:
    given = {**WHOLE, **body(cpus="4", runtime="1-00:00:00")}
    _, free = await asked(given, LONG)
    assert any("runtime" in change.options for change in free.candidates)
    assert any("partition" in change.options for change in free.candidates)
    locked = {"runtime": {"minimum": "1d"}, "partition": {"choices": ["shas"]}}
    _, bound = await asked(given, LONG, **locked)
    assert not any({"runtime", "partition"} & set(change.options) for change in bound.candidates)


async def test_without_facts_there_is_an_estimate_and_no_suggestion() -> None:
    found, estimator = await asked(body(cluster="blanca", partition="any", runtime="1d"), LONG)
    assert found == StartEstimate(LONG, [])
    assert estimator.specs[0].partition == "any"


async def test_a_suggestion_has_all_options_that_change() -> None:
    """Another partition needs another account: one click sets both."""
    given = {**WHOLE, **body(cpus="2", runtime="8h")}
    found, _ = await asked(given, LONG)
    assert found
    [elsewhere] = [change for change, _ in found.sooner if change.options.get("partition") == "sknl"]
    assert elsewhere.options["account"] == elsewhere.spec.account == "knl"


REFUSED = Estimate(Kind.REFUSED, "Slurm refused the job: Requested node configuration is not available.")


async def test_a_refusal_with_a_reservation_may_only_mean_not_now() -> None:
    found, _ = await asked(WHOLE, REFUSED)
    assert found and found.estimate.kind is Kind.UNKNOWN and "reserved" in found.estimate.sentence


async def test_a_refusal_of_a_future_reservation_says_when_it_begins() -> None:
    begins = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
    coming = replace(summit.RESERVATIONS[0], is_active=False, start=begins)
    seen = replace(summit.FACTS, reservations=(coming,))
    found, _ = await asked({**WHOLE, **body(reservation="workshop")}, REFUSED, seen=seen)
    assert found and found.estimate.sentence == "Starts when workshop begins: 01 March, 08:00 UTC."


async def test_without_reservations_a_refusal_stays_a_refusal() -> None:
    found, _ = await asked(WHOLE, REFUSED, seen=replace(summit.FACTS, reservations=()))
    assert found == StartEstimate(REFUSED, [])


async def test_slurm_is_not_asked_for_memory_that_it_does_not_allocate() -> None:
    _, estimator = await asked({**WHOLE, **body(memory="2G")}, seen=summit.without_memory("shas"))
    assert [spec.memory_mib for spec in estimator.specs] == [0]
