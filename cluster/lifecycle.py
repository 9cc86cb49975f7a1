"""`up` and `down`: a whole cluster from a cached tree, and nothing left of it."""

import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from . import forward, logs, network, node
from .accounts import reservation_commands
from .daemons import once_names
from .errors import ClusterError
from .layout import Cluster, Site
from .prerequisites import ensure_run_commands, require_namespaces, say, warn_of_apparmor
from .processes import end_all, run, wait_until
from .slurmconf import CONFIGURATION, configuration_files
from .state import Instance, Settings
from .tree import cache, ensure_tree, remove, slurm_release

UP_DEADLINE_S = 60.0


def up(instance: Instance, wanted: Settings) -> Settings:
    """Boots every node and returns when both clusters are idle; leaves nothing behind if it can't.

    `wanted` need not have a tree or a store: they are filled in.
    """
    ensure_run_commands()
    with instance.lock():
        instance.require_ours()
        if instance.is_running():
            raise ClusterError(f"the virtual cluster {instance.name} is already up; `down` ends it")
        _clean(instance)
        tree, store = ensure_tree(wanted.suite), cache() / "instances" / instance.name
        settings = replace(wanted, tree=str(tree), store=str(store))
        listeners = [forward.listen(each) for each in settings.publish]
        warn_of_apparmor()
        started = time.monotonic()
        try:
            _boot(instance, settings, listeners)
        except ClusterError as error:
            kept = _keep_logs(instance)
            _clean(instance)
            raise ClusterError(f"{error} (all logs: {kept})") from error
        except BaseException:
            _clean(instance)
            raise
    say(f"{instance.name} is up after {time.monotonic() - started:.1f} s: {len(settings.site.nodes)} nodes")
    return settings


def down(instance: Instance) -> bool:
    """Ends an instance with everything that it made; false if there was none."""
    with instance.lock():
        instance.require_ours()
        was_there = instance.run.exists()
        _clean(instance)
    return was_there


def _keep_logs(instance: Instance) -> Path:
    """Writes the logs of an instance that failed to a file that outlives it, and says where."""
    place = cache() / "failed" / f"{instance.name}.log"
    place.parent.mkdir(exist_ok=True)
    with place.open("w") as file:
        logs.show(instance, to=file)
    return place


def _clean(instance: Instance) -> None:
    """Ends every recorded process, then removes the network, the state and what the nodes wrote."""
    if not instance.marker.exists():
        return
    end_all(list(instance.recorded_processes().values()))
    network.remove(instance.network)
    store = Path(instance.settings().store)
    if store.exists():
        remove(store)
    instance.remove_state()


def _boot(instance: Instance, settings: Settings, listeners: list[forward.Listener]) -> None:
    """Everything of `up` that leaves traces."""
    if Path(settings.store).exists():
        remove(Path(settings.store))  # of an instance that the machine went down with
    instance.write_settings(settings)
    site = settings.site
    _prepare(instance, settings)
    try:
        network.create(instance.network)
        pids = {each.name: node.start(instance, settings, each.name) for each in site.nodes}
        network.plug(instance.network, pids)
    except ClusterError:
        _require_alive(instance, site)
        require_namespaces()
        raise
    for listener in listeners:
        forward.start(listener, instance.network, site, instance.forwarders)
    wait_until_ready(instance, site, pids)
    enter = node.enter_argv(pids[site.hub.name], "root", "/root")
    for command in reservation_commands(site):
        run([*enter, *command], "making a reservation")


def _require_alive(instance: Instance, site: Site) -> None:
    """ClusterError, with what it said last, if a node that was started is no longer there."""
    for each in site.nodes:
        if (instance.node(each.name) / "inner").exists() and node.recorded(instance, each.name) is None:
            last = node.last_line(instance.node(each.name) / "console")
            raise ClusterError(f"{each.name} did not start: {last}")


def _homes(settings: Settings) -> Path:
    """The directory shown as /home, with a private home for each person."""
    homes = Path(settings.homes or Path(settings.store) / "homes")
    homes.mkdir(parents=True, exist_ok=True)
    homes.chmod(0o755)
    for person in settings.site.people:
        home = homes / person.name
        if not home.exists():
            shutil.copytree(Path(settings.tree) / "etc/skel", home)
            home.chmod(0o700)
            for place in (home, *home.rglob("*")):
                os.chown(place, person.uid, person.uid)
    return homes


def _prepare(instance: Instance, settings: Settings) -> None:
    """Writes the files of every node before any of them starts."""
    site, tree = settings.site, Path(settings.tree)
    Path(settings.store).mkdir(parents=True)
    instance.forwarders.mkdir()
    binds: list[list[Any]] = [[str(_homes(settings)), "/home", True]]
    for cluster in site.clusters:
        directory = instance.run / "slurm" / cluster.name
        directory.mkdir(parents=True)
        for name, text in configuration_files(site, cluster, slurm_release(tree)).items():
            (directory / name).write_text(text)
        binds.append([str(directory), f"{CONFIGURATION}/{cluster.name}", True])
    binds += [[bind.source, bind.target, bind.writable] for bind in settings.binds]
    key = node.new_munge_key()
    for each in site.nodes:
        node.prepare(instance, settings, each, key, binds)


def wait_until_ready(instance: Instance, site: Site, pids: dict[str, int]) -> None:
    """Returns when every command that runs once has succeeded and every node of both clusters is idle."""
    wait_until(
        lambda: all(_has_started(instance, site, name) for name in pids),
        "starting the daemons",
        UP_DEADLINE_S,
    )
    hub = node.enter_argv(pids[site.hub.name], "root", "/root")
    for cluster in site.clusters:
        wait_until(partial(_is_idle, hub, cluster), f"bringing up {cluster.name}", UP_DEADLINE_S)


def _has_started(instance: Instance, site: Site, name: str) -> bool:
    """Whether all daemons of a node have been started; ClusterError if one has died or a command failed."""
    if not (instance.node(name) / "shared" / "control").exists():
        _require_alive(instance, site)
        return False
    daemons = node.ask(instance, name, {"do": "status"})
    for daemon, state in daemons.items():
        if state["ended"] is not None and not (state["once"] and state["ended"] == 0):
            log = instance.node(name) / "shared" / "log" / daemon
            raise ClusterError(f"{daemon} on {name} ended with {state['ended']}: {node.last_line(log)}")
    wanted = once_names(site, site.nodes[[n.name for n in site.nodes].index(name)])
    return all(daemons[each]["ended"] == 0 for each in wanted) and not any(
        d["wanted"] for d in daemons.values()
    )


def _is_idle(enter: list[str], cluster: Cluster) -> bool:
    """Whether the controller answers and calls every node of the cluster idle."""
    conf = f"SLURM_CONF={CONFIGURATION}/{cluster.name}/slurm.conf"
    # A release may lose what it is asked while it starts (22.05 does), so an answer is not waited for long.
    try:
        out = run(
            [*enter, conf, "sinfo", "--noheader", "--Node", "--format=%N %T"], "asking Slurm", deadline_s=1
        )
    except ClusterError:
        return False
    states = dict(line.split() for line in out.splitlines())
    return len(states) == len(cluster.nodes) and set(states.values()) == {"idle"}
