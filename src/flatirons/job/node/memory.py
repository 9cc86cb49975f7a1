"""How much memory a job uses on this node.

The job's control group knows it, where Slurm makes one that accounts for memory (TaskPlugin=task/cgroup with
ConstrainRAMSpace, or jobacct_gather/cgroup). Elsewhere it is the sum of the job's processes. Files that are
only cached don't count: the kernel drops them before it kills anything. Source: cgroups-v1/memory and
cgroup-v2 in the kernel's documentation, proc_pid_smaps(5).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flatirons.job.node.ports import family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUP_FILES = {
    "memory.current": ("inactive_file", "active_file", "slab_reclaimable"),
    "memory.usage_in_bytes": ("total_inactive_file", "total_active_file"),
}
"""Of version 2 and of version 1: the file with the bytes in use, and what of memory.stat can be dropped."""

OWN_PAGES = ("Pss_Anon", "Pss_Shmem")
"""What a process has besides files, its share of what several processes have; since Linux 5.4."""


def job_group(job_id: str, proc: str = "/proc") -> str:
    """The directory of the job's control group for memory, "" if there is none that can be read."""
    try:
        with open(os.path.join(proc, "self/cgroup"), errors="replace") as lines:
            groups = [line.rstrip("\n").split(":", 2) for line in lines]
        with open(os.path.join(proc, "self/mountinfo"), errors="replace") as lines:
            mounts = [line.split() for line in lines if " - cgroup" in line]
    except OSError:
        return ""
    for _, controllers, path in groups:
        above, found, _ = (path + "/").partition("/job_" + job_id + "/")
        if found and ("memory" in controllers.split(",") or not controllers):
            for place in places_of(above + found.rstrip("/"), not controllers, mounts):
                if used_by_group(place) is not None:
                    return place
    return ""


def places_of(path: str, is_version_2: bool, mounts: list[list[str]]) -> Iterator[str]:
    """The directories where this group is mounted; a mount may show a part of the hierarchy only."""
    for fields in mounts:
        root, place, (kind, _, options) = fields[3], fields[4], fields[-3:]
        if kind == "cgroup2" if is_version_2 else kind == "cgroup" and "memory" in options.split(","):
            below = root.rstrip("/") + "/"
            yield place + "/" + (path[len(below) :] if path.startswith(below) else path.lstrip("/"))


def used_by_group(place: str) -> int | None:
    """The bytes that the group uses, None if it doesn't say."""
    for name, droppable in GROUP_FILES.items():
        try:
            with open(os.path.join(place, name)) as file:
                used = int(file.read())
            with open(os.path.join(place, "memory.stat")) as lines:
                counts = dict(line.split() for line in lines)
            return max(used - sum(int(counts.get(each, 0)) for each in droppable), 0)
        except (OSError, ValueError):
            continue
    return None


def used_by_process(pid: int, proc: str = "/proc") -> int:
    """The bytes that a process uses; 0 if it has ended."""
    folder = os.path.join(proc, str(pid))
    try:
        with open(os.path.join(folder, "smaps_rollup")) as lines:
            sizes = dict(line.split()[:2] for line in lines if line.endswith(" kB\n"))
        return 1024 * sum(int(sizes[each + ":"]) for each in OWN_PAGES)
    except (OSError, LookupError, ValueError):
        pass  # an older kernel, or a process that we may not look into
    try:
        with open(os.path.join(folder, "statm")) as file:
            resident, shared = file.read().split()[1:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def granted_mib(environ: Mapping[str, str]) -> int:
    """The memory that the job has on this node by Slurm's variables, in MiB; 0 where they don't say."""
    try:
        per_cpu = int(environ.get("SLURM_MEM_PER_CPU", 0)) * int(environ.get("SLURM_CPUS_ON_NODE", 0))
        return int(environ.get("SLURM_MEM_PER_NODE", 0)) or per_cpu
    except ValueError:
        return 0


class JobMemory:
    """The memory of the job that this process belongs to."""

    def __init__(self, job_id: str, proc: str = "/proc") -> None:
        self.group = job_group(job_id, proc)

    def used_mib(self) -> int:
        """What the job uses at this moment, in MiB."""
        used = used_by_group(self.group) if self.group else None
        if not used:  # a group that isn't hierarchical counts nothing itself
            used = sum(used_by_process(pid) for pid in family(os.getpid()))
        return used // 2**20
