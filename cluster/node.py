"""One virtual node: its files, its start, requests to its init, commands in it, its end."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import cgroups
from .accounts import group_lines, limits_input, password_lines, sacctmgr_input
from .daemons import DIRECTORIES, daemon_plans
from .errors import ClusterError
from .layout import HUB_ACCOUNT, NETWORK, PREFIX, Node, Site
from .processes import Process, children, run, wait_until
from .slurmconf import CONFIGURATION, slurmdbd_conf
from .state import Instance, Settings
from .tree import account_ids

CGROUPS = "cgroups"
BOOT = Path(__file__).with_name("node_boot")
GPU_MAJOR = (
    120  # for local use: no driver has it, so a simulated GPU can only be named, and allowed or denied
)
SECONDS_TO_ANSWER = 60  # one that answers takes milliseconds, but the machine may be busy
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid"]


def _write(
    upper: Path, tree: Path, file: str, content: str | bytes, owner: str = "root", mode: int = 0o644
) -> None:
    """Writes a file into a node's own layer; its directories get the owner and mode they have in the tree."""
    target = upper
    for part in Path(file).parent.parts:
        target, below = target / part, tree / (target / part).relative_to(upper)
        if not target.exists():
            target.mkdir()
            like = below.stat() if below.exists() else target.stat()
            os.chown(target, like.st_uid, like.st_gid)
            target.chmod(like.st_mode & 0o7777)
    target = upper / file
    target.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.chown(target, *account_ids(tree, owner))
    target.chmod(mode)


def hosts(site: Site) -> str:
    """The text of /etc/hosts, with every node."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    return "\n".join(lines + [f"{node.address} {node.name}" for node in site.nodes]) + "\n"


def _fill_upper(upper: Path, settings: Settings, node: Node, munge_key: bytes) -> None:
    """Writes the files that differ from the tree on this node."""
    tree, site = Path(settings.tree), settings.site
    _write(upper, tree, "etc/hostname", f"{node.name}\n")
    _write(upper, tree, "etc/hosts", hosts(site))
    _write(upper, tree, "etc/group", (tree / "etc/group").read_text() + group_lines())
    _write(upper, tree, "etc/munge/munge.key", munge_key, "munge", 0o400)
    slurm = upper / CONFIGURATION.lstrip("/")
    if node == site.controller:
        _write(upper, tree, "etc/slurm/slurmdbd.conf", slurmdbd_conf(site), "slurm", 0o600)
    slurm.mkdir(exist_ok=True)
    # Without SLURM_CONF, commands use the node's own cluster; on the hub, the first one.
    (slurm / "slurm.conf").symlink_to(f"{node.cluster or site.clusters[0].name}/slurm.conf")


def _fill_shared(shared: Path, settings: Settings, node: Node) -> None:
    """Writes the files of the node's init: its program, its plan, the input of commands that run once."""
    site = settings.site
    (shared / "log").mkdir(parents=True)
    shutil.copyfile(BOOT / "init.py", shared / "init.py")
    directories = [[path, *account_ids(Path(settings.tree), owner)] for path, owner in DIRECTORIES.items()]
    plan = {
        "hostname": node.name,
        "address": f"{node.address}/{PREFIX}",
        "network": NETWORK,
        "directories": directories,
        "daemons": daemon_plans(site, node),
    }
    (shared / "init.json").write_text(json.dumps(plan))
    if node == site.controller:
        (shared / "sacctmgr").write_text(sacctmgr_input(site))
        (shared / "limits").write_text(limits_input())
    if node == site.hub:
        (shared / "passwords").touch(mode=0o600)
        (shared / "passwords").write_text(password_lines(site.people))


def store(settings: Settings, node: str) -> Path:
    """The directory for the files that a node writes."""
    return Path(settings.store) / "nodes" / node


def prepare(
    instance: Instance, settings: Settings, node: Node, munge_key: bytes, binds: list[list[Any]]
) -> None:
    """Creates the node's directories and files, before its first start."""
    own, place = instance.node(node.name), store(settings, node.name)
    for directory in (own / "root", own / "shared", own / "enter", place / "upper", place / "work"):
        directory.mkdir(parents=True)
    (own / "shared").chmod(0o700)
    _fill_upper(place / "upper", settings, node, munge_key)
    _fill_shared(own / "shared", settings, node)
    has_groups = settings.constrained and node.cluster
    groups = cgroups.create(f"flatirons.{instance.name}.{node.name}", own / CGROUPS) if has_groups else []
    plan = {
        "tree": settings.tree,
        "upper": str(place / "upper"),
        "work": str(place / "work"),
        "root": str(own / "root"),
        "shared": str(own / "shared"),
        "binds": binds,
        "devices": [[f"gpu{i}", GPU_MAJOR, i] for i in range(node.gpu_count)],
        "cgroups": groups,
    }
    (own / "plan.json").write_text(json.dumps(plan))


