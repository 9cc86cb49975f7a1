"""Runs long commands: shows for how long they have been running, and writes their output to a log."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.builds import ISOLATED

from .errors import BuildError

# Whether this process runs one build at a time.
is_alone = True
LOG_LINES_SHOWN = 20
LIVE_EVERY_S = 1.0
PLAIN_EVERY_S = 20.0
# The command is killed with this process, and with the command everything that it started.
KILLED_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--", *ISOLATED)


def say(sentence: str, end: str = "\n") -> None:
    """Prints progress to stderr, as stdout is for results."""
    print(f"build: {sentence}", file=sys.stderr, end=end, flush=True)


def _is_live() -> bool:
    """Whether the last line may be overwritten: stderr is a terminal, and nothing else writes to it."""
    return is_alone and sys.stderr.isatty()


def _say_seconds(what: str, seconds: float) -> None:
    if _is_live():
        say(f"{what} ... {seconds:.0f} s", end="\r")
    elif seconds >= PLAIN_EVERY_S / 2:
        say(f"{what} ... {seconds:.0f} s")


def run(
    argv: Sequence[str], what: str, log: Path, hold: int, environment: Mapping[str, str] | None = None
) -> float:
    """Runs a command that keeps the descriptor `hold` open; returns the seconds it took.

    Raises BuildError, and prints the last lines of the log, if it fails. `environment` None means this
    process's own.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*KILLED_WITH_US, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[hold],
        )
        try:
            code = _wait(child, what, started)
        finally:
            child.kill()
            child.wait()
    seconds = time.monotonic() - started
    if code:
        _print_end(log)
        raise BuildError(f"{what} failed after {seconds:.0f} s; the whole log is {log}")
    say(f"{what}: {seconds:.1f} s")
    return seconds


def _wait(child: subprocess.Popen[bytes], what: str, started: float) -> int:
    """The exit code of the child; shows the seconds until then."""
    every_s = LIVE_EVERY_S if _is_live() else PLAIN_EVERY_S
    while True:
        _say_seconds(what, time.monotonic() - started)
        try:
            return child.wait(every_s)
        except subprocess.TimeoutExpired:
            continue


def _print_end(log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    print("\n".join(lines), file=sys.stderr)
