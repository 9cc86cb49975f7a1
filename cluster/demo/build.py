"""Builds what a demo needs and the cache lacks, in parallel where that is faster."""

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ..errors import ClusterError
from ..prerequisites import require_root
from ..recipe import APPTAINER_SUITES
from ..tree import ensure_tree
from . import labextension, software
from .progress import Progress, run_logged
from .service import Software


def build(progress: Progress, suite: str = "trixie", more_images: Sequence[str] = ()) -> Software:
    """The software of a demo: first the file tree and the tools, then, on the tree, the hub and the images.

    `more_images` are built besides `base`. `FLATIRONS_IMAGE_FILE` names a file to use instead of `base`.
    For a suite without Apptainer the packages of `base` are installed on the nodes, and `more_images` are a
    ClusterError.
    """
    require_root()
    has_images = suite in APPTAINER_SUITES
    if more_images and not has_images:
        raise ClusterError(f"the suite {suite} has no Apptainer to run {', '.join(more_images)}")
    with ThreadPoolExecutor(3) as pool:
        tree = pool.submit(_tree, progress, suite)
        tools = pool.submit(_tools, progress)
        hub = pool.submit(_hub, progress, tree, tools)
        if not has_images:
            notebook = pool.submit(_notebook, progress, tree, hub)
            wait([tree, tools, hub, notebook], return_when=FIRST_EXCEPTION)
            return Software(suite, tree.result(), hub.result(), notebook=notebook.result())
        images = pool.submit(_images, progress, tree, suite, more_images)
        wait([tree, tools, images, hub], return_when=FIRST_EXCEPTION)
        return Software(suite, tree.result(), hub.result(), _by_name(images.result(), more_images))


def _by_name(files: Sequence[Path], more: Sequence[str]) -> dict[str, Path]:
    return dict(zip(["base", *more], files, strict=True))


def _notebook(progress: Progress, tree: Future[Path], hub: Future[Path]) -> Path:
    place = hub.result()
    with progress.step("notebook server of the nodes"):
        return software.notebook(tree.result(), place)


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
        return software.hub(place, labextension.built())


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
