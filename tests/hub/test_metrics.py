"""The metrics of a hub on real Slurm: each start, wait and failure is counted once, in the right place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import BLOCKED, SHAS, waiting
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

Scrape = Callable[[], "Read"]


class Read:
    """The contents of {hub}/metrics at one moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum over all samples of this name that have these labels; 0 where there is none yet."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def scrape(cluster: Any) -> Scrape:
    """Reads the metrics, as Prometheus would."""
    headers = {"Authorization": f"token {cluster.token}"}
    return lambda: Read(
        httpx.get(f"{cluster.hub_url}/hub/metrics", headers=headers, timeout=30).raise_for_status().text
    )


def test_a_start_is_counted_with_its_seconds_and_a_stop_is_no_failure(alice: Person, scrape: Scrape) -> None:
    began, before = time.monotonic(), scrape()
    alice.start(**SHAS)
    alice.wait_ready()
    took, up = time.monotonic() - began, scrape()
    alice.stop()
    after = scrape()

    def grown(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert grown("flatirons_submissions_total") == 1
    assert grown("flatirons_submissions_total", cluster="summit") == 1
    assert grown("flatirons_queue_seconds_count", cluster="summit") == 1
    assert grown("flatirons_start_seconds_count", cluster="summit") == 1
    assert 0 < grown("flatirons_start_seconds_sum", cluster="summit") < took
    assert 0 <= grown("flatirons_queue_seconds_sum", cluster="summit") <= took + 1, "Slurm has whole seconds"
    assert grown("flatirons_failures_total") == 0
    assert up("flatirons_servers", cluster="summit", phase="up") == 1
    assert after("flatirons_servers", cluster="summit", phase="up") == 0
    assert 0 <= up("flatirons_snapshot_age_seconds", cluster="summit") < 60
    assert grown("flatirons_slurm_command_seconds_count", command="sbatch", outcome="ok") == 1


def test_the_wait_in_the_queue_is_measured_and_is_not_part_of_the_start(
    alice: Person, slurm: Slurm, full_sknl: int, scrape: Scrape
) -> None:
    before = scrape()
    alice.start(**BLOCKED)
    began = time.monotonic()
    eventually(lambda: waiting(slurm))
    held = scrape()
    assert held("flatirons_servers", cluster="summit", phase="waiting") == 1
    assert held("flatirons_queue_seconds_count") == before("flatirons_queue_seconds_count")
    eventually(lambda: time.monotonic() - began > 6)
    slurm.ask("scancel", str(full_sknl))
    alice.wait_ready()
    took, after = time.monotonic() - began, scrape()
    waited = after("flatirons_queue_seconds_sum") - before("flatirons_queue_seconds_sum")
    started = after("flatirons_start_seconds_sum") - before("flatirons_start_seconds_sum")
    assert after("flatirons_queue_seconds_count") - before("flatirons_queue_seconds_count") == 1
    assert 5 <= waited <= took + 2, "Slurm has whole seconds"
    assert 0 < started < took - 5


@pytest.mark.parametrize(
    ("wrong", "kind", "submitted"),
    [
        ({"environment": "broken"}, "failed", 1),
        ({"environment": "gone"}, "image_missing", 1),
        ({"constraint": "nosuch"}, "refused", 0),
    ],
)
def test_a_failed_start_is_counted_once_by_its_kind_without_any_names(
    alice: Person, scrape: Scrape, wrong: dict[str, str], kind: str, submitted: int
) -> None:
    before = scrape()
    alice.start(**{**SHAS, **wrong})
    eventually(lambda: not (alice.server() or {}).get("pending"))
    after = scrape()
    assert after("flatirons_failures_total", kind=kind) - before("flatirons_failures_total", kind=kind) == 1
    assert after("flatirons_failures_total") - before("flatirons_failures_total") == 1
    assert after("flatirons_submissions_total") - before("flatirons_submissions_total") == submitted
    assert after("flatirons_start_seconds_count") == before("flatirons_start_seconds_count")
    ours = [line for line in after.text.splitlines() if "flatirons_" in line]
    assert ours and not any("alice" in line for line in ours)


def test_a_server_that_somebody_cancelled_while_it_was_up_is_a_failure_of_that_kind(
    alice: Person, slurm: Slurm, scrape: Scrape
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    [(job, _, _)] = slurm.jobs("alice")
    before = scrape()
    slurm.ask("scancel", str(job), user="alice")
    # The server is out of the proxy before Slurm says who cancelled its job.
    of_kind = "cancelled"
    counted = before("flatirons_failures_total", kind=of_kind)
    eventually(lambda: scrape()("flatirons_failures_total", kind=of_kind) > counted, 60)
    after = scrape()
    assert after("flatirons_failures_total", kind=of_kind) - counted == 1
    assert after("flatirons_failures_total") - before("flatirons_failures_total") == 1
