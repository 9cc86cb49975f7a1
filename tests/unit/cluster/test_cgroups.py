"""Where the control groups of nodes are made, by what the kernel says of this process."""

from pathlib import Path

import pytest

from cluster import cgroups

MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 /box /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices ro,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
MEMBERSHIP = """\
9:name=systemd:/
6:freezer:/
5:devices:/
4:memory:/box/session
3:cpuset:/
2:cpu,cpuacct:/user.slice
0::/
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose Slurm has the plugin."""
    plugin = tmp_path / "usr/lib/x86_64-linux-gnu/slurm-wlm/cgroup_v1.so"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    return tmp_path


def test_groups_are_made_below_the_one_of_this_process() -> None:
    found = cgroups.own_hierarchies(MOUNTS, MEMBERSHIP)
    assert {name: str(each.directory) for name, each in found.items()} == {
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/user.slice",
        "cpuset": "/sys/fs/cgroup/cpuset",
        "memory": "/sys/fs/cgroup/memory/session",
        "devices": "/sys/fs/cgroup/devices",
        "freezer": "/sys/fs/cgroup/freezer",
    }
    assert found["cpuacct"].options == "cpu,cpuacct"


def test_a_machine_with_version_2_alone_is_told_so(tree: Path) -> None:
    mounts = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
    obstacle = cgroups.find_obstacle(cgroups.own_hierarchies(mounts, "0::/\n"), tree)
    assert obstacle.startswith("this machine has no version 1 control groups for cpuset, ")


def test_a_slurm_without_the_plugin_is_told_so(tmp_path: Path) -> None:
    hierarchies = cgroups.own_hierarchies(MOUNTS, MEMBERSHIP)
    assert "no plugin" in cgroups.find_obstacle(hierarchies, tmp_path)


def test_groups_that_slurm_made_go_with_the_nodes(tmp_path: Path) -> None:
    own = tmp_path / "node"
    (own / "slurm" / "job_1").mkdir(parents=True)
    record = tmp_path / "record"
    record.write_text(f'[["memory", "memory", "{own}"]]')
    cgroups.empty(record)
    assert list(own.iterdir()) == []
    cgroups.remove(record)
    assert not own.exists()
    cgroups.remove(tmp_path / "no such record")
