"""The daemons of each node and their order, as plans for the node's init. Pure."""

from typing import Any

from .layout import ASSOCIATIONS, Cluster, Node, Site
from .slurmconf import ACCOUNTING_PORT, CONFIGURATION

MUNGE = "path:/run/munge/munge.socket.2"
# The directory depends on MariaDB's release; the client library of slurmdbd uses the same.
DATABASE = "path:/run/m*d/mysqld.sock"
SHARED = "/run/flatirons"
# path -> owner
DIRECTORIES = {
    "/run/munge": "munge",
    "/run/mysqld": "mysql",
    "/run/mariadbd": "mysql",
    "/run/slurm": "slurm",
    "/run/sshd": "root",
    "/var/spool/slurmd": "root",
    "/var/lib/slurm/summit": "slurm",
    "/var/lib/slurm/blanca": "slurm",
}


def _plan(
    name: str,
    argv: list[str],
    needs: list[str],
    env: dict[str, str] | None = None,
    user: str = "",
    once: bool = False,
) -> dict[str, Any]:
    """The plan of a daemon for node_boot/init.py; as another user if one is named."""
    become = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
    return {"name": name, "argv": [*become, *argv], "needs": needs, "env": env or {}, "once": once}


def _controller(cluster: Cluster) -> dict[str, Any]:
    conf = f"{CONFIGURATION}/{cluster.name}/slurm.conf"
    # Nothing that it saves has to survive the machine, so it doesn't have to wait for the disk.
    env = {"SLURM_CONF": conf, "LD_PRELOAD": "libeatmydata.so"}
    name = f"slurmctld@{cluster.name}"
    return _plan(name, ["slurmctld", "-D", "-f", conf], [MUNGE, "once:accounts"], env, "slurm")


def _controller_node(site: Site) -> list[dict[str, Any]]:
    fast = {"LD_PRELOAD": "libeatmydata.so"}
    # sacctmgr's exit code doesn't tell "nothing new" from "failed", so the result is counted.
    listed = "sacctmgr --noheader --parsable2 list association format=user | grep -c -v -e root -e '^$'"
    accounts = f"sacctmgr -i < {SHARED}/sacctmgr; test $({listed}) -eq {len(ASSOCIATIONS)}"
    # Accounting knows GPUs a moment after the controllers listen.
    kinds = {kind for node in site.nodes for kind, _ in node.gpus}
    gpus = "$(sacctmgr --noheader --parsable2 list tres format=name | grep -c ^gpu:)"
    complaints = f"sacctmgr -i < {SHARED}/limits 2>&1 | grep -i -e error -e unknown -e bad -e nothing"
    limits = f"until test {gpus} -ge {len(kinds)}; do sleep 0.05; done; ! {complaints}"
    ports = [f"port:{cluster.controller_port}" for cluster in site.clusters]
    return [
        _plan("mariadbd", ["mariadbd", "--user=mysql", "--init-file=/etc/mysql/flatirons.sql"], [], fast),
        _plan("slurmdbd", ["slurmdbd", "-D"], [MUNGE, DATABASE], user="slurm"),
        _plan("accounts", ["sh", "-c", accounts], [f"port:{ACCOUNTING_PORT}"], once=True),
        *map(_controller, site.clusters),
        _plan("limits", ["sh", "-c", limits], ports, once=True),
    ]


def _hub_node() -> list[dict[str, Any]]:
    key = "/etc/ssh/ssh_host_ed25519_key"
    keygen = f"test -f {key} || ssh-keygen -q -t ed25519 -N '' -f {key}"
    return [
        _plan("passwords", ["sh", "-c", f"exec chpasswd < {SHARED}/passwords"], [], once=True),
        _plan("hostkey", ["sh", "-c", keygen], [], once=True),
        _plan("sshd", ["/usr/sbin/sshd", "-D", "-e"], ["once:hostkey"]),
    ]


def _compute_node(site: Site, node: Node) -> list[dict[str, Any]]:
    cluster = site.cluster(node.cluster)
    conf = f"{CONFIGURATION}/{cluster.name}/slurm.conf"
    needs = [MUNGE, f"host:{site.controller.name}:{cluster.controller_port}"]
    return [_plan("slurmd", ["slurmd", "-D", "-f", conf], needs, {"SLURM_CONF": conf})]


def daemon_plans(site: Site, node: Node) -> list[dict[str, Any]]:
    """The plans of a node's daemons, for node_boot/init.py."""
    munged = _plan("munged", ["munged", "--foreground", "--force"], [], user="munge")
    if node == site.controller:
        return [munged, *_controller_node(site)]
    return [munged, *(_hub_node() if node == site.hub else _compute_node(site, node))]


def once_names(site: Site, node: Node) -> list[str]:
    """The commands of a node that run once and must succeed before the node is up."""
    return [plan["name"] for plan in daemon_plans(site, node) if plan["once"]]
