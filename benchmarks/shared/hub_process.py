"""Running hubs, observed from outside: their log tells the time of each request, /proc their CPU time."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.demo.service import Demo
from cluster.layout import HUB, HUB_ACCOUNT
from cluster.node import last_line
from cluster.processes import Process, children, end_all, stat_fields, wait_until

from .testbed import BenchFailure

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# JupyterHub's line for a request: `... 200 GET /hub/spawn/bench001 (bench001@10.89.0.1) 12.34ms`.
REQUEST = re.compile(r" (?P<status>\d{3}) (?P<method>[A-Z]+) (?P<uri>\S+) .*?\(\S*\) (?P<ms>\d+\.\d+)ms$")


@dataclass(frozen=True)
class Cpu:
    """CPU time of a process in milliseconds, and that of the commands it started that have ended."""

    own_ms: float
    commands_ms: float

    @classmethod
    def of(cls, process: Process) -> "Cpu":
        """What the process used until now; see proc_pid_stat(5)."""
        fields = stat_fields(process.pid)
        own, commands = (int(fields[i]) + int(fields[i + 1]) for i in (11, 13))
        return cls(1000 * own / TICKS_PER_S, 1000 * commands / TICKS_PER_S)

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(self.own_ms - before.own_ms, self.commands_ms - before.commands_ms)


def machine_ticks() -> tuple[int, int]:
    """(clock ticks that this machine's cores worked, all clock ticks) since its boot; see proc_stat(5)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def percent_busy(before: tuple[int, int], after: tuple[int, int]) -> float:
    """How busy all cores were between two readings of `machine_ticks`."""
    return 100 * (after[0] - before[0]) / (after[1] - before[1])


@dataclass(frozen=True)
class Hub:
    """A hub that runs on the demo's hub node and answers at the demo's URL."""

    log: Path
    process: Process

    @classmethod
    def of(cls, demo: Demo) -> "Hub":
        """The demo's own hub; BenchFailure if it doesn't run."""
        process = demo.hub_process
        if process is None:
            raise BenchFailure("the hub does not run")
        return cls(demo.hub_log, process)


def request_times_ms(log: Path, begin: int, end: int, method: str, path: str) -> list[float]:
    """How long each successful request of this kind took, by the part of the log between two offsets."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read(end - begin).decode(errors="replace").splitlines()
    found = [match for match in map(REQUEST.search, lines) if match]
    good = [m for m in found if m["status"] == "200" and m["method"] == method]
    return [float(m["ms"]) for m in good if m["uri"].startswith(path)]


class Peer:
    """Another package's hub in place of the demo's, which must be stopped, as must its proxy."""

    def __init__(self, demo: Demo, argv: list[str]) -> None:
        self.demo, self.argv = demo, argv
        self.log = demo.own / "peer.log"
        self._entering: subprocess.Popen[bytes] | None = None

    def start(self) -> Hub:
        """Returns when the hub answers."""
        with self.log.open("ab") as output:
            argv = [*self.demo.enter(HUB, HUB_ACCOUNT.name), *self.argv]
            self._entering = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        wait_until(self._answers_or_has_ended, "starting the peer's hub", START_DEADLINE_S, 0.1)
        process = self._inner_process()
        if process is None:
            raise BenchFailure(f"the peer's hub ended: {last_line(self.log)}")
        return Hub(self.log, process)

    def stop(self) -> None:
        """Returns when the hub and its proxy are gone; a hub with many servers may have to be killed."""
        if self._entering is None:
            return
        process = self._inner_process()
        started = [Process.of(pid) for pid in children(process.pid)] if process else []
        if process:
            process.send(signal.SIGTERM)
        try:
            self._entering.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            end_all([each for each in (process, *started) if each])
            self._entering.wait(STOP_DEADLINE_S)

    def _inner_process(self) -> Process | None:
        started = children(self._entering.pid) if self._entering else []
        return Process.of(started[0]) if started else None

    def _answers_or_has_ended(self) -> bool:
        assert self._entering is not None
        return self._entering.poll() is not None or self.demo.is_healthy()
