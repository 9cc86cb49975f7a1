"""The command line of the image builder; `scripts/build` starts it."""

import argparse
import os
import signal
import sys
import time

from . import progress, recipe, stage
from .errors import BuildError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/build",
        description="Builds container images; prints the path of each, and nothing else, on stdout.",
    )
    parser.add_argument(
        "--suite",
        choices=recipe.SUITES,
        default=recipe.DEFAULT_SUITE,
        help="of Debian (default: %(default)s)",
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help=f"{', '.join(recipe.IMAGES)} (default: all)"
    )
    return parser.parse_args()


def main() -> int:
    """Builds what the command line names; a BuildError becomes one sentence and exit code 1."""
    arguments = _arguments()
    # As Ctrl-C does: the build under way is ended and cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.umask(0o022)
    try:
        if os.geteuid() != 0:
            raise BuildError("images are built as root: file trees have files of many users")
        wanted = [recipe.image(name, arguments.suite) for name in arguments.images or recipe.IMAGES]
        for image in wanted:
            started = time.monotonic()
            place = stage.ensure(image)
            if time.monotonic() - started > 1:
                size = place.stat().st_size / 1e6
                progress.say(f"{place.name}: {size:.0f} MB in {time.monotonic() - started:.0f} s")
            print(place, flush=True)
    except BuildError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
