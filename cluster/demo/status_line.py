"""The status line of a demo: how many nodes, jobs and servers there are, once a second."""

import shutil
import sys
import time
import urllib.error

from .. import node
from ..layout import HUB
from ..slurmconf import CONFIGURATION
from .service import Demo


def nodes_up(demo: Demo) -> tuple[int, int]:
    """(running nodes, all nodes)."""
    nodes = demo.instance.settings().site.nodes
    return sum(node.recorded(demo.instance, each.name) is not None for each in nodes), len(nodes)


def jobs(demo: Demo) -> dict[str, int]:
    """The number of jobs in each state, in all clusters; a cluster that doesn't answer is listed too."""
    found: dict[str, int] = {}
    for cluster in demo.instance.settings().site.clusters:
        conf = f"SLURM_CONF={CONFIGURATION}/{cluster.name}/slurm.conf"
        done = demo.exec(HUB, ["env", conf, "squeue", "--noheader", "--format=%T"], deadline_s=30)
        for state in done.stdout.split() if done.returncode == 0 else [f"no answer from {cluster.name}"]:
            found[state] = found.get(state, 0) + 1
    return found


def servers(demo: Demo) -> str:
    """How many servers the hub has: ready ones, and those that are starting or stopping."""
    try:
        users = demo.ask_hub("/users?state=active")["items"]
    except (urllib.error.URLError, OSError):
        return "the hub does not answer"
    all_servers = [server for user in users for server in user["servers"].values()]
    ready = sum(bool(server["ready"]) for server in all_servers)
    pending = len(all_servers) - ready
    return f"{ready} ready" + (f", {pending} starting or stopping" if pending else "")


def line(demo: Demo) -> str:
    """All of it in one line."""
    up, total = nodes_up(demo)
    counted = ", ".join(f"{count} {state.lower()}" for state, count in sorted(jobs(demo).items())) or "none"
    return f"nodes {up}/{total} up | jobs: {counted} | servers: {servers(demo)}"


def watch(demo: Demo) -> None:
    """Shows the line until it is interrupted: rewritten on a terminal, elsewhere printed when it changes."""
    last = ""
    while True:
        now = line(demo)
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{now[:width]:<{width}}", end="", flush=True)
        elif now != last:
            print(now, flush=True)
        last = now
        time.sleep(1)
