"""Finds a free port of the node, and checks that it is our server that listens on it."""

import os
import socket
from typing import Dict, List, Optional, Set  # the node's Python may be 3.6

from flatirons.job.node.kinds import PORTS_IN_USE, CannotRun


def own_address() -> str:
    """The address at which the hub finds this node; 0.0.0.0 where the node's name has no such address."""
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return "0.0.0.0"
    return "0.0.0.0" if address.startswith("127.") else address


def free_port(address: str, ports: Optional[List[int]], taken: Set[int]) -> int:
    """A port on which nothing listens now; `ports` is [first, last], None for any.

    Raises CannotRun when all of them are in use.
    """
    if not ports:
        with socket.socket() as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    candidates = [port for port in range(ports[0], ports[1] + 1) if port not in taken]
    first = int.from_bytes(os.urandom(4), "big") % max(len(candidates), 1)
    for port in candidates[first:] + candidates[:first]:  # two starters begin with different ports
        if is_free(address, port):
            return port
    text = "No port between {} and {} is free on this node.".format(*ports)
    raise CannotRun(PORTS_IN_USE, text, first=ports[0], last=ports[1])


def is_free(address: str, port: int) -> bool:
    """Whether the port can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def listeners(port: int) -> Dict[str, int]:
    """{"socket:[inode]": uid} of the sockets that listen on this TCP port. Source: proc_net(5)."""
    found: Dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as lines:
                rows = [line.split() for line in list(lines)[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port:
                found[f"socket:[{row[9]}]"] = int(row[7])
    return found


def descendants(root: int) -> Set[int]:
    """The process ids of `root` and of all its descendants."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # the process has just ended
    family = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        if not more:
            return family
        family |= more


def is_answered(address: str, port: int) -> bool:
    """Whether anything listens there. This is cheap, so it may be called often."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def listens(pid: int, port: int) -> bool:
    """Whether process `pid` or one of its descendants listens on the port, rather than a stranger's."""
    sockets = listeners(port)
    if not sockets:
        return False
    hidden = False
    for member in descendants(pid):
        folder = f"/proc/{member}/fd"
        try:
            for name in os.listdir(folder):
                try:
                    if os.readlink(os.path.join(folder, name)) in sockets:
                        return True
                except FileNotFoundError:
                    continue
        except FileNotFoundError:
            continue
        except PermissionError:
            hidden = True
    return hidden and os.getuid() in sockets.values()
