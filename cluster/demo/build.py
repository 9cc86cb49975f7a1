"""Builds what a demo needs and the cache lacks, side by side where that helps."""

import os
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..prerequisites import require_root
from ..tree import ensure_tree
from . import software
from .progress import Progress, run_logged
from .service import Software


def build(progress: Progress, suite: str = "trixie") -> Software:
    """The software of a demo. First the tree and the tools, then, on the tree, the hub and the image.

    `FLATIRONS_IMAGE_FILE` names an image file to use instead of building one.
    """
    require_root()
    with ThreadPoolExecutor(3) as pool:
        tree = pool.submit(_tree, progress, suite)
        tools = pool.submit(_tools, progress)
        image = pool.submit(_image, progress, tree, suite)
        hub = pool.submit(_hub, progress, tree, tools)
        futures: list[Future[Path]] = [tree, tools, image, hub]
        wait(futures, return_when=FIRST_EXCEPTION)
        return Software(suite, tree=tree.result(), hub=hub.result(), image=image.result())


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


def _image(progress: Progress, tree: Future[Path], suite: str) -> Path:
    given = os.environ.get("FLATIRONS_IMAGE_FILE")
    if given:
        return Path(given)
    tree.result()
    with progress.step("image"):
        command = [str(software.REPO / "scripts/build"), "--suite", suite, "base"]
        printed = run_logged(command, "building the image")
        return Path(printed.strip().splitlines()[-1])
