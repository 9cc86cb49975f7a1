"""When a user's job was submitted, its script began, and its server listened: seen from the host."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.demo.service import Demo
from cluster.node import recorded
from cluster.processes import Process, stat_fields

from .testbed import BenchFailure, run_script_in_hub

SUBMITTED = "/run/submitted"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.01
LISTENING = "0A"  # a socket's state in proc_net(5)
# A script in front of sbatch writes the time and becomes the command. sudo's rules name the path.
WRAP = f"""
install -m 0666 /dev/null {SUBMITTED}
mv /usr/bin/sbatch /usr/bin/sbatch.own
printf '#!/bin/bash\\necho $EPOCHREALTIME >> {SUBMITTED}\\nexec /usr/bin/sbatch.own "$@"\\n' > /usr/bin/sbatch
chmod 0755 /usr/bin/sbatch
"""


def start_noting_submissions(demo: Demo) -> None:
    """Makes sbatch on the hub node write when it was called."""
    run_script_in_hub(demo, WRAP)


def last_submitted(demo: Demo) -> float:
    """When sbatch was called last, in seconds since the epoch."""
    return float(run_script_in_hub(demo, f"tail -n 1 {SUBMITTED}"))


def script_began(demo: Demo, nodes: Sequence[str], uid: int) -> float:
    """When the user's first process on these nodes began, in seconds since the epoch.

    That is the script of the only job. The kernel counts in hundredths of a second.
    """
    spaces = {os.readlink(f"/proc/{init.pid}/ns/pid") for init in _inits(demo, nodes)}
    began = [_start(directory) for directory in _processes(uid) if _pid_space(directory) in spaces]
    if not any(began):
        raise BenchFailure("the user has no process on the nodes")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + min(filter(None, began)) / TICKS_PER_S


def _processes(uid: int) -> Iterator[Path]:
    """The directories in /proc of a user's processes."""
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError):
            if directory.stat().st_uid == uid:
                yield directory


def _pid_space(directory: Path) -> str:
    """The pid namespace of a process; empty if it has ended."""
    try:
        return os.readlink(directory / "ns/pid")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _start(directory: Path) -> int:
    """When a process began, in clock ticks since the machine's boot; 0 if it has ended."""
    try:
        return int(stat_fields(int(directory.name))[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _inits(demo: Demo, nodes: Sequence[str]) -> list[Process]:
    found = [recorded(demo.instance, node) for node in nodes]
    return [process for process in found if process]


class FirstListener:
    """Notes when a process of a user listened to a TCP port of a node for the first time, srun apart."""

    def __init__(self, demo: Demo, nodes: Sequence[str], uid: int) -> None:
        inits = _inits(demo, nodes)
        self._tables = [Path(f"/proc/{init.pid}/net/{table}") for init in inits for table in ("tcp", "tcp6")]
        self._uid, self._over = uid, threading.Event()
        self._srun: set[str] = set()  # sockets
        self.at = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches until there is one, or until the end of the block; `at` is in seconds since the epoch."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self.at and not self._over.wait(POLL_S):
            sockets = {socket for table in self._tables for socket in self._listening(table)} - self._srun
            now = time.time()
            if sockets and sockets - self._of_srun():
                self.at = now

    def _listening(self, table: Path) -> Iterator[str]:
        """The sockets at which the user's processes listen, as they are named in /proc/PID/fd."""
        for row in (line.split() for line in table.read_text().splitlines()[1:]):
            if row[3] == LISTENING and row[7] == str(self._uid):
                yield f"socket:[{row[9]}]"

    def _of_srun(self) -> set[str]:
        """The sockets of the user's srun commands; a peer's script starts its server with one."""
        for directory in _processes(self._uid):
            with suppress(FileNotFoundError, ProcessLookupError):
                if (directory / "comm").read_text() == "srun\n":
                    self._srun |= {os.readlink(file) for file in (directory / "fd").iterdir()}
        return self._srun
