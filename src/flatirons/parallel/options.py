"""What is asked of Slurm for a set of engines, and where each value comes from. Pure.

A value is taken from the first that has it: the keyword or the profile; the site's `[parallel]` section,
which the hub hands on in `$FLATIRONS_PARALLEL`; the notebook's own job (partition, account, QOS); Slurm.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flatirons.errors import OptionsRefused

SITE_DEFAULTS = "FLATIRONS_PARALLEL"
TEXTS = ("partition", "account", "qos", "reservation")
NAMES = (*TEXTS, "runtime", "nodes", "engines_per_node", "cpus", "memory", "inside", "mpi")
MPI = "pmix"  # of the kinds that `srun --mpi=list` names the one that every MPI library of today speaks
_OTHER_NAMES = {"runtime_minutes": "runtime", "cpus_per_engine": "cpus", "memory_mib": "memory"}
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::([0-5]?\d))?(?::([0-5]?\d))?")
_UNITS = re.compile(r"(?:(\d+) ?d)? ?(?:(\d+) ?h)? ?(?:(\d+) ?m(?:in)?)?")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?")
_MEBIBYTES = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What may be asked; "" and 0 let the next in line decide, in the end Slurm."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    runtime: int = 0  # minutes
    nodes: int = 0
    engines_per_node: int = 0  # at most
    cpus: int = 0  # per engine
    memory: int = 0  # MiB per engine
    inside: bool = False  # in the notebook's own job
    mpi: str = ""  # as srun's --mpi: the engines are one MPI program

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> EngineOptions:
        """The options that plain data says. Raises OptionsRefused, a sentence for each that can't be taken.

        Keys that we don't know are left aside: the hub may be newer than the image that this runs in.
        """
        values: dict[str, Any] = {}
        messages: dict[str, str] = {}
        for key, value in given.items():
            name = _OTHER_NAMES.get(key, key)
            if name in NAMES and value not in (None, ""):
                try:
                    values[name] = typed(name, value)
                except ValueError as error:
                    messages[name] = str(error)
        if messages:
            raise OptionsRefused(messages)
        return cls(**values)

    def over(self, other: EngineOptions) -> EngineOptions:
        """These options, and the other's where these say nothing."""
        return EngineOptions(**{name: getattr(self, name) or getattr(other, name) for name in NAMES})


def typed(name: str, value: Any) -> Any:
    """An option's value as `EngineOptions` holds it. Raises ValueError with a sentence for the user."""
    if name in TEXTS:
        return _text(value)
    if name == "runtime":
        return minutes(value)
    if name == "memory":
        return mebibytes(value)
    if name == "inside":
        return _flag(value)
    if name == "mpi":
        return _text(value) if isinstance(value, str) else MPI * _flag(value)
    return _count(value)


def minutes(value: int | str) -> int:
    """Whole minutes from a number of them or a text: 90, "90m", "2:00:00", "1-12", "1-12:00:00".

    "2:00" is two minutes to Slurm and two hours to most people: it is refused, not guessed.
    """
    if not isinstance(value, str):
        return _count(value)
    text = value.strip().lower()
    if units := _UNITS.fullmatch(text):
        days, hours, mins = (int(part or 0) for part in units.groups())
        if any(units.groups()):
            return (days * 24 + hours) * 60 + mins
    clock = _CLOCK.fullmatch(text)
    if not clock or (clock[3] and not clock[4] and not clock[1]):
        raise ValueError(f"A time is a number of minutes, or a text like 2:00:00 or 90m, not {value!r}.")
    days, first, second, third = (int(part or 0) for part in clock.groups())
    if not clock[1] and not clock[3]:
        return first
    return (days * 24 + first) * 60 + second + (1 if third else 0)


def mebibytes(value: int | str) -> int:
    """MiB, rounded up, from a number of them or a text: 4096, "4G", "500M", "1.5 GiB"."""
    if not isinstance(value, str):
        return _count(value)
    found = _MEMORY.fullmatch(value.strip().lower())
    if not found:
        raise ValueError(f"Memory is a number of MiB, or a text like 4G or 500M, not {value!r}.")
    return math.ceil(float(found[1]) * _MEBIBYTES[found[2]])


def site_defaults(environ: Mapping[str, str]) -> EngineOptions:
    """The site's own defaults. Raises OptionsRefused when the hub handed on something that isn't options."""
    text = environ.get(SITE_DEFAULTS) or "{}"
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise OptionsRefused({SITE_DEFAULTS: f"must hold a JSON object, not {text!r}. Tell the operators."})
    return EngineOptions.from_mapping(given)


def own_job(environ: Mapping[str, str]) -> EngineOptions:
    """What the job that we run in was given; nothing outside of a job."""
    return EngineOptions(
        partition=environ.get("SLURM_JOB_PARTITION", ""),
        account=environ.get("SLURM_JOB_ACCOUNT", ""),
        qos=environ.get("SLURM_JOB_QOS", ""),
    )


def resolve(asked: EngineOptions, environ: Mapping[str, str]) -> EngineOptions:
    """Each value from the first that has it.

    The notebook's QOS is taken only with the notebook's partition and account: elsewhere it may be forbidden.
    """
    own = own_job(environ)
    wanted = asked.over(site_defaults(environ))
    same_place = wanted.partition in ("", own.partition) and wanted.account in ("", own.account)
    return wanted.over(own if same_place else replace(own, qos=""))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"This is a text, not {value!r}.")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError(f"This can't hold a control character: {value!r}.")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"This is True or False, not {value!r}.")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"This is a whole number from 0 up, not {value!r}.")
    return value
