"""The end of a server's log as its user reads it: routine lines left out, telling ones marked; pure.

A log may hold anything: escape sequences of a terminal, control characters, HTML, texts of any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flatirons.errors import printable
from flatirons.servers.log_patterns import LOG_PATTERNS

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Za-z0-9]|[@-_=>])?")
"""Escape sequences: colours, movements, titles; also one that is cut off at the end of the line."""

_LEVEL = re.compile(r"^\[([A-Z]) [\d-]+ [\d:.,]+ [^\]]*\]")
"""The head of a line that Jupyter logs: `[I 2026-11-29 21:00:00.123 ServerApp]`."""

_REQUEST = re.compile(
    r"\b[1-4]\d\d (?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /"  # of Jupyter
    r'|"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /\S* HTTP/[\d.]+" [1-4]\d\d\b'  # of most other servers
)
_ROUTINE = frozenset("DI")
"""Jupyter's levels DEBUG and INFO."""

_SIGNS = re.compile(
    r"^\w+(?:\.\w+)*(?:Error|Exception|Interrupt)\b"  # the last line of a traceback
    r"|\b(?:CRITICAL|FATAL|ERROR|panic)\b"
    r"|^(?:slurmstepd|srun|apptainer|singularity): (?:error|fatal)"
    r"|\b(?:Killed|[Oo]ut of memory|oom[-_ ]?kill\w*|Segmentation fault|Bus error|core dumped|Aborted)\b"
    r"|[Pp]ermission denied|[Nn]o space left|[Qq]uota exceeded|[Nn]o such file or directory|command not found"
    r"|[Rr]eceived signal|interrupted by signal|SIG(?:TERM|KILL|SEGV|ABRT|BUS)\b"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line without control characters. A routine one tells nothing about an end; a telling one does."""

    text: str
    is_routine: bool = False
    is_telling: bool = False


def read(lines: Iterable[str]) -> list[LogLine]:
    """The lines with what they are to somebody who wants to know why a server ended."""
    return [_line(shown(line)) for line in lines]


def kept(lines: Sequence[str], most: int) -> list[str]:
    """At most so many of the lines: the last ones, after routine lines have gone, the oldest first."""
    excess, left = len(lines) - most, []
    for line, known in zip(lines, read(lines), strict=True):
        if known.is_routine and excess > 0:
            excess -= 1
        else:
            left.append(line)
    return left[-most:]


def shown(line: str) -> str:
    """The line as a terminal would show it in the end, without colours; U+FFFD for what can't be seen."""
    plain = _ESCAPES.sub("", line).rstrip("\r\n").expandtabs()
    last = plain.rpartition("\r")[2]  # a progress bar writes over its own line
    return printable(last or plain.replace("\r", ""))


def _line(text: str) -> LogLine:
    level = found[1] if (found := _LEVEL.match(text)) else ""
    if _REQUEST.search(text):
        return LogLine(text, is_routine=True)
    is_telling = level in ("E", "C") or _is_sign(text)
    return LogLine(text, is_routine=not text or (level in _ROUTINE and not is_telling), is_telling=is_telling)


def _is_sign(text: str) -> bool:
    return bool(_SIGNS.search(text)) or any(each.pattern.search(text) for each in LOG_PATTERNS)
