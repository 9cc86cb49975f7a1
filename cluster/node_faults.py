"""Faults inside a node: a command that answers wrongly, a disk that is full."""

from collections.abc import Sequence

from .errors import ClusterError
from .processes import run

BROKEN = "/run/broken-commands"
SLOW_S = 20
MOST_KIB = 65536
"""A file system with more free space isn't filled, because it is the machine's own disk."""

# What replaces a command; $real is the command itself.
COMMAND_FAULTS = {
    "slow": f'sleep {SLOW_S}; exec "$real" "$@"',
    "garble": "head -c 3000 /dev/urandom; echo; echo '<html>502 Bad Gateway</html>'",
    "halve": 'whole=$("$real" "$@") || exit; printf %s "$whole" | head -c $((${#whole} / 2))',
    "fail": "exit 1",
}

_REPLACE = f"""
found=$(realpath "$(command -v "$1")")
case $found in {BROKEN}/*) echo "$1 is broken already" >&2; exit 1;; esac
! mountpoint -q "$found" || {{ echo "$1 is broken already" >&2; exit 1; }}
mkdir -p {BROKEN}
cp "$found" "{BROKEN}/real-$1"
printf '#!/bin/sh\\nreal={BROKEN}/real-%s\\n%s\\n' "$1" "$2" > "{BROKEN}/$1"
chmod 755 "{BROKEN}/$1"
mount --bind "{BROKEN}/$1" "$found"
"""
# Lazily, because a slow command may still run.
_RESTORE = 'umount --lazy "$(realpath "$(command -v "$1")")"'
_FILL = f"""
free=$(df --output=avail -k "$1" | tail -n 1)
test "$free" -le {MOST_KIB} || {{ echo "$1 has $free KiB free: only a small disk is filled" >&2; exit 1; }}
cat /dev/zero > "$1/.filled" 2>/dev/null || true
"""
_EMPTY = 'rm "$1/.filled"'


def _run_inside(enter: Sequence[str], script: str, what: str, *words: str) -> None:
    run([*enter, "sh", "-ec", script, "fault", *words], what)


def break_target(enter: Sequence[str], how: str, target: str) -> None:
    """Replaces a command by one of COMMAND_FAULTS, or fills the file system of a directory (`fill`).

    `enter` are the words that run a command in the node as root. The directory must have a small file system
    of its own.
    """
    if how == "fill":
        _run_inside(enter, _FILL, f"filling {target}", target)
    else:
        _run_inside(enter, _REPLACE, f"replacing {target}", target, COMMAND_FAULTS[how])


def mend_target(enter: Sequence[str], target: str) -> None:
    """Restores the command, or frees the space on the disk."""
    is_directory = target.startswith("/")
    _run_inside(enter, _EMPTY if is_directory else _RESTORE, f"mending {target}", target)


def parse(target: str) -> tuple[str, str]:
    """(command or directory, node) of COMMAND@NODE or /DIRECTORY@NODE; ClusterError for another form."""
    what, at, node = target.rpartition("@")
    if not (what and at and node) or ("/" in what and not what.startswith("/")):
        raise ClusterError(f"{target!r} is not of the form COMMAND@NODE or /DIRECTORY@NODE")
    return what, node
