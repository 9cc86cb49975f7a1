"""What Prometheus is told, beside JupyterHub's own numbers under {hub}/metrics.

Labels hold names of clusters, commands, states and kinds of causes; never of users or jobs.
"""

from __future__ import annotations

import weakref
from collections import Counter as Count
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SUBMISSIONS = Counter("flatirons_submissions", "Jobs that Slurm took", ["cluster"])
FAILURES = Counter(
    "flatirons_failures", "Servers that did not start, or ended by themselves, by the kind of cause", ["kind"]
)
QUEUE_SECONDS = Histogram(
    "flatirons_queue_seconds",
    "From a job's submission to its start",
    ["cluster"],
    buckets=(1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400),
)
START_SECONDS = Histogram(
    "flatirons_start_seconds",
    "From a job's start to its server's answer",
    ["cluster"],
    buckets=(0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300),
)
COMMAND_SECONDS = Histogram(
    "flatirons_slurm_command_seconds",
    "Time that a command of Slurm's took",
    ["cluster", "command", "outcome"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


class Seen(Protocol):
    """What is counted at the moment when somebody asks."""

    def ages(self) -> Mapping[str, float]:
        """Seconds since each cluster's last good answer, infinite before the first."""

    def phases(self) -> Iterable[tuple[str, str]]:
        """The cluster and the phase of each server."""


class Gauges(Collector):
    """Gauges that are worked out when they are read, of one hub: the one that set `hub` last."""

    def __init__(self) -> None:
        self.hub: weakref.ref[Seen] | None = None

    def collect(self) -> Iterator[Metric]:
        """What holds now."""
        ages = GaugeMetricFamily(
            "flatirons_snapshot_age_seconds", "Time since Slurm's last good answer", labels=["cluster"]
        )
        servers = GaugeMetricFamily(
            "flatirons_servers", "Servers by what they are doing", labels=["cluster", "phase"]
        )
        if seen := self.hub and self.hub():
            for cluster, age in seen.ages().items():
                ages.add_metric([cluster], age)
            for labels, number in Count(seen.phases()).items():
                servers.add_metric(labels, number)
        yield from (ages, servers)


GAUGES = Gauges()
REGISTRY.register(GAUGES)


RPCS = {"squeue": 2, "sbatch": 1, "scancel": 1, "scontrol": 1}
"""What each command asks of slurmctld, as sdiag counts them with Slurm 24.11; the others ask slurmdbd."""


def commands(cluster: str) -> dict[str, int]:
    """How often each command was run for a cluster since the hub started."""
    found: dict[str, int] = {}
    for metric in COMMAND_SECONDS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_count") and sample.labels["cluster"] == cluster:
                command = sample.labels["command"]
                found[command] = found.get(command, 0) + int(sample.value)
    return found


def count_command(cluster: str, command: str, outcome: str, seconds: float) -> None:
    """A command of Slurm's has ended; see slurm.client.OnCommand."""
    COMMAND_SECONDS.labels(cluster, command, outcome).observe(seconds)
