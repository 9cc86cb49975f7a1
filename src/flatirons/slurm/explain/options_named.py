"""Which options of sbatch one of its sentences is about; pure.

Source: getopt_long(3), and slurm_errno.c, slurm_opt.c and job_mgr.c of Slurm 24.11.
"""

from __future__ import annotations

import re

_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_CORES = ("cpus-per-task", "ntasks", "ntasks-per-node", "nodes", "cpus-per-gpu", "mincpus")
_GPUS = ("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "tres-per-task")

_SUBJECTS: dict[str, tuple[str, ...]] = {
    "Invalid account or account/partition": ("account", "partition"),
    "partition configuration not available": ("partition", *_CORES, *_MEMORY),
    "time limit": ("time", "time-min", "partition"),
    "Memory specification": _MEMORY,
    "Memory required by task": _MEMORY,
    "CPU count": _CORES,
    "More processors requested": _CORES,
    "Node count": ("nodes", "ntasks"),
    "Requested node configuration": ("nodes", *_CORES, *_MEMORY, *_GPUS),
    "generic resource": _GPUS,
    "Trackable RESource": _GPUS,
    "feature specification": ("constraint",),
    "reservation": ("reservation",),
    "partition": ("partition",),
    "qos": ("qos",),
    "account": ("account",),
    "icense": ("licenses",),
    "array": ("array",),
    "dependency": ("dependency",),
    "node name": ("nodelist", "exclude"),
    "wckey": ("wckey",),
    "mcs_label": ("mcs-label",),
    "begin": ("begin",),
}
"""A part of a sentence, and the options that it is about. Of several, the one that stands first counts."""

_LETTER = re.compile(r"option(?: requires an argument)? -- '?([A-Za-z])\b")
_NAME = re.compile(r"--([a-z][a-z-]+)")


def options_named(sentence: str) -> tuple[str, ...]:
    """The options, the likeliest first, as long names or single letters; none if it names none."""
    if letter := _LETTER.search(sentence):
        return (letter[1],)
    if name := _NAME.search(sentence):
        return (name[1],)
    lower = sentence.lower()
    found = [(lower.find(part.lower()), -len(part), part) for part in _SUBJECTS]
    _, _, first = min((each for each in found if each[0] >= 0), default=(0, 0, ""))
    return _SUBJECTS.get(first, ())