def new_munge_key() -> bytes:
    """A new secret for the nodes of one instance."""
    return secrets.token_bytes(128)


def start(instance: Instance, settings: Settings, name: str) -> int:
    """Starts a prepared node; returns the host's pid of its init, which then waits for its network link."""
    own = instance.node(name)
    for leftover in (own / "shared" / "control", own / "outer", own / "inner"):
        leftover.unlink(missing_ok=True)
    outer = _start_namespaces(own)
    _record(own / "outer", outer.pid, instance, name)
    wait_until(lambda: bool(children(outer.pid)) or outer.poll() is not None, f"starting {name}", 10, 0.001)
    if outer.poll() is not None:
        raise ClusterError(f"{name} did not start: {last_line(own / 'console')}")
    inner = children(outer.pid)[0]
    _record(own / "inner", inner, instance, name)
    for user, home in homes_of(settings.site).items():
        (own / "enter" / user).write_text("\0".join(enter_argv(inner, user, home)))
    return inner


def _start_namespaces(own: Path) -> "subprocess.Popen[bytes]":
    """The process that waits for a node's init, which starts in new namespaces."""
    flags = [*NAMESPACES, "--propagation", "private", "--fork", "--kill-child"]
    argv = [
        "unshare",
        *flags,
        sys.executable,
        "-I",
        "-S",
        str(BOOT / "file_system.py"),
        str(own / "plan.json"),
    ]
    with (own / "console").open("ab") as console:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )


def _record(file: Path, pid: int, instance: Instance, name: str) -> None:
    process = Process.of(pid)
    if process is None:
        raise ClusterError(f"{name} ended at once: {last_line(instance.node(name) / 'console')}")
    file.write_text(str(process))


def last_line(log: Path) -> str:
    """The last line of a log, or a text for a missing or empty log."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it wrote no log"


def homes_of(site: Site) -> dict[str, str]:
    """User -> home directory, for every account under which commands can run in a node."""
    people = {person.name: f"/home/{person.name}" for person in site.people}
    return {"root": "/root", **people, HUB_ACCOUNT.name: f"/var/lib/{HUB_ACCOUNT.name}"}


def enter_argv(pid: int, user: str, home: str) -> list[str]:
    """The words that go before a command to run it in the node as this user, in a clean log-in environment.

    If the entering process ends, the command gets SIGTERM.
    """
    enter = ["nsenter", "--target", str(pid), *NAMESPACES, "--"]
    become = [
        "setpriv",
        "--reuid",
        user,
        "--regid",
        user,
        "--init-groups",
        "--reset-env",
        "--pdeathsig",
        "TERM",
    ]
    return [*enter, *become, "env", "-C", home, "LANG=C.UTF-8"]


def send_request(instance: Instance, name: str, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The states of the node's daemons after its init handled the request; ClusterError if it can't."""
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(SECONDS_TO_ANSWER)
            control.connect(str(instance.node(name) / "shared" / "control"))
            control.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, dict[str, Any]] = json.loads(control.makefile().readline())
            return answer
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the node {name} does not answer: {last_line(instance.node(name) / 'console')}"
        ) from error


def recorded(instance: Instance, name: str, which: str = "inner") -> Process | None:
    """The node's init (or `outer`, the process that waits for it), or None if it isn't running."""
    try:
        process = Process.parse((instance.node(name) / which).read_text())
    except FileNotFoundError:
        return None
    return process if process.is_alive() else None


def end(instance: Instance, name: str) -> None:
    """Kills a node with all its processes; returns when they have ended. Its files stay."""
    for which in ("inner", "outer"):
        process = recorded(instance, name, which)
        if process:
            process.end()
    cgroups.empty(instance.node(name) / CGROUPS)


def signal_all(inner: Process, signum: int) -> None:
    """Sends a signal to every process in the node except its init."""
    run(
        ["nsenter", "--target", str(inner.pid), "--mount", "--pid", "--", "kill", f"-{signum}", "-1"],
        "sending a signal",
    )
