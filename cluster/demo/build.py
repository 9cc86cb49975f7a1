"""Builds what a demo needs and the cache lacks, in parallel where that is faster."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..prerequisites import require_root
from ..tree import ensure_tree
from . import software
from .progress import Progress, run_logged
from .service import Software


def build(progress: Progress, suite: str = "trixie", more_images: Sequence[str] = ()) -> Software:
    """The software of a demo: first the file tree and the tools, then, on the tree, the hub and the images.

    `more_images` are built besides `base`. `FLATIRONS_IMAGE_FILE` names a file to use instead of `base`.
    """
    require_root()
    with ThreadPoolExecutor(3) as pool:
        tree = pool.submit(_tree, progress, suite)
        tools = pool.submit(_tools, progress)
        images = pool.submit(_images, progress, tree, suite, more_images)
        hub = pool.submit(_hub, progress, tree, tools)
        wait([tree, tools, images, hub], return_when=FIRST_EXCEPTION)
        image, *more = images.result()
        others = dict(zip(more_images, more, strict=True))
        return Software(suite, tree=tree.result(), hub=hub.result(), image=image, more_images=others)


def _tree(progress: Progress, suite: str) -> Path:
    with progress.step("file tree of the nodes"):
        return ensure_tree(suite)


def _tools(progress: Progress) -> Path:
    with progress.step("tools"):
        software.tools()
        return software.proxy()


def _hub(progress: Progress, tree: Future[Path], tools: Future[Path]) -> Path:
    tools.result()
    place = tree.result()
    with progress.step("hub"):
        return software.hub(place)


def _images(progress: Progress, tree: Future[Path], suite: str, more: Sequence[str]) -> list[Path]:
    """The file of `base`, then those of the others; `scripts/build` builds them in parallel."""
    given = os.environ.get("FLATIRONS_IMAGE_FILE")
    wanted = [*([] if given else ["base"]), *more]
    printed: list[str] = []
    if wanted:
        tree.result()
        with progress.step("image" if wanted == ["base"] else f"images {', '.join(wanted)}"):
            command = [str(software.REPO / "scripts/build"), "--suite", suite, *wanted]
            printed = run_logged(command, "building the images").splitlines()
    return [Path(line) for line in ([given] if given else []) + printed]
