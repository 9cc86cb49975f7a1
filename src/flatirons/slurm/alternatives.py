"""Alternatives to a job that may start sooner and that its user may ask for; pure.

Whether one would start sooner only Slurm can tell: see Estimator.find_sooner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil

from flatirons.slurm.model import JobSpec
from flatirons.slurm.rights import Rights
from flatirons.units import counted, memory_in_words, time_in_words

MOST = 6
MOST_ELSEWHERE = 2
"""Partitions at most, so that the list also has alternatives of other kinds."""

SHORTER_MINUTES = (8 * 60, 4 * 60, 2 * 60, 60, 30)


@dataclass(frozen=True, slots=True)
class Alternative:
    """What to ask for instead: `label` in words, `options` the values that change, `spec` the whole job."""

    label: str
    options: dict[str, str]
    spec: JobSpec


def find_alternatives(spec: JobSpec, rights: Rights) -> list[Alternative]:
    """At most MOST alternatives that this user may ask for, those that change the least first."""
    bounds = rights.bounds(spec.partition, spec.account, spec.qos, spec.reservation)
    elsewhere = islice(_in_other_partitions(spec, rights), MOST_ELSEWHERE)
    found = [*_shorter(spec, bounds.default_minutes)[:2], *elsewhere, *_smaller(spec, rights)]
    return found[:MOST]


def _shorter(spec: JobSpec, default_minutes: int | None) -> list[Alternative]:
    now = spec.runtime_minutes or default_minutes or 0
    return [
        Alternative(
            f"Ask for {time_in_words(60 * minutes)}",
            {"runtime": f"{minutes}m"},
            replace(spec, runtime_minutes=minutes),
        )
        for minutes in SHORTER_MINUTES
        if minutes <= now // 2
    ]


def _in_other_partitions(spec: JobSpec, rights: Rights) -> Iterator[Alternative]:
    """Other partitions with enough free cores; the account and QOS stay where they are admitted there."""
    for partition in rights.partitions:
        supply = rights.facts.supply.get(partition.name)
        cpus = max(spec.cpus, 1) * max(spec.ntasks, spec.nodes, 1)
        if spec.reservation or partition.name == spec.partition or not supply or supply.free_cpus < cpus:
            continue
        accounts, account = rights.accounts(partition.name), spec.account
        if account not in accounts:
            account = next(iter(accounts), "")
        names = rights.qos(partition.name, account)
        qos = spec.qos if spec.qos in names else next(iter(names), "")
        moved = replace(spec, partition=partition.name, account=account, qos=qos)
        if _is_within(moved, rights):
            given = {"partition": partition.name, "account": account, "qos": qos}
            options = {key: value for key, value in given.items() if value}
            yield Alternative(f"Use the partition {partition.name}", options, moved)


def _smaller(spec: JobSpec, rights: Rights) -> Iterator[Alternative]:
    """The same job with fewer GPUs, nodes or cores, or with less memory."""
    gpus = f"{spec.gpu_type}:1" if spec.gpu_type else "1"
    if spec.gpus > 1:
        yield Alternative("Ask for 1 GPU", {"gpus": gpus}, replace(spec, gpus=1))
    if spec.nodes > 1:
        yield Alternative("Ask for 1 node", {"nodes": "1"}, replace(spec, nodes=1))
    usable = (node for node in rights.facts.nodes_of.get(spec.partition, ()) if node.is_usable)
    free = max((node.cpus - node.cpus_in_use for node in usable), default=0)
    if spec.cpus > 1 and spec.ntasks <= 1 and (cpus := min(free, spec.cpus // 2)) > 0:
        yield Alternative(f"Ask for {counted(cpus, 'core')}", {"cpus": str(cpus)}, replace(spec, cpus=cpus))
    if spec.memory_mib > 2048:
        half = ceil(spec.memory_mib / 2048) * 1024
        yield Alternative(
            f"Ask for {memory_in_words(half)} of memory",
            {"memory": f"{half}M"},
            replace(spec, memory_mib=half),
        )


def _is_within(spec: JobSpec, rights: Rights) -> bool:
    bounds = rights.bounds(spec.partition, spec.account, spec.qos)
    gpus = f"{spec.gpu_type}:{spec.gpus}".removeprefix(":") if spec.gpus else None
    nodes, ntasks, cpus = spec.nodes or None, spec.ntasks or None, spec.cpus or None
    return (
        (bounds.max_minutes is None or spec.runtime_minutes <= bounds.max_minutes)
        and spec.gpus <= bounds.gpu_types().get(spec.gpu_type, 0)
        and spec.nodes <= bounds.max_nodes(gpus)
        and spec.cpus <= bounds.max_cpus(nodes, ntasks, gpus)
        and (not bounds.counts_memory or spec.memory_mib <= bounds.max_memory_mib(nodes, ntasks, cpus, gpus))
    )
