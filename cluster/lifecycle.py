"""`up` and `down`: start a cluster from a cached tree, and remove it without remains."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from . import cgroups, forward, logs, network, node
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
    """Starts every node and returns when both clusters are idle; removes everything if that fails.

    Fills in the tree and the store of `wanted`.
    """
    ensure_run_commands()
    with instance.lock():
        instance.require_ours()
        if instance.is_running():
            raise ClusterError(f"the virtual cluster {instance.name} is already up; `down` ends it")
        _clean(instance)
        tree, store = ensure_tree(wanted.suite), cache() / "instances" / instance.name
        settings = replace(
            wanted, tree=str(tree), store=str(store), constrained=_constrained(tree, wanted.cpus)
        )
        listeners = [forward.listen(each) for each in settings.publish]
        warn_of_apparmor()
        started = time.monotonic()
        with _cleaned_on_failure(instance):
            _boot(instance, settings, listeners)
    say(f"{instance.name} is up after {time.monotonic() - started:.1f} s: {len(settings.site.nodes)} nodes")
    return settings


def _constrained(tree: Path, cpus: int) -> list[str]:
    """What Slurm can enforce on nodes that claim this many cores; says so if it is nothing."""
    obstacle = cgroups.find_obstacle(cgroups.hierarchies_here(), tree)
    if obstacle:
        say(f"Slurm checks the memory of jobs by polling, and enforces neither cores nor GPUs: {obstacle}")
        return []
    return ["RAMSpace", "Devices"] + ["Cores"] * (cpus <= (os.cpu_count() or 1))


@contextmanager
def _cleaned_on_failure(instance: Instance) -> Iterator[None]:
    """Removes the instance if an error or an interrupt ends the block; the logs of an error are kept."""
    try:
        yield
    except ClusterError as error:
        kept = _keep_logs(instance)
        _clean(instance)
        raise ClusterError(f"{error} (all logs: {kept})") from error
    except BaseException:
        _clean(instance)
        raise


def down(instance: Instance) -> bool:
    """Ends an instance and removes everything that it made; returns whether there was one."""
    with instance.lock():
        instance.require_ours()
        was_there = instance.run.exists()
        _clean(instance)
    return was_there


def _keep_logs(instance: Instance) -> Path:
    """Writes all logs of a failed instance to a file that stays; returns its path."""
    path = cache() / "failed" / f"{instance.name}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        logs.show(instance, to=file)
    return path


def _clean(instance: Instance) -> None:
    """Ends every recorded process, then removes the network, the state and the nodes' files."""
    if not instance.marker.exists():
        return
    end_all(list(instance.recorded_processes().values()))
    for record in instance.run.glob(f"nodes/*/{node.CGROUPS}"):
        cgroups.remove(record)
    network.remove(instance.network)
    store = Path(instance.settings().store)
    if store.exists():
        remove(store)
    instance.remove_state()


def _boot(instance: Instance, settings: Settings, listeners: list[forward.Listener]) -> None:
    """The part of `up` that has to be cleaned up after a failure."""
    if Path(settings.store).exists():
        remove(Path(settings.store))  # left from before a reboot of the machine
    instance.write_settings(settings)
    site = settings.site
    _prepare(instance, settings)
    try:
        network.create(instance.network)
        pids = {each.name: node.start(instance, settings, each.name) for each in site.nodes}
        network.connect(instance.network, pids)
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
    """Raises ClusterError, with the last line of its log, if a node that was started has ended."""
    for each in site.nodes:
        if (instance.node(each.name) / "inner").exists() and node.recorded(instance, each.name) is None:
            last = node.last_line(instance.node(each.name) / "console")
            raise ClusterError(f"{each.name} did not start: {last}")


def _homes(settings: Settings) -> Path:
    """The directory that the nodes see as /home, with a private home for each user."""
    homes = Path(settings.homes or Path(settings.store) / "homes")
    homes.mkdir(parents=True, exist_ok=True)
    homes.chmod(0o755)
    for person in settings.site.people:
        home = homes / person.name
        if not home.exists():
            shutil.copytree(Path(settings.tree) / "etc/skel", home)
            home.chmod(0o700)
            for path in (home, *home.rglob("*")):
                os.chown(path, person.uid, person.uid)
    return homes


def _prepare(instance: Instance, settings: Settings) -> None:
    """Writes the files of all nodes, before any of them starts."""
    site, tree = settings.site, Path(settings.tree)
    Path(settings.store).mkdir(parents=True)
    instance.forwarders.mkdir()
    binds: list[list[Any]] = [[str(_homes(settings)), "/home", True]]
    for cluster in site.clusters:
        directory = instance.run / "slurm" / cluster.name
        directory.mkdir(parents=True)
        files = configuration_files(site, cluster, slurm_release(tree), settings.constrained)
        for name, text in files.items():
            (directory / name).write_text(text)
        binds.append([str(directory), f"{CONFIGURATION}/{cluster.name}", True])
    binds += [[bind.source, bind.target, bind.writable] for bind in settings.binds]
    key = node.new_munge_key()
    for each in site.nodes:
        node.prepare(instance, settings, each, key, binds)


def wait_until_ready(instance: Instance, site: Site, pids: dict[str, int]) -> None:
    """Returns when all commands that run once have succeeded and all nodes of both clusters are idle."""
    wait_until(
        lambda: all(_has_started(instance, site, name) for name in pids),
        "starting the daemons",
        UP_DEADLINE_S,
    )
    hub = node.enter_argv(pids[site.hub.name], "root", "/root")
    for cluster in site.clusters:
        wait_until(partial(_is_idle, hub, cluster), f"bringing up {cluster.name}", UP_DEADLINE_S)


def _has_started(instance: Instance, site: Site, name: str) -> bool:
    """Whether all daemons of a node have started; ClusterError if one has ended or a command failed."""
    if not (instance.node(name) / "shared" / "control").exists():
        _require_alive(instance, site)
        return False
    daemons = node.send_request(instance, name, {"do": "status"})
    for daemon, state in daemons.items():
        if state["ended"] is not None and not (state["once"] and state["ended"] == 0):
            log = instance.node(name) / "shared" / "log" / daemon
            raise ClusterError(f"{daemon} on {name} ended with {state['ended']}: {node.last_line(log)}")
    wanted = once_names(site, site.nodes[[n.name for n in site.nodes].index(name)])
    return all(daemons[each]["ended"] == 0 for each in wanted) and not any(
        d["wanted"] for d in daemons.values()
    )


def _is_idle(enter: list[str], cluster: Cluster) -> bool:
    """Whether the controller answers that every node of the cluster is idle."""
    conf = f"SLURM_CONF={CONFIGURATION}/{cluster.name}/slurm.conf"
    # Slurm 22.05 may lose a request while it starts, so don't wait long for an answer.
    try:
        out = run(
            [*enter, conf, "sinfo", "--noheader", "--Node", "--format=%N %T"], "asking Slurm", deadline_s=1
        )
    except ClusterError:
        return False
    states = dict(line.split() for line in out.splitlines())
    return len(states) == len(cluster.nodes) and set(states.values()) == {"idle"}
