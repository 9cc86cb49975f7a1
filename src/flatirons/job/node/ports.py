"""Finds a free port of the node, keeps it for our server, and checks that it is ours that listens on it."""

import os
import socket
from typing import Dict, List, Optional, Sequence, Set  # the node's Python may be 3.6

from flatirons.job.node.kinds import PORTS_IN_USE, CannotRun


def socket_for(address: str) -> socket.socket:
    """A TCP socket for addresses of this kind, IPv4 or IPv6."""
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)


def own_address(known: Sequence[str] = ()) -> str:
    """The address at which the hub finds this node; 0.0.0.0, or :: for IPv6, where it has no such address.

    `known` are the addresses that the node has at the hub, none from a hub of an older version.
    """
    for address in known or addresses_of(os.environ.get("SLURMD_NODENAME") or socket.gethostname()):
        if not address.startswith("127.") and address != "::1" and is_own(address):
            return address
    return "::" if known and all(":" in address for address in known) else "0.0.0.0"


def addresses_of(name: str) -> List[str]:
    """The addresses of a name as this node looks it up, IPv4 first."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, 0, socket.SOCK_STREAM)}
    except OSError:
        return []
    return sorted(found, key=lambda address: (":" in address, address))


def is_own(address: str) -> bool:
    """Whether this node has the address."""
    try:
        with socket_for(address) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def free_port(address: str, ports: Optional[List[int]], taken: Set[int]) -> int:
    """A port on which nothing listens now; `ports` is [first, last], None for any.

    Raises CannotRun when all of them are in use.
    """
    if not ports:
        with socket_for(address) as probe:
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
    held = hold(address, port)
    if held is None:
        return False
    held.close()
    return True


def hold(address: str, port: int) -> Optional[socket.socket]:
    """A socket that is bound to the port, beside the server's own; None when somebody else has the port.

    Linux lets two sockets have one port if both set SO_REUSEADDR, as servers do, and at most one listens.
    """
    held = socket_for(address)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((address, port))
    except OSError:
        held.close()
        return None
    return held


def lock(held: socket.socket) -> None:
    """From now on, nobody can listen on the held port: neither now, nor after the end of our server.

    The port stays ours until this process ends. In that time another user on the node can't take it, and with
    it the requests that the proxy still sends. A bind that finds a socket without SO_REUSEADDR fails.
    """
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


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
    with socket_for(address) as probe:
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
