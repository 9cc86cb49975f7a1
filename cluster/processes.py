"""Processes by an identity that survives the reuse of pids."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError


@dataclass(frozen=True)
class Process:
    """A pid together with its start time (clock ticks since boot), as in /proc/PID/stat."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The live process with this pid, or None; a zombie counts as gone."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @classmethod
    def parse(cls, text: str) -> "Process":
        """The process that `str()` wrote."""
        pid, started = text.split()
        return cls(int(pid), int(started))

    def __str__(self) -> str:
        return f"{self.pid} {self.started}"

    def is_alive(self) -> bool:
        """Whether this very process, not a later one with its pid, still runs."""
        return Process.of(self.pid) == self

    def _open(self) -> int | None:
        """A descriptor of this very process, or None if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.is_alive():
            return descriptor
        os.close(descriptor)
        return None

    def send(self, signum: int) -> None:
        """Sends a signal; a process that reused the pid never gets it."""
        descriptor = self._open()
        if descriptor is not None:
            try:
                signal.pidfd_send_signal(descriptor, signum)
            finally:
                os.close(descriptor)

    def end(self, deadline_s: float = 20.0) -> None:
        """Kills it and returns once it is gone."""
        descriptor = self._open()
        if descriptor is None:
            return
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], deadline_s)[0]:
                raise ClusterError(f"process {self.pid} did not end within {deadline_s:g} s")
        finally:
            os.close(descriptor)


def end_all(processes: Sequence[Process]) -> None:
    """Kills them all, then returns once all are gone."""
    for process in processes:
        process.send(signal.SIGKILL)
    for process in processes:
        process.end()


def children(pid: int) -> list[int]:
    """The pids of the direct children of a single-threaded process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def run(argv: Sequence[str], what: str, *, stdin: str = "", deadline_s: float = 60.0) -> str:
    """The stdout of a command that succeeded; ClusterError with its last line of stderr otherwise."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=deadline_s)
    except FileNotFoundError as error:
        raise ClusterError(f"{what}: the command {argv[0]} is missing") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{what}: {argv[0]} did not end within {deadline_s:g} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ClusterError(f"{what}: {lines[-1] if lines else f'{argv[0]} ended with {done.returncode}'}")
    return done.stdout


def wait_until(question: Callable[[], bool], what: str, deadline_s: float, every_s: float = 0.02) -> None:
    """Returns once the question is answered with yes; ClusterError after the deadline."""
    until = time.monotonic() + deadline_s
    while not question():
        if time.monotonic() > until:
            raise ClusterError(f"{what} took longer than {deadline_s:g} s")
        time.sleep(every_s)
