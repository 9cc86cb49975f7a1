"""The errors of Flatirons, as one tree. Each error has two texts:

`user`    one or two sentences that are safe to show to a user and say what to do;
`detail`  for the operator's log: command, exit code, stderr, node. It is never shown to a user.

    FlatironsError
    ├── OptionsRefused      options of a form, a link or a REST body were refused
    ├── SiteError           mistakes in site.toml, each with its key
    ├── ImageError          an image that can't be run as described
    ├── ServerEnded         a server has ended, or never came to run
    ├── ConnectError        a server can't be reached from this machine
    ├── CommandError        a command failed
    │   ├── CommandFailed     it ended with an exit code other than 0
    │   ├── CommandMissing    it doesn't exist or can't be executed
    │   ├── AccountRefused    the hub doesn't run commands as this account
    │   └── CommandTimeout    it didn't end before its deadline
    └── SlurmError
        ├── SubmitRefused     Slurm refused a job
        └── SlurmUnreachable  no answer, or an unreadable one: it says nothing about any job

A single value is refused with a `Refusal`: a ValueError whose text is one sentence, safe to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LONGEST_TEXT = 1000
"""The maximum length of any option's text; a longer one is refused before anything reads it."""

TELL_OPERATOR = "Please tell the operator."
"""The advice where a user can't do anything."""


class FlatironsError(Exception):
    """An error with a text for the user and one for the operator's log."""

    def __init__(self, user: str, detail: str = "") -> None:
        super().__init__(user)
        self.user = user
        self.detail = detail

    def _render_traceback_(self) -> list[str]:
        """What IPython shows below a cell: the sentence without a traceback."""
        return [f"{type(self).__name__}: {self.user}"]


class OptionsRefused(FlatironsError):
    """Options that were refused; `messages` maps each option's name to its sentence."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        self.messages = dict(messages)
        super().__init__(" ".join(f"{name}: {text}" for name, text in self.messages.items()))


class SiteError(FlatironsError):
    """Mistakes in site.toml; `problems` are (dotted key, what was expected) in the file's order."""

    def __init__(self, problems: Sequence[tuple[str, str]], source: str = "site.toml") -> None:
        self.problems = list(problems)
        lines = [f"{key}: {text}" if key else text for key, text in self.problems]
        super().__init__(f"{source}: " + "; ".join(lines))


class ImageError(FlatironsError):
    """An image that can't be run as described."""


class ServerEnded(FlatironsError):
    """A server that has ended, or whose job never came to run it; the text says why."""


class ConnectError(FlatironsError):
    """A server that can't be reached from the user's own machine; the text says why and what to do."""


class CommandError(FlatironsError):
    """A command that failed; holds what it printed to stdout and stderr."""

    def __init__(self, user: str, argv: Sequence[str], stdout: str = "", stderr: str = "") -> None:
        self.argv = tuple(argv)
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(user, f"{user} argv={list(argv)!r} stdout={stdout!r} stderr={stderr!r}")


class CommandFailed(CommandError):
    """A command that ended with an exit code other than 0 (negative: the signal that ended it)."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        self.returncode = returncode
        super().__init__(f"A command ended with exit code {returncode}.", argv, stdout, stderr)


class CommandMissing(CommandError):
    """A command that doesn't exist or can't be executed."""


class AccountRefused(CommandError):
    """An account as which the hub runs no commands: of the system, or not on this machine."""

    def __init__(self, user: str, name: str) -> None:
        super().__init__(user, [name])


class CommandTimeout(CommandError):
    """A command that didn't end before its deadline and was killed."""


class SlurmError(FlatironsError):
    """A request to Slurm that failed."""


class SubmitRefused(SlurmError):
    """Slurm refused a job; `user` holds Slurm's own sentence and what to do about it."""


class SlurmUnreachable(SlurmError):
    """No answer from Slurm, or an unreadable one. It says nothing about any job."""


class Refusal(ValueError):
    """One sentence, safe to show, that says why a value is refused and what is accepted."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, cut to `longest`, with U+FFFD for each invisible character.

    Invisible are control characters, direction marks and lone surrogates.
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


def quoted(text: str) -> str:
    """The text in quotes for a message, printable and cut to 40 characters."""
    return f'"{printable(text, 40)}"'
