"""How much one job may ask for with one partition, account and QOS; pure.

Slurm accepts some jobs that can never start (a QOS without DenyOnLimit, a limit of a group); these are out of
bounds here. Source: resource_limits.html (which limit counts), slurm.conf(5), sacctmgr(1), and acct_policy.c
and job_mgr.c of Slurm 24.11. tests/cluster/product/test_offers.py compares the results with a real Slurm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from flatirons.slurm.facts import Shape

_GPUS = re.compile(r"(?:(?P<kind>[^:]+):)?(?P<count>[0-9]+)")


@dataclass(frozen=True)
class Bounds:
    """Limits of one job; None means no limit. TRES have Slurm's names ("cpu", "mem", "gres/gpu:v100").

    `shapes` holds what one job may use of each node. `per_node` limits what a job asks for divided by its
    number of nodes, which is 1 if the job doesn't give one. `least` holds the amounts that a job must ask
    for. Unless `counts_memory`, memory isn't allocated, and a job can't ask for any.

    The arguments of the methods are the choices made so far, None for no choice: `gpus` is a text for each
    node ("2", "v100:2"), `cpus` is for each task.
    """

    shapes: tuple[Shape, ...]
    max_minutes: int | None = None
    default_minutes: int | None = None
    most_nodes: int | None = None
    fewest_nodes: int = 1
    per_job: Mapping[str, int] = field(default_factory=dict)
    per_node: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    default_memory_per_cpu_mib: int | None = None
    default_memory_per_node_mib: int | None = None
    max_memory_per_cpu_mib: int | None = None
    counts_memory: bool = True

    def gpu_types(self) -> dict[str, int]:
        """The most GPUs of each type that a job can have on one node; "" stands for any type."""
        kinds = sorted({kind for shape in self.shapes for kind, _ in shape.gpus if kind})
        found = {}
        for kind in ["", *kinds]:
            there = max((shape.gpus_of(kind) for shape in self.shapes), default=0)
            names = ["gres/gpu", *([f"gres/gpu:{kind}"] if kind else [])]
            found[kind] = min([there, *(limit for name in names for limit in self._limits(name))])
        return {kind: count for kind, count in found.items() if count > 0}

    @property
    def least_gpus(self) -> int:
        """The fewest GPUs that a job must ask for."""
        named = (least for name, least in self.least.items() if name.split(":")[0] == "gres/gpu")
        return max(named, default=0)

    def max_nodes(self, gpus: str | None = None) -> int:
        """The most nodes."""
        kind, count = parsed(gpus)
        limits = [sum(shape.count for shape in self._fitting(gpus)), *_given(self.most_nodes)]
        limits += _given(self.per_job.get("node"))
        limits += [limit // self.cpu_step for limit in _given(self.per_job.get("cpu"))]
        if count:
            names = ("gres/gpu", f"gres/gpu:{kind}")
            limits += [self.per_job[name] // count for name in names if name in self.per_job]
        return min(limits)

    def min_nodes(self) -> int:
        """The fewest nodes."""
        return max(self.least.get("node", 1), self.fewest_nodes, 1)

    def max_ntasks(self, nodes: int | None = None, gpus: str | None = None) -> int:
        """The most tasks of one core each."""
        taken = self._largest(nodes or self.max_nodes(gpus), gpus)
        limits = [limit // self._task_step for limit in self._all_cpus(nodes)]
        return min([sum(shape.tasks(1) for shape in taken), *limits])

    def max_cpus(self, nodes: int | None = None, ntasks: int | None = None, gpus: str | None = None) -> int:
        """The most cores for each task."""
        tasks = ntasks or nodes or 1
        taken = self._largest(nodes or min(tasks, self.max_nodes(gpus)), gpus)
        step = self._task_step
        limits = [limit // tasks // step * step for limit in self._all_cpus(nodes)]
        most = min([max((shape.cpus for shape in taken), default=0), *limits])
        room = (n for n in range(most, 0, -1) if sum(s.tasks(n) for s in taken) >= tasks)
        return next(room, 0)

    def min_cpus(self, nodes: int | None = None, ntasks: int | None = None) -> int:
        """The fewest cores for each task."""
        return max(ceil(self.least.get("cpu", 1) / (ntasks or nodes or 1)), 1)

    def max_memory_mib(
        self,
        nodes: int | None = None,
        ntasks: int | None = None,
        cpus: int | None = None,
        gpus: str | None = None,
    ) -> int:
        """The most memory on each node."""
        count = nodes or 1
        cores = ceil((ntasks or count) / count) * (cpus or 1)
        fitting = self._fitting(gpus)
        wide = [shape for shape in fitting if shape.cpus >= cores] or fitting
        limits = [limit // count for limit in _given(self.per_job.get("mem"))]
        most = [min([shape.memory_mib, *self._by_cores(shape, count, ntasks)]) for shape in wide]
        return min([_on_each(most, wide, count), *_given(self.per_node.get("mem")), *limits])

    def min_memory_mib(self, nodes: int | None = None) -> int:
        """The least memory on each node."""
        return max(ceil(self.least.get("mem", 1) / (nodes or 1)), 1)

    def default_memory_mib(self, nodes: int | None, ntasks: int | None, cpus: int | None) -> int | None:
        """The memory on each node of a job that doesn't ask for any; None when Slurm doesn't say."""
        if self.default_memory_per_cpu_mib is not None:
            count = nodes or 1
            cores = ceil((ntasks or count) / count) * (cpus or 1)
            return self.default_memory_per_cpu_mib * ceil(cores / self.cpu_step) * self.cpu_step
        return self.default_memory_per_node_mib

    def _by_cores(self, shape: Shape, nodes: int, ntasks: int | None) -> list[int]:
        """The most memory where the limit is per core: Slurm gives a job as many cores as its memory needs.

        Every task gets the same number of additional cores. Source: _valid_pn_min_mem() in job_mgr.c.
        """
        if self.max_memory_per_cpu_mib is None:
            return []
        cores = min([shape.cpus * nodes, *self._all_cpus(nodes)])
        tasks = ntasks or nodes
        return [cores // tasks * tasks // nodes * self.max_memory_per_cpu_mib]

    def _all_cpus(self, nodes: int | None) -> list[int]:
        """The limits for the number of CPUs of a job on so many nodes.

        Slurm compares what it allocates, so a limit of 3 CPUs leaves one core of two threads.
        """
        per_node = [limit * (nodes or 1) for limit in _given(self.per_node.get("cpu"))]
        step = self.cpu_step
        return [limit // step * step for limit in [*_given(self.per_job.get("cpu")), *per_node]]

    @property
    def cpu_step(self) -> int:
        """Slurm allocates CPUs of a node in multiples of this."""
        return max((shape.cpu_step for shape in self.shapes), default=1)

    @property
    def _task_step(self) -> int:
        return max((shape.task_step for shape in self.shapes), default=1)

    def _limits(self, name: str) -> list[int]:
        return [limits[name] for limits in (self.per_job, self.per_node) if name in limits]

    def _fitting(self, gpus: str | None) -> list[Shape]:
        """The shapes of the nodes that have the GPUs."""
        kind, count = parsed(gpus)
        return [shape for shape in self.shapes if shape.gpus_of(kind) >= count]

    def _largest(self, count: int, gpus: str | None) -> list[Shape]:
        """The `count` nodes with the most cores."""
        taken = []
        for shape in sorted(self._fitting(gpus), key=lambda shape: shape.cpus, reverse=True):
            if count > 0:
                taken.append(replace(shape, count=min(shape.count, count)))
                count -= shape.count
        return taken


def _given(limit: int | None) -> list[int]:
    return [] if limit is None else [limit]


def _on_each(memory: Sequence[int], among: Sequence[Shape], count: int) -> int:
    """The most memory that each of `count` nodes has."""
    least = 0
    for most, shape in sorted(zip(memory, among, strict=True), key=lambda pair: pair[0], reverse=True):
        least = most
        count -= shape.count
        if count <= 0:
            break
    return least


def parsed(gpus: str | None) -> tuple[str, int]:
    """Type and number of GPUs: ("v100", 2) for "v100:2", ("", 2) for "2", ("", 0) for none."""
    match = _GPUS.fullmatch(gpus or "0")
    return (match["kind"] or "", int(match["count"])) if match else ("", 0)
