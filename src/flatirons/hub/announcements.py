"""Operators' announcements: short messages to everybody, or to one person, on top of the hub's pages.

They are plain text. They are kept in one file of the state directory, which only the hub writes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from flatirons.errors import FlatironsError, Refusal, quoted
from flatirons.files import write_atomically

log = logging.getLogger(__name__)

SETTING = "flatirons_announcements"
"""The key in JupyterHub's `tornado_settings` and `template_vars`."""

LEVELS = ("info", "warning")
LONGEST = 1000
"""Characters of one announcement."""

MOST_FOR_EVERYBODY = 10
MOST_FOR_A_PERSON = 5
MOST_FOR_PERSONS = 500
"""Announcements for single persons, of all persons together."""

SECONDS_FOR_A_PERSON = 30 * 24 * 3600.0
"""For how long a message to one person is kept if it is given no end."""

_LINK = re.compile(r"https?://[^\s<>\"'`\\^{}|]+", re.IGNORECASE)
_AFTER_LINK = ".,;:!?)]"
"""What ends a sentence rather than a link."""


class NotStored(FlatironsError):
    """An announcement that can't be stored or removed, because of the disk."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One message. `user` is its only reader, "" means everybody; times are in seconds since 1970."""

    id: str
    text: str
    level: str
    user: str
    author: str
    at: float
    until: float | None

    @property
    def html(self) -> Markup:
        """The text with its http and https links; everything else is escaped."""
        return Markup("").join(_marked_up(self.text)).replace("\n", Markup("<br>"))

    @property
    def end(self) -> str:
        """When it ends, in the hub's time zone, which is named; "" if it has no end."""
        return (
            ""
            if self.until is None
            else f"{datetime.fromtimestamp(self.until).astimezone():%d %B %Y, %H:%M %Z}"
        )

    def is_denied_to(self, reader: str | None) -> bool:
        """May this reader not remove it? None stands for an operator, who may."""
        return reader is not None and (not self.user or self.user != reader)

    def as_seen(self) -> dict[str, Any]:
        """What its readers get: everything but who wrote it."""
        return {
            **{name: getattr(self, name) for name in ("id", "text", "level", "at", "until")},
            "is_personal": bool(self.user),
        }


def _marked_up(text: str) -> Iterator[Markup]:
    start = 0
    for found in _LINK.finditer(text):
        url = found[0].rstrip(_AFTER_LINK)
        if url.endswith("//"):
            continue
        yield escape(text[start : found.start()])
        yield Markup('<a class="alert-link" href="{0}" rel="noopener noreferrer">{0}</a>').format(url)
        start = found.start() + len(url)
    yield escape(text[start:])


