"""What a benchmark runs on: a separate virtual cluster with a hub, which is removed at the end."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.demo.build import build
from cluster.demo.progress import Progress
from cluster.demo.service import Demo, free_port
from cluster.demo.software import hub_with
from cluster.layout import HUB
from cluster.state import Bind
from cluster.tree import RUN

from .report import Row

HERE = Path(__file__).parent.parent
PEERS = HERE / "peers.txt"


class BenchFailure(Exception):
    """One sentence that says why nothing could be measured."""


@dataclass(frozen=True)
class Result:
    """What a benchmark returns."""

    machine: Mapping[str, Any]
    rows: Sequence[Row]


@contextmanager
def running_testbed(
    progress: Progress, site: Path, nodes: int = 3, *, binds: Sequence[Bind] = ()
) -> Iterator[Demo]:
    """A running demo with this site file and the peers' software in /opt/peers.

    `nodes` is the number of compute nodes of the cluster summit. `binds` are further directories and files
    that the nodes see.
    """
    _stop_abandoned()
    built = build(progress)
    with progress.step("peers"):
        peers = hub_with(built.tree, PEERS)
    demo = Demo(f"bench-{os.getpid()}", free_port(), site)
    with progress.step("virtual cluster and hub"):
        demo.up(built, nodes, binds=[Bind(str(peers), "/opt/peers", False), *binds])
    try:
        yield demo
    finally:
        demo.down()
    demo.forget()  # only after success: the logs of a failure are kept


def _stop_abandoned() -> None:
    """Stops the clusters of benchmarks that were killed."""
    for directory in RUN.glob("bench-*"):
        owner = directory.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            Demo(directory.name).down()


def run_script(
    demo: Demo, node: str, script: str, *arguments: str, stdin: str = "", deadline_s: float = 60
) -> str:
    """The stdout of a shell script that runs as root on a node; BenchFailure if it fails."""
    argv = ["sh", "-ec", script, "sh", *arguments]
    try:
        done = demo.exec(node, argv, stdin=stdin, deadline_s=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"a step on {node} took longer than {deadline_s:g} s") from error
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BenchFailure(f"a step on {node} failed with exit code {done.returncode}: {output}")
    return done.stdout


def run_script_in_hub(demo: Demo, script: str, *arguments: str, stdin: str = "") -> str:
    """The same on the hub node."""
    return run_script(demo, HUB, script, *arguments, stdin=stdin)
