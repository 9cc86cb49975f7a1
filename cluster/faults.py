"""Breaks single parts of a running cluster and mends them, for tests of what the hub does then."""

import signal
from collections.abc import Iterator

from . import network, node
from .errors import ClusterError
from .processes import wait_until
from .state import Instance, Settings

FAULTS = ("kill", "stop", "cont", "start", "cut", "mend")
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
    control = instance.node(name) / "shared" / "control"
    wait_until(control.exists, f"starting {name}", 20)


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


def do(instance: Instance, what: str, target: str) -> None:
    """Does one of FAULTS to a node or a daemon and returns when it has happened."""
    with instance.lock():
        settings = instance.settings()
        act = _on_node if settings.site.node(target) else _on_daemon
        act(instance, settings, what, target)
