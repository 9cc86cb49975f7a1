"""The progress of a build, for the person at the keyboard: a line for each step, with the seconds."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ClusterError
from ..tree import cache

TAIL_LINES = 15


class Progress:
    """Prints lines as `  12.3 s  text`; threads may share one. With `is_quiet` nothing is printed."""

    def __init__(self, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        self.began = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        """Prints one line on stderr."""
        if not self.is_quiet:
            with self._lock:
                print(f"{self.seconds:6.1f} s  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Prints that a step begins and, when it is done, how long it took."""
        self.say(f"{what} ...")
        began = time.monotonic()
        yield
        self.say(f"{what}: {time.monotonic() - began:.1f} s")


def logs() -> Path:
    """The directory for the logs of builds."""
    place = cache() / "logs"
    place.mkdir(exist_ok=True)
    return place


def run_logged(
    argv: Sequence[str], what: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    """The stdout of a command; its stderr goes to a log.

    Raises ClusterError, and prints the end of the log, when the command fails.
    """
    log = logs() / f"{what.replace(' ', '-')}.log"
    with log.open("wb") as errors:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=cwd
        )
    if done.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()[-TAIL_LINES:]
        print("\n".join(lines), file=sys.stderr)
        raise ClusterError(
            f"{what} failed with exit code {done.returncode}; its messages are above and in {log}"
        )
    return done.stdout.decode()
