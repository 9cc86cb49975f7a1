"""Where the site file is: what `--site` says, else an environment variable, else the usual place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

USUAL = "/etc/flatirons/site.toml"
VARIABLE = "FLATIRONS_SITE"


def add_site_option(parser: argparse.ArgumentParser) -> None:
    """Declares `--site`; its default is what the environment says at this moment."""
    text = f"the site file (default: ${VARIABLE}, or else {USUAL})"
    parser.add_argument("--site", default=os.environ.get(VARIABLE) or USUAL, metavar="FILE", help=text)


def advice_if_unreadable(path: str | Path) -> str:
    """What to add to the message that the file can't be read: who named it, or how to name it."""
    if str(path) == os.environ.get(VARIABLE):
        return f" (${VARIABLE} names this file)"
    if str(path) == USUAL:
        return f". Name your site file with --site FILE or in ${VARIABLE}, or put it there."
    return ""
