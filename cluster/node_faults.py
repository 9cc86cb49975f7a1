"""Spoils what a node's programs rely on, from inside the node: a command's answers, the room on a disk."""

from collections.abc import Sequence

from .errors import ClusterError
from .processes import run

PLACE = "/run/spoiled"
SLOW_S = 20
MOST_KIB = 65536
"""The free room up to which a file system may be filled: more is the machine's own disk."""

# What stands in for a command; $real is the command itself.
WAYS = {
    "slow": f'sleep {SLOW_S}; exec "$real" "$@"',
    "garble": "head -c 3000 /dev/urandom; echo; echo '<html>502 Bad Gateway</html>'",
    "halve": 'whole=$("$real" "$@") || exit; printf %s "$whole" | head -c $((${#whole} / 2))',
    "fail": "exit 1",
}

_REPLACE = f"""
found=$(realpath "$(command -v "$1")")
case $found in {PLACE}/*) echo "$1 is spoiled already" >&2; exit 1;; esac
! mountpoint -q "$found" || {{ echo "$1 is spoiled already" >&2; exit 1; }}
mkdir -p {PLACE}
cp "$found" "{PLACE}/real-$1"
printf '#!/bin/sh\\nreal={PLACE}/real-%s\\n%s\\n' "$1" "$2" > "{PLACE}/$1"
chmod 755 "{PLACE}/$1"
mount --bind "{PLACE}/$1" "$found"
"""
# Lazily, since a slow one may still run.
_RESTORE = 'umount --lazy "$(realpath "$(command -v "$1")")"'
_FILL = f"""
free=$(df --output=avail -k "$1" | tail -n 1)
test "$free" -le {MOST_KIB} || {{ echo "$1 has $free KiB free; only a small disk is filled" >&2; exit 1; }}
cat /dev/zero > "$1/.filled" 2>/dev/null || true
"""
_EMPTY = 'rm "$1/.filled"'


def _inside(enter: Sequence[str], script: str, what: str, *words: str) -> None:
    run([*enter, "sh", "-ec", script, "spoil", *words], what)


def spoil(enter: Sequence[str], how: str, target: str) -> None:
    """Replaces a command of the node in one of WAYS, or fills the file system of a directory (`fill`).

    `enter` runs a command in the node as root. A directory's file system must be a small one of its own.
    """
    if how == "fill":
        _inside(enter, _FILL, f"filling {target}", target)
    else:
        _inside(enter, _REPLACE, f"replacing {target}", target, WAYS[how])


def unspoil(enter: Sequence[str], target: str) -> None:
    """Gives the node its command, or the room on its disk, back."""
    is_place = target.startswith("/")
    _inside(enter, _EMPTY if is_place else _RESTORE, f"mending {target}", target)


def parse(target: str) -> tuple[str, str]:
    """COMMAND@NODE or /DIRECTORY@NODE, in two; ClusterError for another form."""
    what, at, node = target.rpartition("@")
    if not (what and at and node) or ("/" in what and not what.startswith("/")):
        raise ClusterError(f"{target!r} is not of the form COMMAND@NODE or /DIRECTORY@NODE")
    return what, node
