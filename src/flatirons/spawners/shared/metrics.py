"""The metrics of Flatirons for Prometheus, in addition to JupyterHub's own, under {hub}/metrics.

Labels hold names of clusters, commands, states and kinds of causes; never of users or jobs. Each hub has its
own metrics. JupyterHub serves one registry for the whole process: there they appear unchanged, or with a
label `hub` if the process runs several hubs, which only tests do.
"""

from __future__ import annotations

import weakref
from collections import Counter as Count
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flatirons.servers.end_kinds import WISHED
from flatirons.spawners.shared.history import History

NO_QUERIES = ("sbatch", "scancel")
"""Commands that change something; all others only ask."""

RPCS = {"squeue": 2, "sbatch": 1, "scancel": 1, "scontrol": 1}
"""RPCs that each command sends to slurmctld, as sdiag of Slurm 24.11 counts them; the others ask slurmdbd."""


HISTOGRAMS = (
    (
        "queue_seconds",
        "From a job's submission to its start",
        ["cluster"],
        (1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400),
    ),
    (
        "start_seconds",
        "From a job's start to its server's answer",
        ["cluster"],
        (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300),
    ),
    (
        "slurm_command_seconds",
        "Time that a command of Slurm's took",
        ["cluster", "command", "outcome"],
        (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    ),
)
"""Name, description, labels and buckets of each histogram."""


class MeasuredHub(Protocol):
    """What the gauges show of a hub at the moment when they are read."""

    @property
    def hub_id(self) -> str:
        """The hub's name, which no other hub has."""

    def ages(self) -> Mapping[str, float]:
        """Seconds since each cluster's last good answer, infinite before the first."""

    def phases(self) -> Iterable[tuple[str, str]]:
        """The cluster and the phase of each server."""


class Metrics:
    """The metrics of one hub, in a separate registry, and the history of its last day."""

    def __init__(self, hub: MeasuredHub) -> None:
        self.hub_id = hub.hub_id
        self.history = History()
        self.registry = CollectorRegistry()
        self._submissions = Counter(
            "flatirons_submissions", "Jobs that Slurm took", ["cluster"], registry=self.registry
        )
        failures = "Servers that did not start, or ended by themselves, by the kind of cause"
        self._failures = Counter("flatirons_failures", failures, ["kind"], registry=self.registry)
        self._queue_seconds, self._start_seconds, self._command_seconds = (
            Histogram(f"flatirons_{name}", text, labels, buckets=buckets, registry=self.registry)
            for name, text, labels, buckets in HISTOGRAMS
        )
        self.registry.register(_Gauges(hub))
        _PROCESS.hubs.add(self)

    def count_submission(self, cluster: str) -> None:
        """Slurm took a job."""
        self._submissions.labels(cluster).inc()
        self.history.count_submission()

    def count_failure(self, kind: str, *, user: str, server: str) -> None:
        """A server of this user did not start, or ended by itself, for a cause of this kind."""
        self._failures.labels(kind).inc()
        if kind not in WISHED:
            self.history.count_failure(kind, user, server)

    def left_queue(self, cluster: str, seconds: float) -> None:
        """A job started that many seconds after its submission."""
        self._queue_seconds.labels(cluster).observe(seconds)

    def answered(self, cluster: str, seconds: float) -> None:
        """A server answered that many seconds after its job's start."""
        self._start_seconds.labels(cluster).observe(seconds)

    def count_command(self, cluster: str, command: str, outcome: str, seconds: float) -> None:
        """A command of Slurm's has ended; see slurm.client.OnCommand."""
        self._command_seconds.labels(cluster, command, outcome).observe(seconds)
        if command not in NO_QUERIES and outcome != "cancelled":
            self.history.count_query(cluster, seconds)

    def commands(self, cluster: str) -> dict[str, int]:
        """How often this hub has run each command for a cluster."""
        found: dict[str, int] = {}
        for metric in self._command_seconds.collect():
            for sample in metric.samples:
                if sample.name.endswith("_count") and sample.labels["cluster"] == cluster:
                    command = sample.labels["command"]
                    found[command] = found.get(command, 0) + int(sample.value)
        return found


class _Gauges(Collector):
    """The gauges of a hub, worked out when they are read."""

    def __init__(self, hub: MeasuredHub) -> None:
        self._hub = weakref.ref(hub)

    def collect(self) -> Iterator[Metric]:
        """What holds now."""
        ages = GaugeMetricFamily(
            "flatirons_snapshot_age_seconds", "Time since Slurm's last good answer", labels=["cluster"]
        )
        servers = GaugeMetricFamily(
            "flatirons_servers", "Servers by what they are doing", labels=["cluster", "phase"]
        )
        if hub := self._hub():
            for cluster, age in hub.ages().items():
                ages.add_metric([cluster], age)
            for labels, number in Count(hub.phases()).items():
                servers.add_metric(labels, number)
        yield from (ages, servers)


class _Process(Collector):
    """The metrics of all hubs in this process; of a hub that is gone there are none."""

    def __init__(self) -> None:
        self.hubs: weakref.WeakSet[Metrics] = weakref.WeakSet()

    def collect(self) -> Iterator[Metric]:
        """Each metric once, with the samples of every hub."""
        hubs = list(self.hubs)
        if len(hubs) == 1:
            yield from hubs[0].registry.collect()
            return
        found: dict[str, Metric] = {}
        for hub in hubs:
            for metric in hub.registry.collect():
                merged = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    merged.add_sample(sample.name, {**sample.labels, "hub": hub.hub_id}, sample.value)
        yield from found.values()


_PROCESS = _Process()
REGISTRY.register(_PROCESS)
