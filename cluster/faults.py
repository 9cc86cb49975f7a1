"""Breaks single parts of a running cluster and mends them, for tests of what the hub does then."""

import signal
from collections.abc import Iterator

from . import network, node, spoil
from .errors import ClusterError
from .processes import wait_until
from .state import Instance, Settings

FAULTS = ("kill", "stop", "cont", "start", "cut", "mend", *spoil.WAYS, "fill")
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


def _daemons(instance: Instance, settings: Settings) -> Iterator[tuple[str, str]]:
    """(node, daemon) of every daemon of every running node."""
    for each in settings.site.nodes:
        if node.recorded(instance, each.name):
            for name, state in node.ask(instance, each.name, {"do": "status"}).items():
                if not state["once"]:
                    yield each.name, name


def find_daemon(known: list[tuple[str, str]], target: str) -> tuple[str, str]:
    """(node, daemon) that `target` names: `slurmdbd`, `slurmd@shas0101`, `slurmctld@blanca`.

    `slurmctld` alone is summit's. ClusterError if it names none or several.
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
    """Switches a node on that was killed; what it had written is still there."""
    if node.recorded(instance, name):
        raise ClusterError(f"the node {name} is already running")
    pid = node.start(instance, settings, name)
    network.plug(instance.network, {name: pid})
    own = instance.node(name)

    def is_up() -> bool:
        if node.recorded(instance, name) is None:
            raise ClusterError(f"{name} did not start: {node.last_line(own / 'console')}")
        return (own / "shared" / "control").exists()

    wait_until(is_up, f"starting {name}", 20)


def _signal_node(instance: Instance, name: str, what: str) -> None:
    """Kills a node at once, or freezes or thaws all that runs in it."""
    if what == "kill":
        node.end(instance, name)
        return
    inner = node.recorded(instance, name)
    if inner is None:
        raise ClusterError(f"the node {name} is not running")
    node.signal_all(inner, SIGNALS[what])


def _on_node(instance: Instance, settings: Settings, what: str, name: str) -> None:
    if what in ("cut", "mend"):
        network.switch(instance.network, name, is_up=what == "mend")
    elif what == "start":
        _start_node(instance, settings, name)
    else:
        _signal_node(instance, name, what)


def _on_daemon(instance: Instance, settings: Settings, what: str, target: str) -> None:
    where, name = find_daemon(list(_daemons(instance, settings)), target)
    if what in ("cut", "mend"):
        raise ClusterError(f"only a node can be {what}, not the daemon {name}")
    request = {"do": "start"} if what == "start" else {"do": "signal", "signal": int(SIGNALS[what])}
    node.ask(instance, where, {**request, "daemon": name})
    if what in ("kill", "start"):
        wait_until(
            lambda: bool(node.ask(instance, where, {"do": "status"})[name]["pid"]) == (what == "start"),
            f"{what} {name} on {where}",
            20,
        )


def _running(instance: Instance, name: str) -> int:
    """The pid of a running node's init; ClusterError when there is none."""
    inner = node.recorded(instance, name)
    if inner is None:
        raise ClusterError(f"there is no running node {name}")
    return inner.pid


def _between(instance: Instance, settings: Settings, what: str, target: str) -> None:
    """Cuts or mends the way between two nodes, NODE:NODE; both reach all others."""
    if what not in ("cut", "mend"):
        raise ClusterError(f"the way between two nodes can be cut and mended, not {what}")
    ends = [settings.site.node(name) for name in target.split(":")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise ClusterError(f"{target!r} is not of the form NODE:NODE")
    one, other = ends
    ways = {_running(instance, one.name): other.address, _running(instance, other.name): one.address}
    network.part(ways, is_parted=what == "cut")


def _in_node(instance: Instance, settings: Settings, what: str, target: str) -> None:
    """Spoils or mends a command or a disk of a node."""
    thing, where = spoil.parse(target)
    enter = node.enter_argv(_running(instance, where), "root", "/root")
    if what == "mend":
        spoil.unspoil(enter, thing)
    else:
        spoil.spoil(enter, what, thing)


def do(instance: Instance, what: str, target: str) -> None:
    """Does one of FAULTS to a node, a daemon, the way between two nodes, a command or a disk.

    Returns when it has happened.
    """
    with instance.lock():
        settings = instance.settings()
        if settings.site.node(target):
            act = _on_node
        elif ":" in target:
            act = _between
        elif what in (*spoil.WAYS, "fill", "mend"):
            act = _in_node
        else:
            act = _on_daemon
        act(instance, settings, what, target)
