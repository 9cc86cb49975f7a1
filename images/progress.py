"""Long commands, with a line that says how long they have been running; their output goes to a log."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import BuildError

# Whether no other build goes on beside the one that this process does.
is_alone = True
LOG_LINES_SHOWN = 20
LIVE_EVERY_S = 1.0
PLAIN_EVERY_S = 20.0
# Killed with us, and then its whole pid namespace with it: no mount and no process outlives a build.
ISOLATED = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *(
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--mount-proc",
        "--fork",
        "--kill-child",
        "--",
    ),
)


def say(sentence: str, end: str = "\n") -> None:
    """Tells the person at the keyboard how it goes; on stderr, as stdout is for results."""
    print(f"build: {sentence}", file=sys.stderr, end=end, flush=True)


def _is_live() -> bool:
    """Whether a line may be written over: nobody else writes to this terminal."""
    return is_alone and sys.stderr.isatty()


def _beat(what: str, seconds: float) -> None:
    if _is_live():
        say(f"{what} ... {seconds:.0f} s", end="\r")
    elif seconds >= PLAIN_EVERY_S / 2:
        say(f"{what} ... {seconds:.0f} s")


def run(
    argv: Sequence[str], what: str, log: Path, hold: int, environment: Mapping[str, str] | None = None
) -> float:
    """Runs a command to its end, which keeps the descriptor `hold` open; gives its seconds.

    Raises BuildError, after the last lines of the log, if it fails. `environment`: None is our own.
    """
    started = time.monotonic()
    every_s = LIVE_EVERY_S if _is_live() else PLAIN_EVERY_S
    _beat(what, 0)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*ISOLATED, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[hold],
        )
        try:
            while (code := _wait(child, every_s)) is None:
                _beat(what, time.monotonic() - started)
        finally:
            child.kill()
            child.wait()
    seconds = time.monotonic() - started
    if code:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        print("\n".join(lines), file=sys.stderr)
        raise BuildError(f"{what} failed after {seconds:.0f} s; the whole log is {log}")
    say(f"{what}: {seconds:.1f} s")
    return seconds


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code, or None after that many seconds."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
