"""As whom the hub may run commands: accounts are judged by uid, since several names can stand for one uid."""

from __future__ import annotations

import pwd
import re
from collections.abc import Collection
from pathlib import Path

from flatirons.errors import AccountRefused

LOGIN_DEFS = Path("/etc/login.defs")
USUAL_UID_MIN = 1000
DAEMONS = ("slurm", "munge")
"""Accounts of Slurm's daemons: many sites give them the same uid on all machines, above UID_MIN."""

_NAME = re.compile(r"[A-Za-z0-9_][^\x00-\x1f\x7f:/]*")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]+")
_UID_MIN = re.compile(r"^[ \t]*UID_MIN[ \t]+(\d+)[ \t]*$", re.MULTILINE)


def check_name(name: str) -> str:
    """The name, if no program reads it as anything else; raises AccountRefused.

    sudo would read "#0" as root and "%wheel" as a group, and Slurm "0" as a uid.
    """
    if not _NAME.fullmatch(name) or _NUMBER.fullmatch(name):
        raise AccountRefused("The hub starts nothing under this name: it isn't the name of an account.", name)
    return name


def check_account(name: str, refused_uids: Collection[int] = ()) -> pwd.struct_passwd:
    """The account of this name on this machine, if it is a person's; raises AccountRefused.

    `refused_uids` are those of Slurm's own accounts that Slurm has named. May ask a server on the network.
    """
    try:
        account = pwd.getpwnam(check_name(name))
    except KeyError:
        sentence = f"There is no account {name!r} on this machine."
        raise AccountRefused(sentence, name) from None
    if why := why_refused(account.pw_uid, least_uid(), {*refused_uids, *daemons()}):
        raise refusal(name, why)
    return account


def refusal(name: str, why: str) -> AccountRefused:
    """The error for an account that isn't a person's."""
    return AccountRefused(
        f"The hub starts nothing as {name}: {why}. Log in with an account of your own.", name
    )


def why_refused(uid: int, least: int, refused_uids: Collection[int]) -> str:
    """Why commands don't run under this uid, as a part of a sentence; "" if they do."""
    if uid == 0:
        return "it has the rights of root (uid 0)"
    if uid < least:
        return f"it is an account of the system (uid {uid}, below UID_MIN {least} of {LOGIN_DEFS})"
    if uid in refused_uids:
        return f"it is an account of Slurm's daemons (uid {uid})"
    return ""


def least_uid(path: Path = LOGIN_DEFS) -> int:
    """The smallest uid of people on this machine: UID_MIN of login.defs(5)."""
    try:
        found = _UID_MIN.findall(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return USUAL_UID_MIN
    return int(found[-1]) if found else USUAL_UID_MIN


def daemons() -> set[int]:
    """The uids of the accounts of Slurm's daemons that this machine has under their usual names."""
    found = set()
    for name in DAEMONS:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return found
