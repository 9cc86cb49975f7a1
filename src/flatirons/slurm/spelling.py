"""By which options of sbatch and srun a cluster takes the resources of a job: what a site says of it; pure.

Slurm has several options for the same thing, and some sites' plugins admit only one of them. `slurm.sizes`
writes the options.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

NONE = "none"
MEMORY = ("--mem", "--mem-per-cpu", "--mem-per-gpu", NONE)
CPUS = ("--cpus-per-task", "--cores-per-socket", "--tres-per-task")
GPUS = ("--gres", "--gpus", "--gpus-per-node", "--gpus-per-task", "--tres-per-task", "--constraint")
SETTINGS = ("sbatch_memory", "sbatch_cpus", "sbatch_gpus", "sbatch_constraint")
"""The settings of a cluster from which its spelling is made."""

_LONG = {"-c": "--cpus-per-task", "-G": "--gpus", "-C": "--constraint"}


@dataclass(frozen=True, slots=True)
class Spelling:
    """The options for each resource; "" and () stand for the usual ones.

    `memory` is one of MEMORY; with NONE no job asks for memory, nor does one in the partitions
    `without_memory`. `cpus` and `gpus` are from CPUS and GPUS; each of the options is given. With
    "--constraint" the type of the GPUs is demanded as a feature of the nodes, and isn't named elsewhere.
    `features` are those that the nodes of all jobs must have; "--constraint=FEATURES" in `gpus` takes their
    place for jobs with GPUs.
    """

    memory: str = ""
    cpus: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    features: str = ""
    without_memory: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The spelling in the settings of a cluster. Raises ValueError for an option that can't be used."""
        memory, cpus, gpus, features = (settings.get(name) or "" for name in SETTINGS)
        return cls(
            next(iter(options(memory, MEMORY)), ""),
            options(cpus, CPUS),
            options(gpus, GPUS),
            str(features),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The spelling that `as_text` wrote, in another release perhaps; the usual one for any other text."""
        try:
            given = json.loads(text or "{}")
            memory, features = (str(given.get(key, "")) for key in ("memory", "features"))
            cpus, gpus, without = (
                tuple(map(str, given.get(key, ()))) for key in ("cpus", "gpus", "without_memory")
            )
        except (ValueError, TypeError, AttributeError):
            return cls()
        return cls(memory, cpus, gpus, features, frozenset(without))

    def as_text(self) -> str:
        """The spelling as a text, "" for the usual one."""
        given = {**asdict(self), "without_memory": sorted(self.without_memory)}
        given = {key: value for key, value in given.items() if value}
        return json.dumps(given) if given else ""

    @property
    def options(self) -> frozenset[str]:
        """The options that are used here instead of the usual ones."""
        named = [self.memory, *self.cpus, *self.gpus, "--constraint" if self.features else ""]
        return frozenset(each.partition("=")[0] for each in named) - {"", NONE}

    def takes_memory(self, partition: str) -> bool:
        """May a job in the partition, or in one of several, ask for memory?"""
        return self.memory != NONE and self.without_memory.isdisjoint(partition.split(","))

    def without_memory_in(self, partitions: Iterable[str]) -> Self:
        """This spelling, on a cluster that doesn't count memory in these partitions."""
        return replace(self, without_memory=self.without_memory | frozenset(partitions))


USUAL = Spelling()


def options(given: str | Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """One option or several by their long names. Raises ValueError unless all are known.

    "--constraint" may have a value.
    """
    found = []
    for each in [given] if isinstance(given, str) else given:
        short, sign, value = str(each).partition("=")
        name = _LONG.get(short, short)
        if each and (name not in known or (sign and (name, bool(value)) != ("--constraint", True))):
            expected = ", ".join(f'"{option}"' for option in known)
            raise ValueError(f"one of {expected} is expected, not {each!r}")
        found += [f"{name}{sign}{value}"] if each else []
    return tuple(found)
