"""Causes by other programs' messages in a server's log: Apptainer's, Python's, a shell's, the kernel's; pure.

What the starter itself knows isn't read from the log: see starter_ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flatirons.errors import TELL_OPERATOR
from flatirons.servers.causes import Cause
from flatirons.servers.starter_ends import (
    NO_APPTAINER,
    NO_JUPYTERLAB,
    NO_SINGLEUSER,
    OTHER_ENVIRONMENT,
    OTHER_NODE,
    TMP_FULL,
)


@dataclass(frozen=True, slots=True)
class LogPattern:
    """A pattern and the cause that it indicates; the sentence can use the pattern's groups."""

    pattern: re.Pattern[str]
    cause: Cause

    def cause_in(self, lines: Sequence[str]) -> Cause | None:
        """The cause, from the last line that matches."""
        for line in reversed(lines):
            if match := self.pattern.search(line):
                filled = self.cause.sentence.format(*match.groups(""), **match.groupdict(""))
                return replace(self.cause, sentence=re.sub(r"[ :]*([.:]?)$", r"\1", filled))
        return None


def _pattern(pattern: str, cause: Cause) -> LogPattern:
    return LogPattern(re.compile(pattern), cause)


_HIDDEN_BY_HOME = (
    "A package in your home (~/.local) may hide the environment's own: move it away and start again."
)
_REMOVE_FILES = "remove files, on a log-in node if need be, and start again."

LOG_PATTERNS = (
    _pattern(
        r"[Dd]isk quota exceeded",
        Cause(
            "quota",
            "Your disk quota is used up, so the server could not write its files.",
            _REMOVE_FILES.capitalize(),
        ),
    ),
    _pattern(
        r"(?:\s(?:/(?:var/)?tmp)/\S*: [Nn]o space left on device"  # of Go, and so of Apptainer
        r"|[Nn]o space left on device: '?(?:/(?:var/)?tmp)\b"  # of Python
        r"|No usable temporary directory found)",
        TMP_FULL,
    ),
    _pattern(
        r"[Nn]o space left on device(?:: '?([^\s']+))?",
        Cause(
            "home_full",
            "A disk that the server writes to is full: {0}.",
            f"If it is your home, {_REMOVE_FILES}",
        ),
    ),
    _pattern(
        r"(?:Unable to locate a modulefile for|module\(s\) are unknown:) *'?([\w./-]+)'?",
        Cause("module_missing", "The cluster has no software module {0} to load.", OTHER_ENVIRONMENT),
    ),
    _pattern(  # of a shell, after a prologue
        r"exec: (?P<program>\S*(?:apptainer|singularity)): (?P<error>.+?)\.?$",
        NO_APPTAINER,
    ),
    _pattern(r"(?:jupyterhub-singleuser|jupyter-labhub)[^\n]*(?:[Nn]o such file|not found)", NO_SINGLEUSER),
    _pattern(r"jupyter-lab(?!hub)\b[^\n]*(?:[Nn]o such file|not found)", NO_JUPYTERLAB),
    _pattern(
        r"No module named '(pipes|distutils)(?:\.\w+)*'",  # jupyterhub 1 to 3, on Python 3.12 and 3.13
        Cause(
            "old_jupyterhub",
            "The environment is too old for its Python, which has no module {0}. Most often the reason is an "
            "old jupyterhub.",
            f"{OTHER_ENVIRONMENT} It needs a jupyterhub of the hub's major version.",
        ),
    ),
    _pattern(
        r"ModuleNotFoundError: No module named '([\w.]+)'",
        Cause("import_error", "Python found no module {0}.", _HIDDEN_BY_HOME),
    ),
    _pattern(
        r"ImportError: (.{1,200})",
        Cause("import_error", "Python could not import what the server needs: {0}", _HIDDEN_BY_HOME),
    ),
    _pattern(
        r"the image's architecture \((\w+)\) could not run on the host's \((\w+)\)"
        r"|image targets '(\w+)', cannot run on '(\w+)'",
        Cause(
            "wrong_architecture",
            "The image is made for {0}{2} processors, and the node's is {1}{3}.",
            f"Choose another environment, or a partition with such nodes. {TELL_OPERATOR}",
        ),
    ),
    _pattern(
        r"mount source (\S+) doesn't exist",
        Cause(
            "bind_missing",
            "The container needs {0}, which the node doesn't have.",
            f"{OTHER_NODE} {TELL_OPERATOR}",
        ),
    ),
    _pattern(
        r"exec (\S+) failed: a shared library is likely missing",
        Cause(
            "container",
            "The environment's {0} can't be run: the Python that it names or a library is missing.",
            OTHER_ENVIRONMENT,
        ),
    ),
    _pattern(
        r"FATAL: +(.{1,200})",
        Cause("container", "The container could not be started: {0}", TELL_OPERATOR),
    ),
    _pattern(
        r"MemoryError|Cannot allocate memory",
        Cause("out_of_memory", "The server ran out of memory.", "Ask for more memory."),
    ),
    _pattern(
        r"[Aa]ddress already in use|EADDRINUSE",
        Cause(
            "address_in_use",
            "The server could not listen on its port, because something else had it.",
            f"{TELL_OPERATOR} The starter keeps the port for the server, whose program has to set "
            "SO_REUSEADDR when it listens, as Jupyter's does.",
        ),
    ),
)


def cause_in_log(lines: Sequence[str]) -> Cause | None:
    """The cause that these lines indicate, by the first pattern that any of them matches."""
    found = (each.cause_in(lines) for each in LOG_PATTERNS)
    return next((cause for cause in found if cause), None)
