"""What a demo has created on the machine, and whether any of it is still there."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..processes import Process
from .service import Demo

KINDS = ("mnt", "pid", "net", "uts", "ipc")


def namespaces_of(pid: int) -> set[str]:
    """The namespaces of a process, such as `net:[4026532177]`; none if it is gone or can't be inspected."""
    try:
        return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()


def pids() -> list[int]:
    """All processes of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


@dataclass(frozen=True)
class Resources:
    """Processes, namespaces and directories of one demo, listed while it runs."""

    processes: tuple[Process, ...]
    namespaces: frozenset[str]
    directories: tuple[Path, ...]

    @classmethod
    def of(cls, demo: Demo) -> "Resources":
        """Those that a demo has now."""
        is_there = demo.instance.marker.exists()
        recorded = tuple(demo.instance.recorded_processes().values()) if is_there else ()
        namespaces = set[str]().union(*(namespaces_of(process.pid) for process in recorded))
        own = namespaces - namespaces_of(os.getpid())
        inside = [Process.of(pid) for pid in pids() if namespaces_of(pid) & own]
        directories = [demo.instance.run]
        if is_there:
            directories.append(Path(demo.instance.settings().store))
        return cls((*recorded, *(each for each in inside if each)), frozenset(own), tuple(directories))

    def remaining(self) -> list[str]:
        """A phrase for each that is still there."""
        left = [f"process {each.pid}" for each in set(self.processes) if each.is_alive()]
        left += [f"process {pid} in its namespaces" for pid in pids() if namespaces_of(pid) & self.namespaces]
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for directory in self.directories:
            left += [f"mount {mount}" for mount in mounts if Path(mount).is_relative_to(directory)]
            if directory.exists():
                left.append(f"directory {directory}")
        return left
