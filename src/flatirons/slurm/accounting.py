"""Associations, accounts and QOS of Slurm's accounting database, as frozen values; no I/O.

Run times are in minutes. None and an empty mapping mean that no limit is set. TRES have Slurm's names, such
as "gres/gpu"; memory is in MiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Association:
    """A user's right to use an account, on one cluster of the accounting database or in one partition."""

    cluster: str
    account: str
    user: str
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    is_default: bool = False
    max_jobs: int | None = None
    max_submitted: int | None = None
    max_minutes: int | None = None
    max_tres_per_job: Mapping[str, int] = field(default_factory=dict)
    max_tres_per_node: Mapping[str, int] = field(default_factory=dict)
    group_tres: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one cluster, its parent ("" for the root), and what jobs below it may use at a time."""

    name: str
    parent: str = ""
    group_tres: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Qos:
    """A quality of service and its limits."""

    name: str
    priority: int = 0
    max_minutes: int | None = None
    max_jobs_per_user: int | None = None
    max_submitted_per_user: int | None = None
    max_tres_per_user: Mapping[str, int] = field(default_factory=dict)
    max_tres_per_job: Mapping[str, int] = field(default_factory=dict)
    max_tres_per_node: Mapping[str, int] = field(default_factory=dict)
    min_tres_per_job: Mapping[str, int] = field(default_factory=dict)
    group_tres: Mapping[str, int] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
