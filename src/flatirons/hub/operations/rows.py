"""The table of servers: one row for each run, which of them are asked for, in which order, and which part."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from urllib.parse import quote

from flatirons import units
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.server_status import phase_began

PHASES = ("submitting", "waiting", "booting", "starting", "up", "stopping", "ended")
ROWS_ON_A_PAGE = 50
LONGEST_FILTER = 100
"""Characters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One server. `seconds` is how long it is in its phase, `left_seconds` what is left of its time.

    `used_memory_mib` of `memory_mib` is in use on the server's node, None while that isn't known.
    `url` is the server's, and `path` is USER/SERVER, both as parts of a URL.
    """

    user: str
    server: str
    url: str
    path: str
    cluster: str
    job_id: int
    phase: str
    state: str
    reason: str
    node: str
    partition: str
    waited_seconds: float | None
    seconds: float | None
    left_seconds: float | None
    limit_seconds: float | None
    used_memory_mib: int | None
    memory_mib: int | None

    @classmethod
    def of(cls, run: ServerRun, now: float) -> Row:
        """The row of this run at this moment."""
        job, phase, spawner = run.job, run.phase, run.spawner
        began = phase_began(run, phase) if phase not in ("stopping", "ended") else None
        is_running = job is not None and not job.state.is_waiting
        start, end = (_moment(job.start), _moment(job.end)) if job and is_running else (None, None)
        return cls(
            user=run.user or "",
            server=spawner.name,
            url=spawner.user.server_url(spawner.name),
            path=f"{spawner.user.escaped_name}/{quote(spawner.name, safe='')}".rstrip("/"),
            cluster=run.attempt.cluster,
            job_id=run.attempt.job_id,
            phase=phase,
            state=job.state.value if job else "",
            reason=job.reason if job else "",
            node=run.attempt.host or (job.batch_host if job else ""),
            partition=job.partition if job else "",
            waited_seconds=run.progress.waited,
            seconds=None if began is None else max(now - began, 0.0),
            left_seconds=None if end is None else max(end - now, 0.0),
            limit_seconds=None if end is None or start is None else end - start,
            used_memory_mib=run.memory.now_mib if phase == "up" else None,
            memory_mib=(job.allocation.memory_per_node_mib if job else None) or None,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; seconds are whole."""
        seconds = ("seconds", "left_seconds", "limit_seconds")
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        del found["url"], found["path"]
        return {**found, **{name: _whole(found[name]) for name in seconds}}

    @property
    def since(self) -> str:
        """How long it is in its phase, in words."""
        return "" if self.seconds is None else units.time_in_words(self.seconds)

    @property
    def left(self) -> str:
        """What is left of its time, in words."""
        return "" if self.left_seconds is None else units.time_in_words(self.left_seconds)

    @property
    def limit(self) -> str:
        """Its time altogether, in words."""
        return "" if self.limit_seconds is None else units.time_in_words(self.limit_seconds)

    @property
    def memory(self) -> str:
        """The memory in use, in words."""
        if self.used_memory_mib is None:
            return ""
        used = units.memory_in_words(self.used_memory_mib)
        return f"{used} of {units.memory_in_words(self.memory_mib)}" if self.memory_mib else f"{used} used"

    @property
    def used_percent(self) -> int | None:
        """How much of its time is over."""
        if self.left_seconds is None or not self.limit_seconds:
            return None
        return round(100 * (1 - min(self.left_seconds / self.limit_seconds, 1)))

    def has(self, words: Iterable[str]) -> bool:
        """Does each of these lower-case words occur in what the row shows?"""
        shown = (
            f"{self.user}\n{self.server or 'default'}\n{self.cluster}\n{self.job_id}\n{self.state}\n"
            f"{self.reason}\n{self.node}\n{self.partition}"
        ).lower()
        return all(word in shown for word in words)


def _moment(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


SORTS: Mapping[str, Callable[[Row], tuple[Any, ...]]] = {
    "phase": lambda row: (PHASES.index(row.phase), row.user, row.server),
    "person": lambda row: (row.user, row.server),
    "server": lambda row: (row.server, row.user),
    "time": lambda row: (-(row.seconds or 0), row.user, row.server),
    "left": lambda row: (row.left_seconds is None, row.left_seconds or 0, row.user, row.server),
    "job": lambda row: (row.cluster, row.job_id),
    "node": lambda row: (not row.node, row.node, row.user),
}
"""The orders, by the name that a link has: the longest in a phase first, the least time left first."""


@dataclass(frozen=True, slots=True)
class ServerFilter:
    """Which servers an operator wants to see."""

    text: str = ""
    phase: str = ""
    cluster: str = ""
    sort: str = "phase"
    page: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> ServerFilter:
        """What a query asks for; what it says wrongly is as if it said nothing."""
        page = given.get("page", "")
        return cls(
            given.get("q", "").strip()[:LONGEST_FILTER],
            given["phase"] if given.get("phase") in PHASES else "",
            given.get("cluster", "")[:LONGEST_FILTER],
            given["sort"] if given.get("sort") in SORTS else "phase",
            int(page) if page.isascii() and page.isdecimal() and len(page) < 7 and int(page) else 1,
        )

    def query(self, **changed: Any) -> dict[str, str]:
        """The query of a link to the same servers, with changes; defaults are left out."""
        values = {
            "q": self.text,
            "phase": self.phase,
            "cluster": self.cluster,
            "sort": self.sort,
            "page": self.page,
        } | changed
        defaults = {"q": "", "phase": "", "cluster": "", "sort": "phase", "page": 1}
        return {name: str(value) for name, value in values.items() if value != defaults.get(name)}


@dataclass(frozen=True, slots=True)
class Table:
    """A part of the servers that were asked for. `phases` counts what the other filters let through."""

    asked: ServerFilter
    rows: list[Row]
    found: int
    all: int
    pages: int
    phases: Mapping[str, int]

    @classmethod
    def of(cls, rows: list[Row], asked: ServerFilter) -> Table:
        """The part of these rows that is asked for; the last one if there are fewer."""
        words = asked.text.lower().split()
        matching = [
            row for row in rows if (not asked.cluster or row.cluster == asked.cluster) and row.has(words)
        ]
        phases = Counter(row.phase for row in matching)
        found = sorted((row for row in matching if asked.phase in ("", row.phase)), key=SORTS[asked.sort])
        pages = max(-(-len(found) // ROWS_ON_A_PAGE), 1)
        page = min(asked.page, pages)
        shown = found[(page - 1) * ROWS_ON_A_PAGE : page * ROWS_ON_A_PAGE]
        ordered = {phase: phases[phase] for phase in PHASES if phases[phase]}
        asked = ServerFilter(asked.text, asked.phase, asked.cluster, asked.sort, page)
        return cls(asked, shown, len(found), len(rows), pages, ordered)

    @property
    def first(self) -> int:
        """The number of the first row shown."""
        return (self.asked.page - 1) * ROWS_ON_A_PAGE + 1


def rows_of(runs: Iterable[ServerRun]) -> list[Row]:
    """The rows of these runs at this moment."""
    now = time.time()
    return [Row.of(run, now) for run in runs]
