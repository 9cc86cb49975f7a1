"""The command line of the image builder; `scripts/build` starts it."""

import argparse
import os
import signal
import sys

from cluster.demo import labextension
from cluster.errors import ClusterError

from . import base, recipe, schedule, stage
from .errors import BuildError

PANEL = "panel"
"""What to name for the compiled JupyterLab panel alone."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/build",
        description="Builds container images; prints the path of each, and nothing else, on stdout.",
    )
    parser.add_argument(
        "--suite",
        choices=recipe.SUITES,
        default=recipe.DEFAULT_SUITE,
        help="release of Debian (default: %(default)s)",
    )
    parser.add_argument(
        "--base",
        type=base.parse,
        help="the base instead of a new Debian tree: docker://debian:trixie, oras://REGISTRY/NAME:TAG, "
        "oci-archive:FILE, docker-archive:FILE or localimage:FILE; it must be of the suite",
    )
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="stages at once (default: %(default)s)"
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help=f"{', '.join(recipe.IMAGES)} (default: all), or alone `{PANEL}`: the compiled JupyterLab panel",
    )
    return parser.parse_args()


def main() -> int:
    """Builds the images on the command line; a BuildError becomes one sentence and exit code 1."""
    arguments = _arguments()
    # As after Ctrl-C, running builds are ended and cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.umask(0o022)
    try:
        if os.geteuid() != 0:
            raise BuildError("this needs root, because file trees have files of many users")
        panel = labextension.built()
        if arguments.images == [PANEL]:
            print(panel)
            return 0
        names = dict.fromkeys(arguments.images or recipe.IMAGES)
        wanted = [recipe.image(name, arguments.suite, arguments.base or "", panel) for name in names]
        failed = schedule.build(wanted, max(1, arguments.jobs))
        for image in wanted:
            if image not in failed:
                print(stage.ensure(image), flush=True)
        if failed:
            names_failed = ", ".join(image.name for image in failed)
            raise BuildError(f"these images failed: {names_failed}; complete stages are kept")
    except (BuildError, ClusterError) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