class Announcements:
    """The announcements in a file of mode 0600; the file is read again when it has changed."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._read: list[Announcement] = []
        self._version: tuple[int, ...] | None = None
        self._is_damaged = False

    def attach(self, c: Any) -> None:
        """Makes the hub with the configuration `c` show them, whatever else is set there."""
        c.JupyterHub.tornado_settings.update({SETTING: self})
        c.JupyterHub.template_vars.update({SETTING: self.for_visitor})

    def for_visitor(self, visitor: Any) -> list[Announcement]:
        """What a page shows to a user of JupyterHub, or to somebody who isn't logged in (None)."""
        return self.of(visitor.name if visitor else "")

    def of(self, user: str) -> list[Announcement]:
        """What this user sees: the messages to everybody and those to them; "" for somebody unknown."""
        return [each for each in self.all() if each.user in ("", user)]

    def all(self) -> list[Announcement]:
        """All that haven't ended: warnings first, then the newest."""
        now = self._clock()
        current = [each for each in self._load() if each.until is None or each.until > now]
        return sorted(current, key=lambda each: (each.level != "warning", -each.at))

    def post(
        self, text: str, *, author: str, level: str = "info", user: str = "", until: float | None = None
    ) -> Announcement:
        """Stores a new message; raises Refusal for one that isn't accepted, NotStored if the disk fails."""
        now, text = self._clock(), _cleaned(text)
        if not text:
            raise Refusal("Write a message first.")
        if len(text) > LONGEST:
            raise Refusal(f"A message has at most {LONGEST:,} characters; this one has {len(text):,}.")
        if level not in LEVELS:
            raise Refusal(f"{quoted(level)} isn't a level: use info or warning.")
        if until is not None and until <= now:
            raise Refusal("This end is in the past.")
        if user and until is None:
            until = now + SECONDS_FOR_A_PERSON
        others = self.all()
        self._check_room(others, user)
        made = Announcement(secrets.token_hex(6), text, level, user, author, now, until)
        self._store([*others, made])
        return made

    def remove(self, announcement_id: str, *, reader: str | None = None) -> bool:
        """Removes a message, for everybody; False if there is none with this id. Raises NotStored.

        With a `reader`, only a message to that person is removed.
        """
        current = self.all()
        kept = [each for each in current if each.id != announcement_id or each.is_denied_to(reader)]
        if len(kept) == len(current):
            return False
        self._store(kept)
        return True

    @staticmethod
    def _check_room(others: list[Announcement], user: str) -> None:
        of_user = sum(each.user == user for each in others)
        if not user and of_user >= MOST_FOR_EVERYBODY:
            raise Refusal(f"There are {MOST_FOR_EVERYBODY} announcements already. Remove one first.")
        if user and of_user >= MOST_FOR_A_PERSON:
            raise Refusal(f"{quoted(user)} has {MOST_FOR_A_PERSON} messages already. Remove one first.")
        if user and sum(bool(each.user) for each in others) >= MOST_FOR_PERSONS:
            raise Refusal(f"There are {MOST_FOR_PERSONS} messages to persons already. Remove some first.")

    def _store(self, announcements: list[Announcement]) -> None:
        try:
            if self._is_damaged:
                os.replace(self._file, self._file.with_suffix(".damaged"))
                self._is_damaged = False
            content = {"announcements": [asdict(each) for each in announcements]}
            write_atomically(self._file, json.dumps(content, indent=1))
        except OSError as error:
            raise NotStored("The hub can't store this at the moment.", f"{self._file}: {error}") from error

    def _load(self) -> list[Announcement]:
        try:
            found = self._file.stat()
        except OSError:  # there has been none yet
            return []
        version = (found.st_mtime_ns, found.st_ino, found.st_size)
        if version != self._version:
            self._version = version
            self._read = self._parse()
        return self._read

    def _parse(self) -> list[Announcement]:
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))["announcements"]
            found = [_read(each) for each in stored]
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("The announcements in %s can't be read; the file is kept: %s", self._file, error)
            self._is_damaged = True
            return []
        self._is_damaged = False
        return found


def _read(stored: dict[str, Any]) -> Announcement:
    """What was stored; raises ValueError, KeyError or TypeError, as somebody may have edited the file."""
    texts = {name: stored[name] for name in ("id", "text", "level", "user", "author")}
    at, are_texts = moment(stored["at"]), all(isinstance(text, str) for text in texts.values())
    if at is None or not are_texts or texts["level"] not in LEVELS:
        raise ValueError(f"no announcement: {stored!r}")
    return Announcement(**texts, at=at, until=moment(stored["until"]))


def _cleaned(text: str) -> str:
    """The text without control characters, except line breaks, and without lone surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    kept = (char for char in lines if char == "\n" or unicodedata.category(char) not in ("Cc", "Cs"))
    return "".join(kept).strip()


def moment(given: str | float | None) -> float | None:
    """Seconds since 1970 of a date and time (ISO 8601, the hub's time zone if none is named); None for "".

    Raises Refusal.
    """
    if given is None or given == "":
        return None
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given.strip()).timestamp()
        datetime.fromtimestamp(given)
    except (ValueError, OverflowError, OSError):
        raise Refusal("This isn't a date and time. Write one like 2026-11-30T18:00.") from None
    return float(given)


def zone() -> str:
    """The name of the hub's time zone at this moment."""
    return datetime.now().astimezone().strftime("%Z")
