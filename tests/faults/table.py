"""The table of faults and counts, as it is printed and stored in the documentation."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.repository import REPO

PAGE = REPO / "docs/reference/faults.md"
HEAD = (
    *("fault", "repetitions", "servers", "invariants broken", "slowest", "ends, by their reports"),
    *("phases hit, in how many repetitions", "seed", "measured"),
)


@dataclass
class Row:
    """The results of one fault; `hit`: for each phase, in how many repetitions it hit a server in it."""

    name: str
    seed: int = 0
    repetitions: int = 0
    servers: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    broken: int = 0

    def cells(self) -> tuple[str, ...]:
        """The cells of the columns in HEAD."""
        counts = (str(self.repetitions), str(self.servers), str(self.broken), f"{self.slowest:.0f}")
        return self.name, *counts, _counted(self.ends), _counted(self.hit), str(self.seed), measured()


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


@dataclass
class Table:
    """All rows, in the order in which the faults were tried."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, name: str, seed: int) -> Row:
        """The row of a fault, whose random moments come from this seed."""
        return self.rows.setdefault(name, Row(name, seed))

    def markdown(self) -> str:
        """The table."""
        return _markdown(row.cells() for row in self.rows.values())


def _markdown(rows: Iterable[tuple[str, ...]]) -> str:
    every = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every) + "\n"


def measured() -> str:
    """The date, and the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {memory:.0f} GiB"


def merged(page: str, table: Table, order: Iterable[str]) -> str:
    """The page with this table's rows in place of earlier ones; the rest of it stays unchanged.

    Rows are in `order`; those of faults that it doesn't name are dropped. ValueError for a page without a
    table of these columns.
    """
    lines = page.splitlines()
    head = _markdown(()).splitlines()
    try:
        first = lines.index(head[0])
    except ValueError:
        raise ValueError(f"the page has no table that begins with {head[0]!r}") from None
    last = next((n for n, line in enumerate(lines[first:], first) if not line.startswith("|")), len(lines))
    earlier = (tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines[first + 2 : last])
    rows = {cells[0]: cells for cells in earlier} | {name: row.cells() for name, row in table.rows.items()}
    whole = _markdown(rows[name] for name in order if name in rows).splitlines()
    return "\n".join([*lines[:first], *whole, *lines[last:]]) + "\n"


def write(table: Table, order: Iterable[str], page: Path = PAGE) -> None:
    """Writes the table into the documentation."""
    page.write_text(merged(page.read_text(), table, order))
