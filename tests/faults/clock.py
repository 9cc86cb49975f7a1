"""A node whose clock is a minute fast, for all processes that start in it from now on.

Linux has no namespace for the time of day, so /etc/ld.so.preload loads libfaketime into every program of the
node, including sudo and Slurm's daemons, which ignore LD_PRELOAD.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.demo.build_cache import ensure
from tests.faults.world import World

LIBRARY = "libfaketimeMT.so.1"
PACKAGE = "libfaketime"


def library() -> Path:
    """The library, from the host's own Debian; it needs no newer C library than the nodes have."""
    return ensure(PACKAGE, [PACKAGE], _fetch) / LIBRARY


def _fetch(place: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ["-o", "APT::Sandbox::User=root"]
        subprocess.run(
            ["apt-get", "-q", *options, "download", PACKAGE], cwd=folder, check=True, capture_output=True
        )
        [package] = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", str(package), "."], cwd=folder, check=True)
        [found] = Path(folder).rglob(LIBRARY)
        shutil.copyfile(found, place / LIBRARY)


def put_forward(world: World, node: str, seconds: int) -> None:
    """Processes that start in the node from now on see a clock that is this much fast."""
    place = Path("/usr/local/lib") / LIBRARY
    shared = world.demo.instance.node(node) / "shared"
    shutil.copyfile(library(), shared / LIBRARY)
    world.root(
        node,
        f"install -m 755 /run/flatirons/{LIBRARY} {place}; echo +{seconds}s > /etc/faketimerc; "
        f"echo {place} > /etc/ld.so.preload",
    )


def put_right(world: World, node: str) -> None:
    """Processes that start in the node from now on see the right time again."""
    world.root(node, "rm /etc/ld.so.preload /etc/faketimerc")
