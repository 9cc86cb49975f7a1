"""The control groups of the nodes: each compute node has its own, in which Slurm enforces limits of jobs.

It needs the version 1 hierarchies, writable for root. On a machine without them (most have version 2 alone)
Slurm checks the memory of jobs every two seconds, and enforces neither cores nor GPUs.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("cpuset", "cpuacct", "memory", "devices", "freezer")  # what Slurm's plugins use


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: its mount options, and the directory of this process in it."""

    options: str
    directory: Path


def own_hierarchies(mountinfo: str, membership: str) -> dict[str, Hierarchy]:
    """Controller -> its version 1 hierarchy, by the texts of /proc/self/mountinfo and /proc/self/cgroup."""
    paths = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        mounted, _, file_system = line.partition(" - ")
        root, place = mounted.split()[3:5]
        kind, _, options = file_system.split()[:3]
        for controller in set(CONTROLLERS) & set(options.split(",")) if kind == "cgroup" else ():
            path = Path(place) / os.path.relpath(paths.get(controller, root), root)
            joined = ",".join(word for word in options.split(",") if word in paths)
            found.setdefault(controller, Hierarchy(joined, path))
    return found


def find_obstacle(hierarchies: dict[str, Hierarchy], tree: Path) -> str:
    """Why the nodes of this tree can't have control groups here, as the end of a sentence; "" if they can."""
    if not any(tree.glob("usr/lib/*/slurm*/cgroup_v1.so")):
        return "its Slurm has no plugin for version 1 control groups"
    missing = [name for name in CONTROLLERS if name not in hierarchies]
    if missing:
        return f"this machine has no version 1 control groups for {', '.join(missing)}"
    closed = [name for name in CONTROLLERS if not os.access(hierarchies[name].directory, os.W_OK)]
    return f"the control groups for {', '.join(closed)} are read-only" if closed else ""


def hierarchies_here() -> dict[str, Hierarchy]:
    """The hierarchies of this process."""
    return own_hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def create(name: str, record: Path) -> list[list[str]]:
    """Makes a group in each hierarchy; returns [controller, mount options, directory] of each.

    `record` keeps the list, so that `remove` finds the groups from any process.
    """
    made = [
        [controller, each.options, str(each.directory / name)]
        for controller, each in hierarchies_here().items()
    ]
    record.write_text(json.dumps(made))
    for _, _, directory in made:
        Path(directory).mkdir(exist_ok=True)
        # A new group has no cores and no memory nodes, and can't have processes then.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (Path(directory) / setting).exists():
                (Path(directory) / setting).write_text((Path(directory).parent / setting).read_text())
    return made


def _directories(record: Path) -> list[str]:
    return [directory for _, _, directory in json.loads(record.read_text())] if record.exists() else []


def empty(record: Path) -> None:
    """Removes the groups that a node's Slurm made in the node's own; its processes must have ended."""
    for own in _directories(record):
        for path, _, _ in os.walk(own, topdown=False):
            if path != own:
                os.rmdir(path)


def remove(record: Path) -> None:
    """Removes the groups of a node whose processes have ended."""
    empty(record)
    for own in _directories(record):
        os.rmdir(own)
