"""The table of faults and counts, as it is printed and kept in the documentation."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/reference/faults.md"
HEAD = """\
# Faults, and what became of the servers

What `FLATIRONS_FULL=1 scripts/test tests/faults` measured: a hub with servers in every phase (up, waiting in
a full partition, just submitted, booting, being stopped, ending by themselves), a fault at a random moment.
After each repetition, within a minute of the mending: every notebook that Slurm runs is a ready server and
answers through the proxy; no job is without a server; no server is shown that has no job; every end has a
report with a true reason. `slowest` is the longest time, in seconds from the mending, until all of that held.

One thing was left out of "the hub's disk full", since it is JupyterHub's own: a start over whose first
commits the database fails is answered with 500, and shown as running until it is stopped or the hub ends.

`tests/faults/faults.py` says what each fault does.
"""


@dataclass
class Row:
    """What was seen of one fault."""

    name: str
    repetitions: int = 0
    servers: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    broken: int = 0

    def cells(self) -> tuple[str, ...]:
        ends = ", ".join(f"{count} {kind}" for kind, count in sorted(self.ends.items()))
        counts = (str(self.repetitions), str(self.servers), str(self.broken))
        return self.name, *counts, f"{self.slowest:.0f}", ends


@dataclass
class Table:
    """All rows, in the order in which the faults were tried."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """The row of a fault."""
        return self.rows.setdefault(name, Row(name))

    def markdown(self) -> str:
        """The table."""
        head = ("fault", "repetitions", "servers", "invariants broken", "slowest", "ends, by their reports")
        rows = [head, tuple("---" for _ in head), *(row.cells() for row in self.rows.values())]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def machine() -> str:
    """What it was measured on, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def write(table: Table) -> None:
    """Keeps the table in the documentation."""
    PAGE.write_text(f"{HEAD}\nMeasured on {time.strftime('%-d %B %Y')}: {machine()}.\n\n{table.markdown()}")
