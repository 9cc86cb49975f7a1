"""Which files a benchmark consists of: it need not run for a change in another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from benchmarks.shared.testbed import HERE
from tests.repository import REPO

PROGRAMS = [file for folder in (HERE, HERE / "node") for file in folder.iterdir() if file.is_file()]


def files_of(benchmark: str) -> list[str]:
    """Its module, the modules that this imports from benchmarks/, and the files that one of them names."""
    found, due = set[Path](), [HERE / f"{benchmark}.py"]
    while due:
        file = due.pop()
        if file not in found:
            found.add(file)
            due += _named_in(file) if file.suffix == ".py" else ()
    return sorted(str(file.relative_to(REPO)) for file in found)


def _named_in(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = file.parents[node.level - 1] / (node.module or "").replace(".", "/")
            names = [folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)]
            yield from (each for each in names if each.is_file())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (program for program in PROGRAMS if program.name == node.value)
