"""Prints the logs of the nodes' daemons."""

import sys
from pathlib import Path
from typing import TextIO

from .errors import ClusterError
from .state import Instance


def _print(title: str, file: Path, to: TextIO) -> None:
    text = file.read_text(errors="replace").rstrip()
    if text:
        print(f"==> {title} <==\n{text}\n", file=to)


def show(instance: Instance, only: str | None = None, to: TextIO = sys.stdout) -> None:
    """Prints every log of every node, or of one node, each below a title."""
    nodes = [node.name for node in instance.settings().site.nodes]
    if only and only not in nodes:
        raise ClusterError(f"there is no node {only}; there are {', '.join(nodes)}")
    for name in [only] if only else nodes:
        own = instance.node(name)
        for file in [own / "console", *sorted((own / "shared" / "log").glob("*"))]:
            if file.exists():
                _print(f"{name}: {file.name}", file, to)
