"""A user's notebook server on the virtual cluster."""

from __future__ import annotations

import json
import re
from typing import Any

from cluster.demo.visitor import Visitor
from tests.conftest import RealCluster
from tests.repository import REPO

DOCS = REPO / "docs"
# All options that matter, because the form begins with the user's last choices, perhaps of another test.
SERVER = {
    "environment": "python",
    "cluster": "summit",
    "partition": "shas",
    "account": "ucb-general",
    "runtime": "30m",
    "cpus": "1",
    "memory": "4G",
    "python_path": "",
}


def start_server(visitor: Visitor, **options: str) -> None:
    visitor.submit_form(**{**SERVER, **options})
    assert list(visitor.progress())[-1].get("ready")


def last_json(printed: str) -> Any:
    """The last value that a cell printed."""
    return json.loads(printed.strip().rpartition("\n")[2])


def blocks(page: str, language: str = "python") -> list[str]:
    """The blocks of a language on a page of the documentation."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def command_lines(cluster: RealCluster, *hosts: str) -> str:
    """The command lines of all processes of some nodes."""
    return "".join(cluster.exec(host, ["ps", "-e", "-o", "args"]).stdout for host in hosts)
