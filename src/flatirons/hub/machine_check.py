"""What a site file names and this machine lacks. These are warnings: the file may be checked elsewhere."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from flatirons import accounts
from flatirons.hub.configure import find_proxy_command
from flatirons.site.schema import Site
from flatirons.slurm.model import Cluster as SlurmCluster

Finding = tuple[str, str]  # dotted key and sentence

SLURM_COMMANDS = ("sbatch", "scancel", "squeue", "sacct", "scontrol", "sacctmgr")


def check_machine(site: Site) -> list[Finding]:
    """What would keep the site from working if this machine were its hub's."""
    return [*_check_address(site), *_check_accounts(site), *_check_programs(site), *_check_files(site)]


def _check_address(site: Site) -> Iterator[Finding]:
    host = urlsplit(site.hub.address).hostname or ""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        yield "hub.address", f"this machine doesn't know the host name {host}"
        return
    if all(address == "::1" or address.startswith("127.") for address in addresses):
        found = ", ".join(sorted(addresses))
        yield "hub.address", f"{host} is {found} on this machine, which no compute node can reach"


def _check_accounts(site: Site) -> Iterator[Finding]:
    if site.hub.run_as != "root" and not _is_known(pwd.getpwnam, site.hub.account):
        yield "hub.account", f"there is no account {site.hub.account!r} on this machine"
    yield from _check_users(site)
    for key in ("allowed_groups", "admin_groups"):
        for name in getattr(site.login, key):
            if not _is_known(grp.getgrnam, name):
                yield f"login.{key}", f"there is no group {name!r} on this machine"
    service = Path("/etc/pam.d") / site.login.pam_service
    if site.login.authenticator == "pam" and not service.exists():
        yield "login.pam_service", f"{service} doesn't exist, so PAM would use its rules for `other`"


def _check_users(site: Site) -> Iterator[Finding]:
    """Accounts as which the hub starts nothing. With ssh the log-in node's accounts count, not these."""
    users = [("login.allowed_users", name) for name in site.login.allowed_users]
    if site.hub.run_as == "self":
        users.append(("hub.account", site.hub.account))
    for key, name in users if site.hub.run_as != "ssh" else ():
        if not _is_known(pwd.getpwnam, name):
            continue
        uid = pwd.getpwnam(name).pw_uid
        if why := accounts.why_refused(uid, accounts.least_uid(), accounts.daemons()):
            yield key, f"the hub starts nothing as {name}: {why}"


def _check_programs(site: Site) -> Iterator[Finding]:
    if not shutil.which(program := find_proxy_command(site)[0]):
        yield "proxy.command", f"{program} is not installed on this machine"
    for name, cluster in site.clusters.items() if site.hub.run_as != "ssh" else ():
        there = SlurmCluster(name, cluster.slurm_conf, cluster.bin_dir)
        missing = [path for path in map(there.command, SLURM_COMMANDS) if not shutil.which(path)]
        if missing:
            key = f"clusters.{name}.bin_dir" if cluster.bin_dir else f"clusters.{name}"
            yield key, f"not installed on this machine: {', '.join(missing)}"


def _check_files(site: Site) -> Iterator[Finding]:
    for name, cluster in site.clusters.items() if site.hub.run_as != "ssh" else ():
        if cluster.slurm_conf and not os.access(cluster.slurm_conf, os.R_OK):
            yield f"clusters.{name}.slurm_conf", f"{cluster.slurm_conf} can't be read on this machine"
    for name, environment in site.environments.items():
        if environment.image.startswith("/") and not Path(environment.image).exists():
            yield (
                f"environments.{name}.image",
                f"{environment.image} isn't on this machine; make sure that the nodes have it",
            )


def _is_known(lookup: Callable[[str], object], name: str) -> bool:
    try:
        lookup(name)
    except KeyError:
        return False
    return True
