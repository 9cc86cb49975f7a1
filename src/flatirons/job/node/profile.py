"""The shell that reads a node's profile and runs the site's prologue before it becomes another program.

`/etc/profile` defines `module`: with --export=NIL a job has no log-in environment. It is the site's, and may
change the directory, change how the shell reads lines, or end the shell. The first two are undone. The third
can be told from the end of the program, because the shell writes to a pipe what it begins.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from flatirons.job.node.kinds import PROFILE_ENDED, PROLOGUE_ENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_PROFILE = """\
flatirons_options=$(set +o) flatirons_directory=$PWD
[ ! -r /etc/profile ] || . /etc/profile
eval "$flatirons_options"
builtin cd -- "$flatirons_directory"
unset -v IFS flatirons_options flatirons_directory"""
"""Shell lines that read the profile; the directory and the options of the shell stay as they are."""

FIRST_DESCRIPTOR = 100  # above those that a profile may use by their number
PARTS = {b"": PROFILE_ENDED, b"1": PROFILE_ENDED, b"2": PROLOGUE_ENDED, b"3": ""}
"""What a shell began last -> the kind of its end."""


def how_ended(status: int) -> str:
    """A child's return code in words."""
    return f"exit code {status}" if status >= 0 else f"signal {-status}"


class ProfileShell:
    """bash, which reads the profile and runs a prologue, and then becomes a program."""

    def __init__(self, prologue: str, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        """`before` and `after` are shell lines around profile and prologue."""
        self.reader, writer = os.pipe()
        self.writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR)
        os.close(writer)
        begins = f"printf {{}} >&{self.writer}"
        lines = [*before, begins.format(1), READ_PROFILE, begins.format(2), prologue, *after]
        self.lines = [*lines, begins.format(3), f'exec "$@" {self.writer}>&-']

    def argv(self, command: Sequence[str]) -> list[str]:
        """The shell that becomes this command; it must inherit the descriptor `writer`."""
        return ["bash", "-c", "\n".join(self.lines), "flatirons", *command]

    def close_writer(self) -> None:
        """Closes our copy of the pipe's end for writing, once the shell has its own."""
        os.close(self.writer)

    def end_kind(self) -> str:
        """PROFILE_ENDED or PROLOGUE_ENDED for a shell that ended there, "" if it became the program."""
        os.set_blocking(self.reader, False)  # a process that the profile started may hold the other end open
        try:
            return PARTS[os.read(self.reader, 16)[-1:]]
        except BlockingIOError:
            return PROFILE_ENDED
        finally:
            os.close(self.reader)
