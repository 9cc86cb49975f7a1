"""Slurm's lists of hosts -> their names; pure.

A list is written as `c[1-3,07],login,rack[1-2]node[1-8]-ib`. Source: hostlist.c of Slurm 24.11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import product

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.parse import NO_ANSWER

MOST_HOSTS = 1_000_000

_HOSTS = re.compile(r"(?:[^,\[\]]|\[[0-9,-]+\])*")
_PART = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def expanded(text: str) -> tuple[str, ...]:
    """The names in a list of hosts: "c[1-3,07],login" gives c1, c2, c3, c07 and login.

    Raises SlurmUnreachable for a list that can't be read, and for one of more than MOST_HOSTS names.
    """
    names: list[str] = []
    position = 0
    while position < len(text):
        item = _HOSTS.match(text, position)
        end = item.end() if item else position
        if end < len(text) and text[end] != ",":
            raise _unreadable(text)
        names += _product(
            [_alternatives(*part, text=text) for part in _PART.findall(text[position:end])], text
        )
        position = end + 1
    return tuple(names)


def _alternatives(ranges: str, literal: str, *, text: str) -> list[str]:
    """The texts that one part of a name may have: "07-09" gives 07, 08 and 09."""
    if not ranges:
        return [literal]
    found: list[str] = []
    for each in ranges.split(","):
        match = _RANGE.fullmatch(each)
        if not match:
            raise _unreadable(text)
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_HOSTS:
            raise _unreadable(text)
        found += (f"{number:0{len(match[1])}}" for number in range(first, last + 1))
    return found


def _product(parts: Sequence[Sequence[str]], text: str) -> list[str]:
    if math.prod(map(len, parts)) > MOST_HOSTS:
        raise _unreadable(text)
    return ["".join(each) for each in product(*parts)] if parts else []


def _unreadable(text: str) -> SlurmUnreachable:
    return SlurmUnreachable(NO_ANSWER, f"a list of hosts can't be read: {text[:200]!r}")
