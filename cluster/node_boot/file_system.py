"""Mounts a node's file system in new namespaces, then becomes the node's init.

Run by the host's Python as process 1 of new mount, pid, uts, ipc and network namespaces, with the path of
a JSON file: tree, upper, work, root (an empty directory), binds [[source, target, writable]], shared
(the node's own directory on the host, seen inside as /run/flatirons), devices [[name, major, minor]], cgroups
[[controller, mount options, the node's own directory of it on the host]].
Every mount made here is private to the node and ends with its last process. Standard library only.
"""

import ctypes
import errno
import json
import os
import stat
import subprocess
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MNT_DETACH = 2
CLONE_NEWCGROUP = 0x02000000
DEVICES = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
           ("fuse", 10, 229)]  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Ends the node with a sentence if a system call failed."""
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mounts as mount(2); ends the node if that fails."""
    done = libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    check(done, f"mounting {source} on {target}")


def bind(source: str, target: str, writable: bool, root: str) -> None:
    """Mounts a file or directory of the host in the node; creates the target if needed.

    Ends the node if a link would lead the target out of the node's root.
    """
    if os.path.commonpath([os.path.realpath(target), root]) != root:
        sys.exit(f"{target.removeprefix(root)} can't be bound: a link leads out of the node")
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(source, target, "", MS_BIND)
    if not writable:
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def make_devices(dev: str, extra: list[list[Any]]) -> None:
    """Mounts a small /dev for the node; every user can open /dev/fuse, as rootless containers need it."""
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755")
    for name, major, minor in [*DEVICES, *extra]:
        os.mknod(f"{dev}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(f"{dev}/{name}", 0o666)
    for directory in ("pts", "shm", "mqueue"):
        os.mkdir(f"{dev}/{directory}")
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666,mode=620,gid=5")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("mqueue", f"{dev}/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                         ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):  # fmt: skip
        os.symlink(target, f"{dev}/{name}")


def enter_cgroups(cgroups: list[list[str]]) -> None:
    """Moves this process into the node's control groups, which then look like the roots to it."""
    for _, _, directory in cgroups:
        with open(f"{directory}/cgroup.procs", "w") as processes:
            processes.write("0")
    check(libc.unshare(CLONE_NEWCGROUP), "a namespace for control groups")


def mount_cgroups(cgroups: list[list[str]], target: str) -> None:
    """Mounts the node's own control groups, each in a directory named for its controller."""
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
    for controller, options, _ in cgroups:
        os.mkdir(f"{target}/{controller}")
        mount("cgroup", f"{target}/{controller}", "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)


def mount_overlay(plan: dict[str, Any], upper: str, work: str) -> bool:
    """Mounts the overlay; returns False if the file system of the upper layer doesn't support one."""
    layers = f"lowerdir={plan['tree']},upperdir={upper},workdir={work}".encode()
    if not libc.mount(b"overlay", plan["root"].encode(), b"overlay", ctypes.c_ulong(0), layers):
        return True
    if ctypes.get_errno() == errno.EINVAL and work == plan["work"]:
        return False
    check(1, f"mounting an overlay on {plan['root']}")
    return False


def make_root(plan: dict[str, Any]) -> None:
    """Mounts the node's root: the tree, the node's own layer above it, /proc, /sys, /dev, /run, the binds."""
    root = plan["root"]
    if not mount_overlay(plan, plan["upper"], plan["work"]):
        # The disk can't hold an upper layer (it is an overlay itself), so the layer is in memory.
        mount("tmpfs", plan["work"], "tmpfs", 0, "mode=755")
        subprocess.run(["cp", "-a", plan["upper"], plan["work"]], check=True)
        os.mkdir(f"{plan['work']}/work")
        mount_overlay(plan, f"{plan['work']}/upper", f"{plan['work']}/work")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    if plan["cgroups"]:
        mount_cgroups(plan["cgroups"], f"{root}/sys/fs/cgroup")
    make_devices(f"{root}/dev", plan["devices"])
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir(f"{root}/run/lock", 0o1777)
    bind(plan["shared"], f"{root}/run/flatirons", True, root)
    for source, target, writable in plan["binds"]:
        bind(source, root + target, writable, root)


def enter_root(root: str) -> None:
    """Makes `root` the root directory; the host's files can no longer be reached."""
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "leaving the host's file system")
    os.chroot(".")
    os.chdir("/")


def main() -> None:
    """Mounts the file system and executes init."""
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    os.umask(0o022)
    if plan["cgroups"]:
        enter_cgroups(plan["cgroups"])
    make_root(plan)
    enter_root(plan["root"])
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    argv = ["/usr/bin/python3", "-I", "-S", "/run/flatirons/init.py", "/run/flatirons/init.json"]
    os.execve(argv[0], argv, environment)


if __name__ == "__main__":
    main()
