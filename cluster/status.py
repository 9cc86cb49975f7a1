"""Shows the state of an instance: its nodes, their daemons, and their states in Slurm."""

import json
from typing import Any

from . import node
from .errors import ClusterError
from .layout import Cluster, Node
from .processes import run
from .slurmconf import CONFIGURATION
from .state import Instance


def slurm_states(instance: Instance, cluster: Cluster, hub: str) -> dict[str, str]:
    """Node -> state in Slurm's words; empty if the controller doesn't answer."""
    inner = node.recorded(instance, hub)
    if inner is None:
        return {}
    conf = f"SLURM_CONF={CONFIGURATION}/{cluster.name}/slurm.conf"
    argv = [
        *node.enter_argv(inner.pid, "root", "/root"),
        conf,
        "sinfo",
        "--noheader",
        "--Node",
        "--format=%N %T",
    ]
    try:
        return dict(line.split() for line in run(argv, "asking Slurm", deadline_s=2).splitlines())
    except ClusterError:
        return {}


def _node_row(instance: Instance, each: Node, states: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"node": each.name, "address": each.address, "cluster": each.cluster or None}
    row["running"] = node.recorded(instance, each.name) is not None
    row["slurm"] = states.get(each.name)
    daemons: dict[str, str] = {}
    if row["running"]:
        for name, state in node.send_request(instance, each.name, {"do": "status"}).items():
            if not state["once"]:
                daemons[name] = "up" if state["pid"] else "waiting" if state["wanted"] else "down"
    return {**row, "daemons": daemons}


def collect(instance: Instance) -> dict[str, Any]:
    """The state of an instance as JSON values."""
    settings = instance.settings()
    states: dict[str, str] = {}
    for cluster in settings.site.clusters:
        states |= slurm_states(instance, cluster, settings.site.hub.name)
    rows = [_node_row(instance, each, states) for each in settings.site.nodes]
    return {"name": instance.name, "suite": settings.suite, "publish": settings.publish, "nodes": rows}


def show(instance: Instance, as_json: bool) -> int:
    """Prints the state; returns 0 if every daemon of every node is up, else 1."""
    found = collect(instance)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print(f"{'NODE':<12}{'ADDRESS':<14}{'CLUSTER':<9}{'SLURM':<12}DAEMONS")
        for row in found["nodes"]:
            daemons = " ".join(f"{name}:{state}" for name, state in row["daemons"].items())
            cells = [row["node"], row["address"], row["cluster"] or "-", row["slurm"] or "-"]
            widths = (12, 14, 9, 12)
            print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), end="")
            print(daemons if row["running"] else "node is off")
    is_complete = all(row["running"] and set(row["daemons"].values()) == {"up"} for row in found["nodes"])
    return 0 if is_complete else 1
