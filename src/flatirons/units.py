"""Times and amounts of memory as people write them, to whole minutes and MiB and back."""

from __future__ import annotations

import re

from flatirons.errors import Refusal, quoted

MINUTES_A_DAY = 24 * 60
_UNIT_MINUTES = {"d": MINUTES_A_DAY, "h": 60, "m": 1}
_MIB = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}

_CLOCK = re.compile(r"(?:([0-9]{1,5})-)?([0-9]{1,6})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?")
_UNITS = re.compile(r"(?:([0-9]{1,5}) ?d)? ?(?:([0-9]{1,6}) ?h)? ?(?:([0-9]{1,8}) ?m(?:in)?)?")
_MEMORY = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))? ?([kmgt])?(?:i?b)?")

HOW_TO_WRITE_TIME = "Write a time like 2:00:00 (hours), 90m or 1-12:00:00 (days)."
HOW_TO_WRITE_MEMORY = "Write an amount of memory like 4G or 500M."


def minutes(text: str) -> int:
    """Whole minutes, rounded up, of `2:00:00`, `90m`, `1d 12h`, `1-12`, `1-12:00:00` or `90` (minutes).

    Slurm reads `2:00` as two minutes, most people as two hours: it is refused, not guessed.
    Source: sbatch(1), --time.
    """
    lowered = text.strip().lower()
    clock = _CLOCK.fullmatch(lowered)
    if clock is not None:
        return _clock_minutes(text, *clock.groups())
    units = _UNITS.fullmatch(lowered)
    if units is None or not any(units.groups()):
        raise Refusal(f"{quoted(text)} isn't a time. {HOW_TO_WRITE_TIME}")
    return sum(int(n or 0) * size for n, size in zip(units.groups(), _UNIT_MINUTES.values(), strict=True))


def _clock_minutes(text: str, days: str | None, first: str, second: str | None, third: str | None) -> int:
    if days is None and third is None and second is not None:
        raise Refusal(f"{quoted(text)} could mean hours or minutes. Write {first}:{second}:00 or {first}m.")
    if any(part is not None and int(part) > 59 for part in (second, third)):
        raise Refusal(f"{quoted(text)} isn't a time: minutes and seconds end at 59. {HOW_TO_WRITE_TIME}")
    if days is None and second is None:
        return int(first)
    hours = int(days or 0) * 24 + int(first)
    return hours * 60 + int(second or 0) + (1 if int(third or 0) else 0)


def clock(value: int) -> str:
    """Minutes as Slurm shows them: `2:00:00`, `1-12:00:00`."""
    days, rest = divmod(value, MINUTES_A_DAY)
    hours, left = divmod(rest, 60)
    return f"{days}-{hours:02}:{left:02}:00" if days else f"{hours}:{left:02}:00"


def mebibytes(text: str) -> int:
    """MiB, rounded up, of `4G`, `1.5 GiB`, `500M`, or `500` (MiB). As for Slurm, G is 1024 M.

    Source: sbatch(1), --mem.
    """
    match = _MEMORY.fullmatch(text.strip().lower())
    if match is None or (match[3] is None and match[2] is not None):
        raise Refusal(f"{quoted(text)} isn't an amount of memory. {HOW_TO_WRITE_MEMORY}")
    whole, part, unit = match.groups()
    amount = float(f"{whole}.{part or 0}") * _MIB[unit or "m"]
    return -int(-amount // 1)


def memory(value: int) -> str:
    """MiB as Slurm takes them: `4G`, `1500M`."""
    if value and value % (1024 * 1024) == 0:
        return f"{value // (1024 * 1024)}T"
    if value and value % 1024 == 0:
        return f"{value // 1024}G"
    return f"{value}M"
