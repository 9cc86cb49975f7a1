"""The metrics of a hub, and of two hubs in one process."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
from prometheus_client import REGISTRY, generate_latest

from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.spawners.shared.metrics import _PROCESS, Metrics
from flatirons.spawners.shared.registry import Registry
from tests.fakes.slurm import FakeSlurm


class Hub:
    """A hub with one server that waits and two that are up."""

    def __init__(self, hub_id: str = "hub1") -> None:
        self.hub_id = hub_id

    def ages(self) -> dict[str, float]:
        return {"summit": 2.5}

    def phases(self) -> list[tuple[str, str]]:
        return [("summit", "up"), ("summit", "up"), ("summit", "waiting")]


def lines(metrics: Metrics | None = None) -> list[str]:
    """The lines of Flatirons that Prometheus reads, of one hub or of the whole process."""
    text = generate_latest(metrics.registry if metrics else REGISTRY).decode()
    return [line for line in text.splitlines() if line.startswith("flatirons_")]


@pytest.fixture(autouse=True)
def no_other_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hubs of earlier tests, to which something may still refer, are not counted."""
    monkeypatch.setattr(_PROCESS, "hubs", weakref.WeakSet())


def test_gauges_show_ages_and_servers_by_phase() -> None:
    hub = Hub()
    found = lines(Metrics(hub))
    assert 'flatirons_snapshot_age_seconds{cluster="summit"} 2.5' in found
    assert 'flatirons_servers{cluster="summit",phase="up"} 2.0' in found


def test_commands_are_counted_by_kind() -> None:
    metrics = Metrics(Hub())
    metrics.count_command("summit", "squeue", "ok", 0.1)
    metrics.count_command("summit", "squeue", "late", 30.0)
    metrics.count_command("blanca", "sbatch", "ok", 0.1)
    assert metrics.commands("summit") == {"squeue": 2}


def test_the_metrics_of_the_only_hub_are_those_of_the_process() -> None:
    hub = Hub()
    metrics = Metrics(hub)
    metrics.count_submission("summit")
    assert 'flatirons_submissions_total{cluster="summit"} 1.0' in lines()


def test_two_hubs_in_one_process_share_no_metrics() -> None:
    """Seen before: both showed the gauges of the last hub, and the counters of both."""
    clients = [SlurmClient(Cluster("summit"), FakeSlurm()) for _ in range(2)]
    log = logging.getLogger("test")
    one, other = (Registry(f"hub{n}", {"summit": client}, log) for n, client in enumerate(clients, start=1))
    one.metrics.count_submission("summit")
    assert clients[1].on_command
    clients[1].on_command("summit", "squeue", "ok", 0.1)
    assert (one.metrics.commands("summit"), other.metrics.commands("summit")) == ({}, {"squeue": 1})
    assert 'flatirons_submissions_total{cluster="summit"} 1.0' in lines(one.metrics)
    assert not any("submissions_total" in line for line in lines(other.metrics))
    both = lines()
    assert 'flatirons_submissions_total{cluster="summit",hub="hub1"} 1.0' in both
    assert (
        'flatirons_slurm_command_seconds_count{cluster="summit",command="squeue",hub="hub2",outcome="ok"} 1.0'
        in both
    )
    assert len(both) == len(set(both)), "Prometheus refuses a sample that comes twice"


def test_a_hub_that_is_gone_leaves_no_metrics_behind() -> None:
    Metrics(Hub("gone")).count_submission("summit")
    gc.collect()
    assert not lines()
