"""Breaks single parts of a running cluster and mends them, to test how the hub reacts."""

import signal
from collections.abc import Iterator

from . import network, node, node_faults
from .errors import ClusterError
from .processes import wait_until
from .state import Instance, Settings

FAULTS = ("kill", "stop", "cont", "start", "cut", "mend", *node_faults.COMMAND_FAULTS, "fill")
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


def _daemons(instance: Instance, settings: Settings) -> Iterator[tuple[str, str]]:
    """(node, daemon) of every daemon of every running node."""
    for each in settings.site.nodes:
        if node.recorded(instance, each.name):
            for name, state in node.send_request(instance, each.name, {"do": "status"}).items():
                if not state["once"]:
                    yield each.name, name


def find_daemon(known: list[tuple[str, str]], target: str) -> tuple[str, str]:
    """(node, daemon) of a target such as `slurmdbd`, `slurmd@shas0101`, `slurmctld@blanca`.

    `slurmctld` alone means summit's. ClusterError if the target names no daemon or several.
    """
    name, _, where = target.partition("@")
    fits = [
        (at, daemon)
        for at, daemon in known
        if daemon == target or (daemon.partition("@")[0] == name and where in ("", at))
    ]
    if not where and len(fits) > 1:
        fits = [each for each in fits if each[1] == f"{name}@summit"] or fits
    if len(fits) == 1:
        return fits[0]
    named = ", ".join(daemon if "@" in daemon else f"{daemon}@{at}" for at, daemon in fits or known)
    raise ClusterError(f"{target!r} names {'several' if fits else 'no'} daemons; there are {named}")


def _start_node(instance: Instance, settings: Settings, name: str) -> None:
    """Starts a node that was killed; it still has the files that it had written."""
    if node.recorded(instance, name):
        raise ClusterError(f"the node {name} is already running")
    pid = node.start(instance, settings, name)
    network.connect(instance.network, {name: pid})
    own = instance.node(name)

    def is_up() -> bool:
        if node.recorded(instance, name) is None:
            raise ClusterError(f"{name} did not start: {node.last_line(own / 'console')}")
        return (own / "shared" / "control").exists()

    wait_until(is_up, f"starting {name}", 20)


def _signal_node(instance: Instance, name: str, what: str) -> None:
    """Kills a node, or stops or continues all its processes."""
    if what == "kill":
        node.end(instance, name)
        return
    inner = node.recorded(instance, name)
    if inner is None:
        raise ClusterError(f"the node {name} is not running")
    node.signal_all(inner, SIGNALS[what])


def _on_node(instance: Instance, settings: Settings, what: str, name: str) -> None:
    if what in ("cut", "mend"):
        network.set_link(instance.network, name, is_up=what == "mend")
    elif what == "start":
        _start_node(instance, settings, name)
    else:
        _signal_node(instance, name, what)


def _on_daemon(instance: Instance, settings: Settings, what: str, target: str) -> None:
    where, name = find_daemon(list(_daemons(instance, settings)), target)
    if what in ("cut", "mend"):
        raise ClusterError(f"{what} applies to a node, not to the daemon {name}")
    request = {"do": "start"} if what == "start" else {"do": "signal", "signal": int(SIGNALS[what])}
    node.send_request(instance, where, {**request, "daemon": name})
    if what in ("kill", "start"):
        wait_until(
            lambda: (
                bool(node.send_request(instance, where, {"do": "status"})[name]["pid"]) == (what == "start")
            ),
            f"{what} {name} on {where}",
            20,
        )


def _init_pid(instance: Instance, name: str) -> int:
    """The pid of a running node's init; ClusterError if the node isn't running."""
    inner = node.recorded(instance, name)
    if inner is None:
        raise ClusterError(f"there is no running node {name}")
    return inner.pid


def _between(instance: Instance, settings: Settings, what: str, target: str) -> None:
    """Cuts or mends the connection between two nodes, NODE:NODE; both still reach all others."""
    if what not in ("cut", "mend"):
        raise ClusterError(f"{what} doesn't apply to a connection between two nodes, only cut and mend do")
    ends = [settings.site.node(name) for name in target.split(":")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise ClusterError(f"{target!r} is not of the form NODE:NODE")
    one, other = ends
    addresses = {_init_pid(instance, one.name): other.address, _init_pid(instance, other.name): one.address}
    network.set_connection(addresses, is_cut=what == "cut")


def _in_node(instance: Instance, settings: Settings, what: str, target: str) -> None:
    """Breaks or mends a command or a disk of a node."""
    broken, where = node_faults.parse(target)
    enter = node.enter_argv(_init_pid(instance, where), "root", "/root")
    if what == "mend":
        node_faults.mend_target(enter, broken)
    else:
        node_faults.break_target(enter, what, broken)


def apply(instance: Instance, what: str, target: str) -> None:
    """Applies one of FAULTS to a node, a daemon, the connection between two nodes, a command or a disk.

    Returns when it is in effect.
    """
    with instance.lock():
        settings = instance.settings()
        if settings.site.node(target):
            act = _on_node
        elif ":" in target:
            act = _between
        elif what in (*node_faults.COMMAND_FAULTS, "fill", "mend"):
            act = _in_node
        else:
            act = _on_daemon
        act(instance, settings, what, target)
