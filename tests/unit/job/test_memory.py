"""What a job uses of its node's memory, read from made control groups and made processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flatirons.job.node import memory
from flatirons.job.node.memory import JobMemory, granted_mib, job_group, used_by_group, used_by_process

MIB = 2**20
V1 = "/slurm_c1/uid_1000/job_17/step_batch/task_0"
V2 = "/system.slice/slurmstepd.scope/job_17/step_batch/user/task_0"


class Node:
    """A /proc and a /sys/fs/cgroup, made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounts = [f"22 1 0:21 / {folder}/tmpfs rw,nosuid shared:1 - tmpfs tmpfs rw"]
        self.groups = ["5:freezer:/slurm_c1/uid_1000/job_17/step_batch"]
        (folder / "proc/self").mkdir(parents=True)

    def version_1(self, path: str = V1, root: str = "/") -> Path:
        """A hierarchy of version 1, of which the mount shows what is below `root`; the group of the job."""
        self.groups.append(f"4:cpuacct,memory:{path}")
        self.mounts.append(
            f"30 22 0:32 {root} {self.folder}/memory rw,relatime - cgroup cgroup rw,cpuacct,memory"
        )
        return self._made(self.folder / "memory", path.removeprefix(root.rstrip("/")))

    def version_2(self, path: str = V2) -> Path:
        """The hierarchy of version 2; the group of the job."""
        self.groups.append(f"0::{path}")
        self.mounts.append(f"31 22 0:27 / {self.folder}/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate")
        return self._made(self.folder / "unified", path)

    def _made(self, mount: Path, path: str) -> Path:
        group = mount / path.partition("/step_")[0].lstrip("/")
        (mount / path.lstrip("/")).mkdir(parents=True)
        return group

    @property
    def proc(self) -> str:
        (self.folder / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in self.groups))
        (self.folder / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in self.mounts))
        return str(self.folder / "proc")

    def process(self, pid: int, **files: str) -> None:
        folder = self.folder / f"proc/{pid}"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def fill_version_1(group: Path) -> None:
    (group / "memory.usage_in_bytes").write_text(f"{900 * MIB}\n")
    stat = f"cache 1\ninactive_file 5\ntotal_inactive_file {500 * MIB}\ntotal_active_file {100 * MIB}\n"
    (group / "memory.stat").write_text(f"{stat}total_shmem {50 * MIB}\n")


def fill_version_2(group: Path) -> None:
    (group / "memory.current").write_text(f"{900 * MIB}\n")
    stat = f"anon 1\ninactive_file {500 * MIB}\nactive_file {50 * MIB}\nslab_reclaimable {40 * MIB}\n"
    (group / "memory.stat").write_text(f"{stat}shmem {50 * MIB}\n")


def test_the_group_of_the_whole_job_is_read_in_version_1_without_cached_files(node: Node) -> None:
    fill_version_1(node.version_1())
    assert JobMemory("17", node.proc).used_mib() == 300


def test_the_group_of_the_whole_job_is_read_in_version_2_without_cached_files(node: Node) -> None:
    fill_version_2(node.version_2())
    assert JobMemory("17", node.proc).used_mib() == 310


def test_with_both_versions_mounted_the_one_that_accounts_for_memory_is_read(node: Node) -> None:
    node.version_2()  # without the controller: it has no files for memory
    fill_version_1(node.version_1())
    assert JobMemory("17", node.proc).used_mib() == 300


def test_a_mount_that_shows_only_a_part_of_the_hierarchy_is_read(node: Node) -> None:
    fill_version_1(node.version_1("/nodes/c1" + V1, root="/nodes/c1"))
    assert JobMemory("17", node.proc).used_mib() == 300


@pytest.mark.parametrize("path", ["/", "/user.slice", "/slurm/uid_1000/job_170/step_0", "/slurm/job_1/job_7"])
def test_a_group_that_is_not_the_jobs_is_not_read(node: Node, path: str) -> None:
    fill_version_1(node.version_1(path))
    assert job_group("17", node.proc) == ""


@pytest.mark.parametrize(
    ("used", "stat"),
    [("", "total_inactive_file 1"), ("max", ""), ("7", "odd"), ("7", "a b c"), ("7", "total_active_file x")],
)
def test_a_group_whose_files_say_something_else_is_as_good_as_none(
    node: Node, tmp_path: Path, used: str, stat: str
) -> None:
    group = node.version_1()
    (group / "memory.usage_in_bytes").write_text(used)
    (group / "memory.stat").write_text(stat)
    assert used_by_group(str(group)) is None and job_group("17", node.proc) == ""


def test_a_group_with_more_cache_than_use_uses_nothing(node: Node) -> None:
    """The kernel counts both on each core, and adds them up now and then."""
    group = node.version_2()
    fill_version_2(group)
    (group / "memory.current").write_text("4096")
    assert used_by_group(str(group)) == 0


def test_a_process_uses_its_share_of_shared_pages_and_no_files(node: Node) -> None:
    sizes = "Rss: 900 kB\nPss: 700 kB\nPss_Anon: 500 kB\nPss_File: 100 kB\nPss_Shmem: 100 kB\n"
    node.process(7, smaps_rollup=f"00400000-7ffe ---p 00000000 00:00 0    [rollup]\n{sizes}", statm="9 9 9")
    assert used_by_process(7, node.proc) == 600 * 1024


def test_on_an_older_kernel_a_process_uses_its_pages_that_are_not_of_files(node: Node) -> None:
    node.process(7, smaps_rollup="[rollup]\nRss: 900 kB\nPss: 700 kB\n", statm="900 300 100 1 0 20 0\n")
    node.process(8, statm="900 300 100 1 0 20 0\n")
    assert used_by_process(7, node.proc) == used_by_process(8, node.proc) == 200 * os.sysconf("SC_PAGE_SIZE")


def test_a_process_that_has_ended_uses_nothing(node: Node) -> None:
    assert used_by_process(7, node.proc) == 0


def test_without_a_group_the_processes_of_the_job_are_added_up(tmp_path: Path) -> None:
    holds = "x = bytearray(60 << 20); print(flush=True); input()"
    without = JobMemory("17", str(tmp_path))
    before = without.used_mib()
    with subprocess.Popen(
        [sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout and child.stdout.readline()
        during = without.used_mib()
        child.communicate(b"\n")
    assert before > 0 and 60 <= during - before < 160


def test_a_group_that_counts_nothing_is_replaced_by_the_processes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 without use_hierarchy: the processes are in groups below, and count only there."""
    group = node.version_1()
    (group / "memory.usage_in_bytes").write_text("0")
    (group / "memory.stat").write_text("")
    monkeypatch.setattr(memory, "used_by_process", lambda pid: 5 * MIB)
    assert JobMemory("17", node.proc).used_mib() >= 5


@pytest.mark.parametrize(
    ("variables", "granted"),
    [
        ({"SLURM_MEM_PER_NODE": "4000", "SLURM_CPUS_ON_NODE": "2"}, 4000),
        ({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "2"}, 2000),
        ({"SLURM_MEM_PER_CPU": "1000"}, 0),
        ({"SLURM_MEM_PER_NODE": "0"}, 0),
        ({"SLURM_MEM_PER_NODE": "UNLIMITED"}, 0),
        ({}, 0),
    ],
)
def test_what_the_job_was_given_is_known_from_slurms_variables(
    variables: dict[str, str], granted: int
) -> None:
    assert granted_mib(variables) == granted
