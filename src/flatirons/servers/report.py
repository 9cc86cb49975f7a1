"""Reports: what became of a server, kept for its user until five newer ones are there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

from flatirons.servers.causes import Cause
from flatirons.servers.messages import duration
from flatirons.slurm.model import End, Job

KEPT = 5
"""Reports of one server."""

VAGUE = ("failed", "completed", "signal")
"""Kinds that are told of a job of which nothing better is known than its exit code."""

LOG_LINES = 40
LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Report:
    """How one run of a server ended. Times of day are seconds since 1970; None is what isn't known.

    Memory is that of one node as it was asked for, and of the one task that was seen to use most of it.
    """

    kind: str
    sentence: str
    advice: str = ""
    cluster: str = ""
    job_id: int = 0
    node: str = ""
    ended_at: float = 0.0
    was_up: bool = False
    waited_seconds: float | None = None
    ran_seconds: float | None = None
    runtime_limit_minutes: int | None = None
    requested_memory_mib: int | None = None
    used_memory_mib: int | None = None
    cpus: int | None = None
    cpu_seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    fix: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[str] = ()

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The report that `as_dict` wrote, by this version or another."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in stored.items() if key in known})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "log": list(self.log)}

    @property
    def is_failure(self) -> bool:
        """Is it something that its user didn't want?"""
        return self.kind not in ("completed", "stopped")

    @property
    def query(self) -> str:
        """The part of a link to the form that fills in what was chosen, with what would have helped."""
        return urlencode({f"opt-{name}": text for name, text in {**self.options, **self.fix}.items()})

    @property
    def waited(self) -> str:
        """The time in the queue, in words."""
        return "" if self.waited_seconds is None else duration(self.waited_seconds)

    @property
    def ran(self) -> str:
        """The time that the job ran, in words."""
        return "" if self.ran_seconds is None else duration(self.ran_seconds)

    @property
    def limit(self) -> str:
        """The time limit, in words."""
        return duration(60 * (self.runtime_limit_minutes or 0))

    @property
    def when(self) -> str:
        """When it ended, in the hub's time zone, named."""
        return f"{datetime.fromtimestamp(self.ended_at).astimezone():%d %B %Y, %H:%M %Z}"

    @property
    def fixes(self) -> str:
        """What would have helped, in words."""
        return " and ".join(f"{name} {text}" for name, text in self.fix.items())

    @property
    def memory_percent(self) -> int | None:
        """How much of the memory that was asked for was seen in use."""
        return _percent(self.used_memory_mib, self.requested_memory_mib)

    @property
    def cpu_percent(self) -> int | None:
        """How busy the cores were, on average."""
        return _percent(self.cpu_seconds, (self.ran_seconds or 0) * (self.cpus or 0))


def kept(report: Report, earlier: Sequence[Report]) -> list[Report]:
    """A server's reports, newest first: this one in the place of one of the same end.

    That a job was stopped is no news where it was told already why it ended: a hub that was killed over
    cleaning up after it finds only the stop. Refusals count as one: who tries again and again loses no other
    report.
    """
    same = [each for each in earlier if _are_of_one_end(report, each)]
    if report.kind == "stopped" and any(each.kind != "stopped" for each in same):
        return list(earlier)
    heard = next((each for each in same if each.log), None)
    if heard and not report.log:
        report = _with_words(report, heard)
    return [report, *(each for each in earlier if each not in same)][:KEPT]


def _with_words(report: Report, heard: Report) -> Report:
    """The report with what a starter said of the same end to an earlier hub process, which is gone."""
    if report.kind not in VAGUE:
        return replace(report, log=heard.log)
    return replace(
        report, kind=heard.kind, sentence=heard.sentence, advice=heard.advice, fix=heard.fix, log=heard.log
    )


def _are_of_one_end(one: Report, other: Report) -> bool:
    if not one.job_id:
        return one.kind == other.kind == "refused"
    return (one.cluster, one.job_id) == (other.cluster, other.job_id)


def _percent(part: float | None, whole: float | None) -> int | None:
    return None if part is None or not whole else round(100 * part / whole)


def make(
    cause: Cause,
    job: Job | None,
    end: End | None,
    *,
    log: Sequence[str] = (),
    **known: Any,
) -> Report:
    """The report of a run that ended now."""
    return Report(
        kind=cause.kind,
        sentence=cause.sentence,
        advice=cause.advice,
        fix=dict(cause.fix),
        node=(job.batch_host or job.nodes) if job else "",
        ended_at=time.time(),
        runtime_limit_minutes=job.runtime_limit_minutes if job else None,
        requested_memory_mib=end.memory_per_node_mib if end else None,
        used_memory_mib=end.max_rss_mib if end else None,
        ran_seconds=end.elapsed_seconds if end else None,
        cpus=end.cpus if end else None,
        cpu_seconds=end.cpu_seconds if end else None,
        exit_code=end.exit_code if end else None,
        signal=end.signal if end else None,
        log=tuple(line[:LONGEST_LINE] for line in log[-LOG_LINES:]),
        **known,
    )
