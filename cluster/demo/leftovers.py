"""What a demo has made of the machine, and whether any of it is still there."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..processes import Process
from .service import Demo

KINDS = ("mnt", "pid", "net", "uts", "ipc")


def namespaces_of(pid: int) -> set[str]:
    """The namespaces of a process, such as `net:[4026532177]`; empty if gone or not ours to see."""
    try:
        return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()


@dataclass(frozen=True)
class Traces:
    """Processes, namespaces and places of one demo, noted while it runs."""

    processes: tuple[Process, ...]
    namespaces: frozenset[str]
    places: tuple[Path, ...]

    @classmethod
    def of(cls, demo: Demo) -> "Traces":
        """Those of a demo as it is now."""
        known = demo.instance.recorded_processes() if demo.instance.marker.exists() else {}
        namespaces: set[str] = set()
        for process in known.values():
            namespaces |= namespaces_of(process.pid)
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        own = namespaces - namespaces_of(os.getpid())
        inside = [Process.of(pid) for pid in pids if namespaces_of(pid) & own]
        places = [demo.instance.run]
        if demo.instance.marker.exists():
            places.append(Path(demo.instance.settings().store))
        return cls((*known.values(), *(each for each in inside if each)), frozenset(own), tuple(places))

    def remaining(self) -> list[str]:
        """A phrase for each thing that is still there."""
        left = [f"process {each.pid}" for each in set(self.processes) if each.is_alive()]
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        left += [f"process {pid} in its namespaces" for pid in pids if namespaces_of(pid) & self.namespaces]
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for place in self.places:
            left += [
                f"mount {mount}" for mount in mounts if mount == str(place) or mount.startswith(f"{place}/")
            ]
            if place.exists():
                left.append(f"directory {place}")
        return left
