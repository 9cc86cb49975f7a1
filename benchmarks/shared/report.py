"""The result of a benchmark: its rows and the machine they were measured on, as JSON or as a table."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.demo.service import Demo
from cluster.demo.software import REPO
from cluster.layout import HUB

GIB = 1024**3


@dataclass(frozen=True)
class Row:
    """One number; `facts` are the circumstances under which it was measured."""

    subject: str
    metric: str
    value: float
    unit: str
    facts: Mapping[str, int | float | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The row as in the output of `--json`."""
        names = {"subject": self.subject, "metric": self.metric, "value": self.value, "unit": self.unit}
        return {**names, **self.facts}


def machine(demo: Demo) -> dict[str, Any]:
    """This machine, and the versions of what runs on the demo's hub node, which must be running."""
    releases = {
        "debian": ["cat", "/etc/debian_version"],
        "slurm": ["sinfo", "--version"],
        "python": ["/opt/flatirons/bin/python", "--version"],
        "jupyterhub": ["/opt/flatirons/bin/jupyterhub", "--version"],
    }
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "kernel": platform.release(),
        **{name: demo.exec(HUB, argv).stdout.strip().split(" ")[-1] for name, argv in releases.items()},
    }


def _cpu_model() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return models[0] if models else platform.machine()


def _commit() -> str:
    """The commit of the checkout, with a + if files differ from it; empty outside of git."""
    git = ["git", "-C", str(REPO), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip()


def as_json(name: str, about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The last line of the output with `--json`."""
    return json.dumps({"bench": name, "machine": about, "rows": [row.as_dict() for row in rows]})


def as_table(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The result as a table for people to read."""
    lines = [", ".join(f"{key} {value}" for key, value in about.items()), ""]
    for row in rows:
        facts = " ".join(f"{key}={value}" for key, value in row.facts.items())
        lines.append(f"{row.subject:<12}{row.metric:<34}{row.value:>10.2f} {row.unit:<6} {facts}".rstrip())
    return "\n".join(lines)
