"""The text of sudo rules and systemd units for a site. Installs nothing."""

from __future__ import annotations

import pwd
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flatirons import accounts
from flatirons.errors import SiteError
from flatirons.site.schema import LoginSection, Site
from flatirons.slurm.argv import CHANGEABLE

TEMPLATES = Path(__file__).parent.parent / "deploy"
RENDERED_FILES = ("sudoers", "hub.service", "proxy.service")
SLURM_COMMANDS = ("sbatch", "scancel", "squeue")
CHANGE = rf"^update JobId\=[0-9]+( ({'|'.join(CHANGEABLE.values())})\=[A-Za-z0-9_.@-]+)+$"
"""The only arguments with which the hub runs scontrol as a user. Sudo before 1.9.10 knows no regular
expressions and takes this for a pattern that matches nothing; without the backslashes it would refuse the
whole file."""

SYSTEM_ALIAS = "FLATIRONS_SYSTEM"
MOST_UIDS = 10_000
"""How many uids of the system are listed where UID_MIN is larger: the hub itself refuses the others."""


def render(kind: str, site: Site, *, site_file: str, flatirons: str, has_shadow_group: bool = True) -> str:
    """The text of one of RENDERED_FILES.

    `site_file` and `flatirons` are the absolute paths that the units name. Raises SiteError for a file that
    the site doesn't need.
    """
    if kind == "sudoers" and site.hub.run_as not in ("sudo", "ssh"):
        raise SiteError([("hub.run_as", f'"{site.hub.run_as}" needs no sudo rules')])
    if kind == "proxy.service" and site.proxy.run != "apart":
        raise SiteError([("proxy.run", '"hub": the hub starts the proxy, which needs no unit of its own')])
    variables = {**_list_variables(site), "site_file": site_file, "flatirons": flatirons}
    variables["shadow_group"] = (
        has_shadow_group and site.login.authenticator == "pam" and not variables["as_root"]
    )
    return _make_environment().get_template(f"{kind}.j2").render(variables)


def _list_variables(site: Site) -> dict[str, Any]:
    state = PurePosixPath(site.hub.state_dir)
    return {
        "account": site.hub.account,
        "as_root": site.hub.run_as == "root",
        "uses_setuid": site.hub.run_as == "sudo" or site.login.authenticator == "pam",
        "proxy_apart": site.proxy.run == "apart",
        "low_port": (urlsplit(site.proxy.public).port or 0) < 1024,
        "state_dir": site.hub.state_dir,
        "state_directory": state.name if state.parent == PurePosixPath("/var/lib") else "",
        "commands": list_commands(site),
        "changes": list_changes(site),
        "runas": list_runas(site.login),
        "least_uid": accounts.least_uid(),
        "system_accounts": list_system_accounts(site, accounts.least_uid(), accounts.daemons()),
    }


def list_commands(site: Site) -> list[str]:
    """The absolute paths of the commands that the hub runs as a user, for all clusters, without repeats."""
    folders = dict.fromkeys(cluster.bin_dir.rstrip("/") or "/usr/bin" for cluster in site.clusters.values())
    return [f"{folder}/{command}" for folder in folders for command in SLURM_COMMANDS]


def list_changes(site: Site) -> list[str]:
    """The sudo rules, one for each directory of commands, by which a user's waiting job is changed."""
    folders = dict.fromkeys(PurePosixPath(command).parent for command in list_commands(site))
    return [f"{escape_for_sudo(str(folder))}/scontrol {CHANGE}" for folder in folders]


def list_runas(login: LoginSection) -> list[str]:
    """The users that sudo allows: those of the hub if the site lists them, else all but system accounts."""
    groups = [*login.allowed_groups, *login.admin_groups]
    users = [*login.allowed_users, *login.admin_users]
    if login.everybody or not (login.allowed_users or login.allowed_groups):
        listed = ["ALL"]
    else:
        listed = [
            *dict.fromkeys(map(escape_for_sudo, users)),
            *(f"%{escape_for_sudo(name)}" for name in dict.fromkeys(groups)),
        ]
    return [*listed, f"!{SYSTEM_ALIAS}"]


def list_system_accounts(site: Site, least_uid: int, daemons: Collection[int]) -> list[str]:
    """The accounts that sudo never allows: all uids below `least_uid`, Slurm's daemons, the usual names.

    sudoers(5) has no ranges, and a rule by uid counts for every name that the uid has.
    """
    slurm_users = {uid for name in _slurm_users(site) if (uid := _uid_of(name)) is not None}
    above = sorted(uid for uid in {*daemons, *slurm_users} if uid >= least_uid)
    uids = [*range(min(max(least_uid, 1), MOST_UIDS)), *above]
    return ["root", *accounts.DAEMONS, *(f"#{uid}" for uid in uids)]


def _slurm_users(site: Site) -> Iterator[str]:
    """SlurmUser of each slurm.conf that can be read here."""
    for cluster in site.clusters.values():
        try:
            text = Path(cluster.slurm_conf or "/etc/slurm/slurm.conf").read_text(
                encoding="utf-8", errors="replace"
            )
        except OSError:
            continue
        yield from re.findall(r"^\s*SlurmUser\s*=\s*([^\s#]+)", text, re.IGNORECASE | re.MULTILINE)


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return int(name) if name.isdecimal() else None


def escape_for_sudo(text: str) -> str:
    """A word as sudoers reads it: characters with a meaning there, such as wildcards, are escaped.

    So is the first letter of a word that sudo could take for a keyword (ALL, Defaults) or for an alias.
    Source: sudoers(5), "Aliases" and "Other special characters".
    """
    escaped = re.sub(r"([^\w./+-])", r"\\\1", text)
    return f"\\x{ord(text[0]):02x}{escaped[1:]}" if re.match("[A-Z]", text) else escaped


def escape_for_systemd(text: str) -> str:
    """A word as ExecStart= reads it: one argument, in which no specifier or variable is expanded."""
    if re.fullmatch(r"[A-Za-z0-9_./:=@+-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _make_environment() -> Environment:
    filters: Sequence[Any] = (escape_for_sudo, escape_for_systemd)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # it isn't HTML: the two filters escape what needs it
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({made.__name__: made for made in filters})
    return environment
