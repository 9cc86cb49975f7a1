"""What can go wrong, as one tree. Each error carries two texts:

`user`    one or two plain sentences that are safe to show and say what to do;
`detail`  for the operator's log: command, exit code, stderr, node. Never shown to a user.

    FlatironsError
    ├── OptionsRefused      options of a form, a link or a REST body that can't be taken
    ├── SiteError           mistakes in site.toml, each with its key
    ├── ImageError          an image that can't be run as described
    ├── ServerEnded         a job ended before its notebook server listened
    ├── CommandError        a command that didn't do what it should
    │   ├── CommandFailed     it ended with another exit code than 0
    │   ├── CommandMissing    it isn't there, or can't be executed
    │   └── CommandTimeout    it didn't end before its deadline
    └── SlurmError
        ├── SubmitRefused     Slurm said no to a job
        └── SlurmUnreachable  no answer, or none that can be read: says nothing about any job

A single value that can't be taken is a `Refusal`: a ValueError whose text is one sentence, safe to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LONGEST_TEXT = 1000
"""No option's text is longer, whatever its field says: longer ones are refused before anything reads them."""


class FlatironsError(Exception):
    """An error with a text for the user and one for the operator's log."""

    def __init__(self, user: str, detail: str = "") -> None:
        super().__init__(user)
        self.user = user
        self.detail = detail

    def _render_traceback_(self) -> list[str]:
        """What IPython shows below a cell: the sentence, without the way through our code and others'."""
        return [f"{type(self).__name__}: {self.user}"]


class OptionsRefused(FlatironsError):
    """Options that can't be taken; `messages` maps each option's name to its sentence."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        self.messages = dict(messages)
        super().__init__(" ".join(f"{name}: {text}" for name, text in self.messages.items()))


class SiteError(FlatironsError):
    """Mistakes in site.toml; `problems` holds (dotted key, what was expected) in the file's order."""

    def __init__(self, problems: Sequence[tuple[str, str]], source: str = "site.toml") -> None:
        self.problems = list(problems)
        lines = [f"{key}: {text}" if key else text for key, text in self.problems]
        super().__init__(f"{source}: " + "; ".join(lines))


class ImageError(FlatironsError):
    """An image that can't be run as described."""


class ServerEnded(FlatironsError):
    """A job that ended before its notebook server listened."""


class CommandError(FlatironsError):
    """A command that didn't do what it should; both its streams are kept."""

    def __init__(self, user: str, argv: Sequence[str], stdout: str = "", stderr: str = "") -> None:
        self.argv = tuple(argv)
        self.stdout = stdout
        self.stderr = stderr
        super().__init__(user, f"{user} argv={list(argv)!r} stdout={stdout!r} stderr={stderr!r}")


class CommandFailed(CommandError):
    """A command ended with another exit code than 0 (negative: the signal that ended it)."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        self.returncode = returncode
        super().__init__(f"A command ended with exit code {returncode}.", argv, stdout, stderr)


class CommandMissing(CommandError):
    """A command isn't there, or can't be executed."""


class CommandTimeout(CommandError):
    """A command didn't end before its deadline and was killed."""


class SlurmError(FlatironsError):
    """Something between us and Slurm."""


class SubmitRefused(SlurmError):
    """Slurm said no to a job; `user` holds Slurm's own sentence and what to do about it."""


class SlurmUnreachable(SlurmError):
    """No answer from Slurm, or none that can be read. It says nothing about any job."""


class Refusal(ValueError):
    """One sentence, safe to show, that says why a value can't be taken and what would be."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without anything that can't be seen (controls, direction marks, lone surrogates), cut."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


def quoted(text: str) -> str:
    """The text in quotes, short and printable, for a message."""
    return f'"{printable(text, 40)}"'
