"""Finds a free port of the node, keeps it for our server, and checks that it is ours that listens on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flatirons.job.node.http import look_up
from flatirons.job.node.interpreter import socket
from flatirons.job.node.kinds import PORTS_IN_USE, CannotRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LISTENS = b"0A"  # TCP_LISTEN, in include/net/tcp_states.h
LENGTH_OF_ROWS = 512  # bytes to read at a time: some rows


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


def addresses_of(name: str) -> list[str]:
    """The addresses of a name as this node looks it up, IPv4 first."""
    try:
        found = {str(entry[4][0]) for entry in look_up(name, None)}
    except (OSError, UnicodeError):
        return []
    return sorted(found, key=lambda address: (":" in address, address))


def is_own(address: str) -> bool:
    """Whether this node has the address."""
    probe = socket_for(address)
    try:
        probe.bind((address, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def free_port(address: str, ports: list[int] | None, taken: set[int]) -> int:
    """A port on which nothing listens now; `ports` is [first, last], None for any.

    Raises CannotRun when all of them are in use.
    """
    if not ports:
        probe = socket_for(address)
        try:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
        finally:
            probe.close()
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


def hold(address: str, port: int) -> socket.socket | None:
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


def listening(port: int) -> Iterator[tuple[str, int]]:
    """("socket:[inode]", uid) of each socket that listens on this TCP port. Source: proc_net(5).

    Read them no further than needed: the kernel lists the listening sockets first, and takes some
    milliseconds of CPU to look for the others.
    """
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb", LENGTH_OF_ROWS) as rows:
                next(rows, b"")
                for row in map(bytes.split, rows):
                    if row[3] != LISTENS:
                        break
                    if int(row[1].rsplit(b":", 1)[1], 16) == port:
                        yield f"socket:[{row[9].decode()}]", int(row[7])
        except OSError:
            continue


def family(root: int) -> Iterator[int]:
    """The process ids of `root`, and then of all its descendants."""
    yield root  # the server itself, if no container's programs are around it
    parents = parents_of_all()
    known = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in known} - known
        if not more:
            return
        yield from more
        known |= more


def parents_of_all() -> dict[int, int]:
    """{process id: that of its parent}."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:  # a program's name may hold any bytes
                    parents[int(name)] = int(stat.read().rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # the process has just ended
    return parents


def is_answered(address: str, port: int) -> bool:
    """Whether anything listens there. This is cheap, so it may be called often."""
    probe = socket_for(address)
    try:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
    finally:
        probe.close()


def listens(pid: int, port: int) -> bool:
    """Whether process `pid` or one of its descendants listens on the port, rather than a stranger's."""
    members = family(pid)
    own = files_of(next(members))
    seen = {}
    for name, uid in listening(port):
        if own and name in own:
            return True
        seen[name] = uid
    if not seen:
        return False
    files = [own, *map(files_of, members)]
    if any(name in each for each in files if each is not None for name in seen):
        return True
    return None in files and os.getuid() in seen.values()


def files_of(pid: int) -> set[str] | None:
    """What a process has open, such as "socket:[inode]"; None if it is hidden from us."""
    found = set()
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            try:
                found.add(os.readlink(os.path.join(folder, name)))
            except FileNotFoundError:
                continue
    except FileNotFoundError:  # the process has just ended
        pass
    except PermissionError:
        return None
    return found
