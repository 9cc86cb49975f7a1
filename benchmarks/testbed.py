"""What benchmarks run on: a virtual cluster of their own with a hub, taken down at the end."""

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

HERE = Path(__file__).parent
PEERS = HERE / "peers.txt"


class BenchFailure(Exception):
    """One sentence on why nothing could be measured."""


@dataclass(frozen=True)
class Findings:
    """What a benchmark gives back."""

    machine: Mapping[str, Any]
    rows: Sequence[Row]


@contextmanager
def stage(
    progress: Progress,
    site: Path,
    nodes: int = 3,
    *,
    with_image: bool = True,
    binds: Sequence[Bind] = (),
) -> Iterator[Demo]:
    """A demo with that site file and the peers' software at /opt/peers, booted, and gone afterwards.

    `nodes` is how many compute nodes its cluster summit has; a benchmark without containers needs no image.
    `binds` are seen by the nodes besides.
    """
    if not with_image:
        os.environ["FLATIRONS_IMAGE_FILE"] = os.devnull
    _end_forgotten()
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
    demo.forget()  # after a failure the logs stay


def _end_forgotten() -> None:
    """Takes down what a benchmark that was killed left behind."""
    for place in RUN.glob("bench-*"):
        owner = place.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            Demo(place.name).down()


def do(demo: Demo, node: str, script: str, *arguments: str, stdin: str = "", deadline_s: float = 60) -> str:
    """What a shell script of ours prints, run as root in a node; BenchFailure when it fails."""
    argv = ["sh", "-ec", script, "sh", *arguments]
    try:
        done = demo.exec(node, argv, stdin=stdin, deadline_s=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"a step on {node} took longer than {deadline_s:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise BenchFailure(f"a step on {node} failed with {done.returncode}: {said}")
    return done.stdout


def in_hub(demo: Demo, script: str, *arguments: str, stdin: str = "") -> str:
    """The same in the hub node."""
    return do(demo, HUB, script, *arguments, stdin=stdin)
