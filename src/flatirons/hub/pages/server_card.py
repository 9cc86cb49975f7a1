"""One server as a card on Home says it: words, links and bars, made from its status. Pure.

Two cards are equal if their HTML is the same but for counters, which the browser moves on. So times of day
are whole seconds since 1970, and nothing in a card depends on the moment at which it was made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote, urlencode

from flatirons import units
from flatirons.servers.report import Report
from flatirons.servers.status import ENDED, STOPPED, ServerStatus

DEFAULT_SERVER = "Default server"
"""What pages call the server without a name."""

SOON_SECONDS = 600.0
"""A server that ends sooner says so in a colour."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What a server is doing, in a word or two, with an icon of Font Awesome and a tone of Bootstrap."""

    words: str
    icon: str
    tone: str


BADGES = {
    "submitting": Badge("Submitting", "paper-plane", "info"),
    "waiting": Badge("In the queue", "hourglass-half", "info"),
    "booting": Badge("Node is booting", "power-off", "info"),
    "starting": Badge("Starting", "gear", "info"),
    "up": Badge("Running", "circle-play", "success"),
    "stopping": Badge("Stopping", "circle-stop", "secondary"),
    ENDED: Badge("Ended", "circle-check", "secondary"),
    STOPPED: Badge("Not running", "circle", "secondary"),
}
FAILED, NOT_STARTED = (
    Badge("Ended", "triangle-exclamation", "warning"),
    Badge("Didn't start", "triangle-exclamation", "danger"),
)
"""Two ends that the user didn't want."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Words about a server; the icon shows people who see it what they are about, and the label says it."""

    icon: str
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a start: when it began, and the seconds that it took; None while it goes on."""

    label: str
    began_at: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory used of what was granted, from 0 to 100 percent; None where that isn't known.

    With `is_tight`, the server is about to lose its kernels.
    """

    words: str
    percent: int | None = None
    is_tight: bool = False


@dataclass(frozen=True, slots=True)
class Links:
    """Where a card leads, as URL paths; "" for what this hub doesn't have. `share` is below JupyterHub's API.

    `form` is the form, filled in with the choices of the last start; `again` also has what would have helped.
    """

    open: str
    page: str
    start: str
    form: str
    report: str
    stop: str
    has_form: bool
    delete: str = ""
    connect: str = ""
    share: str = ""
    again: str = ""

    @classmethod
    def of(cls, hub: str, server_url: str, status: ServerStatus, *, connects: bool, has_form: bool) -> Self:
        """The links of this server; `hub` is the hub's base URL, with a slash at its end."""
        user, name = quote(status.user, safe=""), quote(status.name, safe="")
        path = f"{user}/{name}" if name else user
        form = f"{hub}spawn/{path}"
        beside = urlencode({"user": status.user, "server": status.name})
        report = status.report
        return cls(
            open=server_url,
            page=f"{hub}spawn-pending/{path}",
            start=form,
            has_form=has_form,
            form=f"{hub}flatirons/beside?{beside}" if status.is_up and has_form else form,
            report=f"{hub}flatirons/report/{path}",
            stop=f"{hub}flatirons/servers/stop/{path}",
            delete=f"{hub}flatirons/servers/delete/{path}" if name else "",
            connect=f"{hub}flatirons/connect/{path}" if connects else "",
            share=f"{user}/{name}" if status.is_up else "",
            again=f"{form}?{report.query}" if report and report.query else form,
        )


