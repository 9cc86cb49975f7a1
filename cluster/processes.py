"""Processes, identified so that a reused pid is not mistaken for them; commands; waiting."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat that follow the name, the state first; see proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@dataclass(frozen=True)
class Process:
    """A pid together with its start time (clock ticks since boot), as in /proc/PID/stat."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The live process with this pid, or None; a zombie counts as ended."""
        try:
            fields = stat_fields(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @classmethod
    def parse(cls, text: str) -> "Process":
        """The process that `str()` wrote as text."""
        pid, started = text.split()
        return cls(int(pid), int(started))

    def __str__(self) -> str:
        return f"{self.pid} {self.started}"

    def is_alive(self) -> bool:
        """Whether this process, and not a later one with its pid, still runs."""
        return Process.of(self.pid) == self

    def _open(self) -> int | None:
        """A descriptor of this process, or None if it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.is_alive():
            return descriptor
        os.close(descriptor)
        return None

    def send(self, signum: int) -> None:
        """Sends a signal; another process with the same pid never gets it."""
        descriptor = self._open()
        if descriptor is not None:
            try:
                signal.pidfd_send_signal(descriptor, signum)
            finally:
                os.close(descriptor)

    def end(self, deadline_s: float = 20.0) -> None:
        """Kills it and returns when it has ended."""
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
    """Kills them all, and returns when all have ended."""
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
    """The stdout of a command; ClusterError with the last line of its stderr if it fails."""
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


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float, every_s: float = 0.02) -> None:
    """Returns once the condition holds; ClusterError after the deadline."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise ClusterError(f"{what} took longer than {deadline_s:g} s")
        time.sleep(every_s)
