"""Reports of how servers ended; the newest five of each server are kept for its user."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

from flatirons import units
from flatirons.servers import log_lines
from flatirons.servers.causes import Cause
from flatirons.servers.log_lines import LogLine
from flatirons.servers.option_words import in_a_row, phrase
from flatirons.slurm.model import End, Job

KEPT = 5
"""Reports of one server."""

VAGUE = ("failed", "completed", "signal")
"""Kinds of ends about which nothing more is known than how the job's processes ended."""

SECONDS_FRESH = 24 * 3600.0
"""How long the form says how its server ended."""

LOG_LINES = 40
LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Report:
    """How one run of a server ended. Times of day are in seconds since 1970; None means unknown.

    `requested_memory_mib` is for one node; `used_memory_mib` is the most that was seen, by Slurm of one task
    or by the starter of the job's processes on its first node. `fix_words` says with the form's labels what
    `fix` changes. A `dismissed` report has been read: Home no longer shows it.
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
    fix_words: str = ""
    log: Sequence[str] = ()
    dismissed: bool = False

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The report that `as_dict` of this or another version wrote."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in stored.items() if key in known})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "log": list(self.log)}

    @property
    def is_failure(self) -> bool:
        """Whether the server ended otherwise than its user wanted."""
        return self.kind not in ("completed", "stopped")

    @property
    def query(self) -> str:
        """The query of a link to the form with `fixed_options`."""
        return urlencode({f"opt-{name}": text for name, text in self.fixed_options.items()})

    @property
    def waited(self) -> str:
        """The time in the queue, in words."""
        return "" if self.waited_seconds is None else units.time_in_words(self.waited_seconds)

    @property
    def ran(self) -> str:
        """The time that the job ran, in words."""
        return "" if self.ran_seconds is None else units.time_in_words(self.ran_seconds)

    @property
    def limit(self) -> str:
        """The time limit, in words."""
        return units.time_in_words(60 * (self.runtime_limit_minutes or 0))

    @property
    def requested_memory(self) -> str:
        """The memory that was asked for on each node, in words."""
        return units.memory_in_words(self.requested_memory_mib or 0)

    @property
    def used_memory(self) -> str:
        """The memory that was seen in use, in words."""
        return units.memory_in_words(self.used_memory_mib or 0)

    @property
    def when(self) -> str:
        """When it ended, in the hub's time zone, which is named."""
        return f"{datetime.fromtimestamp(self.ended_at).astimezone():%d %B %Y, %H:%M %Z}"

    @property
    def fixes(self) -> str:
        """What would have helped, in words."""
        return self.fix_words or in_a_row([phrase(name, text) for name, text in self.fix.items()])

    @property
    def fixed_options(self) -> dict[str, str]:
        """The run's options, some replaced by what would have helped."""
        return {**self.options, **self.fix}

    @property
    def lines(self) -> list[LogLine]:
        """The end of the log, for people."""
        return log_lines.read(self.log)

    @property
    def time_percent(self) -> int | None:
        """The part of the time limit that the job ran."""
        return _percent(self.ran_seconds, 60 * (self.runtime_limit_minutes or 0))

    @property
    def memory_percent(self) -> int | None:
        """The part of the requested memory that was seen in use."""
        return _percent(self.used_memory_mib, self.requested_memory_mib)

    @property
    def busy_cores(self) -> str:
        """How many cores were busy, on average: `1.2`."""
        busy = (self.cpu_seconds or 0) / (self.ran_seconds or 1)
        return f"{min(busy, self.cpus or 0):.1f}".removesuffix(".0")

    @property
    def cpu_percent(self) -> int | None:
        """How busy the cores were, on average."""
        return _percent(self.cpu_seconds, (self.ran_seconds or 0) * (self.cpus or 0))


def kept(report: Report, earlier: Sequence[Report]) -> list[Report]:
    """A server's reports, newest first, with this one, which replaces an earlier one of the same end.

    A stop doesn't replace another reason: a hub that was killed during the clean-up after an end finds only
    the stop afterwards. All refusals count as one end, so repeated attempts don't push out other reports.
    """
    same = [each for each in earlier if _are_of_one_end(report, each)]
    if report.kind == "stopped" and any(each.kind != "stopped" for each in same):
        return list(earlier)
    with_log = next((each for each in same if each.log), None)
    if with_log and not report.log:
        report = _with_what_starter_said(report, with_log)
    if report.job_id and any(each.dismissed for each in same):
        report = replace(report, dismissed=True)  # what accounting adds later is no news
    return [report, *(each for each in earlier if each not in same)][:KEPT]


def unread(reports: Sequence[Report]) -> Report | None:
    """The newest report, if it is of a failure that is no older than SECONDS_FRESH and isn't dismissed."""
    newest = reports[0] if reports else None
    if newest is None or not newest.is_failure or newest.dismissed:
        return None
    return newest if time.time() - newest.ended_at < SECONDS_FRESH else None


def dismissed(reports: Sequence[Report], job_id: int | None = None) -> list[Report]:
    """The reports, newest first, with that of a job and all older ones dismissed; without a job, all of them.

    Newer ones stay: whoever dismisses the report of a job hasn't seen them.
    """
    ids = [each.job_id for each in reports]
    first = 0 if job_id is None else ids.index(job_id) if job_id in ids else len(ids)
    return [*reports[:first], *(replace(each, dismissed=True) for each in reports[first:])]


def _with_what_starter_said(report: Report, earlier: Report) -> Report:
    """The report with what the starter told an earlier hub process about the same end."""
    if report.kind not in VAGUE:
        return replace(report, log=earlier.log)
    known = ("kind", "sentence", "advice", "fix", "log")
    return replace(report, **{name: getattr(earlier, name) for name in known})


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
    peak_memory_mib: int | None = None,
    **known: Any,
) -> Report:
    """The report of a run that ended now; `known` are further fields of Report.

    `peak_memory_mib` is the most that the job was seen to use on its first node.
    """
    made = Report(
        kind=cause.kind,
        sentence=cause.sentence,
        advice=cause.advice,
        fix=dict(cause.fix),
        ended_at=time.time(),
        log=tuple(line[:LONGEST_LINE] for line in log_lines.kept(log, LOG_LINES)),
        **(_of_job(job) if job else {}),
        **(_of_end(end) if end else {}),
        **known,
    )
    used = max(made.used_memory_mib or 0, peak_memory_mib or 0) or None
    requested = made.requested_memory_mib or (job.allocation.memory_per_node_mib if job else 0) or None
    return replace(made, used_memory_mib=used, requested_memory_mib=requested)


def _of_job(job: Job) -> dict[str, Any]:
    return {"node": job.batch_host or job.nodes, "runtime_limit_minutes": job.runtime_limit_minutes}


def _of_end(end: End) -> dict[str, Any]:
    return {
        "requested_memory_mib": end.memory_per_node_mib,
        "used_memory_mib": end.max_rss_mib,
        "ran_seconds": end.elapsed_seconds,
        "cpus": end.cpus,
        "cpu_seconds": end.cpu_seconds,
        "exit_code": end.exit_code,
        "signal": end.signal,
    }
