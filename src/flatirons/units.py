"""Times and amounts of memory: as people write them and Slurm takes them, and in words for people."""

from __future__ import annotations

import re

from flatirons.errors import Refusal, quoted

MINUTES_A_DAY = 24 * 60
_UNIT_MINUTES = {"d": MINUTES_A_DAY, "h": 60, "m": 1}
_MIB = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}

_CLOCK = re.compile(r"(?:([0-9]{1,5})-)?([0-9]{1,6})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?")
_UNITS = re.compile(r"(?:([0-9]{1,5}) ?d)? ?(?:([0-9]{1,6}) ?h)? ?(?:([0-9]{1,8}) ?m(?:in)?)?")
_SECONDS = re.compile(r"(?<![0-9.])([0-9]{1,9}) ?s(?:ec)?$")
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


def seconds(text: str) -> float:
    """Seconds of `3600`, `90s`, `1h30m15s`, or of what `minutes` reads except a number: `2:00:00`, `1d 12h`.

    A number is seconds, as in JupyterHub's settings.
    """
    lowered = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", lowered):
        return float(lowered)
    if (clock := _CLOCK.fullmatch(lowered)) is not None:
        beyond = int(clock[4] or 0)  # by which `minutes` rounds up
        return 60.0 * minutes(text) - (60 - beyond if beyond else 0)
    ending = _SECONDS.search(lowered)
    longer = lowered[: ending.start()] if ending and ":" not in lowered else text
    return (60.0 * minutes(longer) if longer or not ending else 0.0) + int(ending[1] if ending else 0)


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


# -- words for people


def counted(number: int, noun: str) -> str:
    """`1 minute`, `2 minutes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_in_words(seconds: float) -> str:
    """A time span: `12 seconds`, `1 minute`, `90 minutes`, `2 hours 1 minute`, `1 day 12 hours`.

    Below 100 s it is rounded to seconds, above that to minutes.
    """
    whole = round(seconds)
    if whole < 100 and whole != 60:
        return counted(whole, "second")
    total = round(seconds / 60)
    if total < 100 and total != 60:
        return counted(total, "minute")
    days, rest = divmod(total, MINUTES_A_DAY)
    parts = ((days, "day"), (rest // 60, "hour"), (rest % 60, "minute"))
    return " ".join(counted(number, noun) for number, noun in parts if number)


def memory_in_words(mebibytes: int) -> str:
    """MiB as people say them: `500 MB`, `1.5 GB`, `16 GB`. As for Slurm, a GB has 1024 MB."""
    amount, unit = float(mebibytes), "MB"
    for larger in ("GB", "TB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    text = f"{amount:.1f}" if amount < 10 else f"{amount:.0f}"
    return f"{text.removesuffix('.0')} {unit}"