@dataclass(frozen=True, slots=True)
class ServerCard:
    """What a card shows. `since` is when the phase began; `place` is where the job runs or waits."""

    user: str
    name: str
    title: str
    phase: str
    badge: Badge
    links: Links
    since: int | None = None
    sentence: str = ""
    advice: str = ""
    place: tuple[Fact, ...] = ()
    position: str = ""
    expected_start: int | None = None
    parts: tuple[Part, ...] = ()
    started_at: int | None = None
    ends_at: int | None = None
    memory: MemoryUse | None = None
    as_of: int | None = None
    report: Report | None = None
    has_reports: bool = False

    @classmethod
    def of(cls, status: ServerStatus, links: Links, now: float) -> Self:
        """The card of a server; `now` is the moment of the status."""
        queue = status.queue
        return cls(
            user=status.user,
            name=status.name,
            title=status.title or status.name or DEFAULT_SERVER,
            phase=status.phase,
            badge=_badge(status),
            links=links,
            since=_whole(status.since),
            sentence=queue.sentence if queue else "" if status.is_up else status.sentence,
            advice=queue.advice if queue else "",
            place=_place(status),
            position=_position(status),
            expected_start=_whole(queue.expected_start) if queue else None,
            parts=tuple(
                Part(each.label, round(each.began_at), _tenths(each.seconds)) for each in status.steps
            ),
            started_at=_whole(status.started_at),
            ends_at=_whole(status.ends_at),
            memory=_memory(status),
            as_of=None if status.stale_seconds is None else round(now - status.stale_seconds),
            report=status.report,
        )

    @property
    def id(self) -> str:
        """The id of the card's element."""
        return f"server-{quote(self.name, safe='')}" if self.name else "server"

    @property
    def version(self) -> str:
        """A text that changes with the card."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def is_starting(self) -> bool:
        """Is there a start that can be cancelled?"""
        return self.phase in ("submitting", "waiting", "booting", "starting")

    @property
    def is_up(self) -> bool:
        """Can the server be used?"""
        return self.phase == "up"

    @property
    def is_changing(self) -> bool:
        """Does the next change come by itself, and soon?"""
        return self.is_starting or self.phase == "stopping"

    @property
    def has_ended(self) -> bool:
        """Does the card say how the server ended?"""
        return self.phase == ENDED

    def seconds_since(self, now: float) -> float | None:
        """How long the phase has lasted."""
        return None if self.since is None else max(now - self.since, 0.0)

    def left_seconds(self, now: float) -> float | None:
        """How long the job may still run."""
        return None if self.ends_at is None else max(self.ends_at - now, 0.0)

    def left_percent(self, now: float) -> float | None:
        """The part of the time limit that is left; None where there is no limit."""
        left = self.left_seconds(now)
        if left is None or self.ends_at is None or self.started_at is None or self.ends_at <= self.started_at:
            return None
        return round(min(100 * left / (self.ends_at - self.started_at), 100.0), 1)

    def ends_soon(self, now: float) -> bool:
        """Is it time to save one's work?"""
        left = self.left_seconds(now)
        return left is not None and left < SOON_SECONDS


def short_time(seconds: float) -> str:
    """A time span at a glance: `12 s`, `1 min 5 s`, `25 min`, `3 h 5 min`, `4 h`, `2 d 4 h`.

    home.js counts on in the same words.
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{whole // 60} min"
    hours, minutes = divmod(whole // 60, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def clock_time(moment: float) -> str:
    """A time of day in the hub's time zone, which is named; with the date unless it is today.

    home.js replaces it by the time in the user's zone.
    """
    local = datetime.fromtimestamp(moment).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M %Z}" if is_today else f"{local.day} {local:%b, %H:%M %Z}"


def _badge(status: ServerStatus) -> Badge:
    report = status.report
    if status.phase == ENDED and report and report.is_failure:
        return FAILED if report.was_up else NOT_STARTED
    return BADGES[status.phase]


def _place(status: ServerStatus) -> tuple[Fact, ...]:
    """Where the job runs, and in what."""
    found = (
        Fact("server", "Node", status.node),
        Fact(
            "layer-group",
            "Cluster and partition",
            " · ".join(filter(None, (status.cluster, status.partition))),
        ),
        Fact("box", "Environment", status.environment),
        Fact("microchip", "Resources", ", ".join(_resources(status))),
    )
    return tuple(each for each in found if each.words)


def _resources(status: ServerStatus) -> list[str]:
    words = status.resources
    minutes = status.spec.runtime_minutes if status.spec else 0
    if minutes and not status.is_up:  # of a server that is up, a bar shows its time
        words.append(units.time_in_words(60 * minutes))
    return words


def _position(status: ServerStatus) -> str:
    place = status.queue.position if status.queue else None
    return f"Number {place.number} of {place.length} in the queue of {place.partition}" if place else ""


def _memory(status: ServerStatus) -> MemoryUse | None:
    used, limit, percent = status.used_memory_mib, status.memory_limit_mib, status.memory_percent
    if used is None:
        return None
    words = units.memory_in_words(used)
    if limit is None or percent is None:
        return MemoryUse(words)
    return MemoryUse(f"{words} of {units.memory_in_words(limit)}", min(percent, 100), status.is_memory_tight)


def _whole(moment: float | None) -> int | None:
    return None if moment is None else round(moment)


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
