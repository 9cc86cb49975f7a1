"""The command line of `flatirons images`."""

from __future__ import annotations

import argparse

from flatirons.site.path import add_site_option


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares `list` and `check`."""
    listing = commands.add_parser("list", help="show the environments, their files and what is in them")
    listing.set_defaults(verb="list")
    checking = commands.add_parser("check", help="try each: server, kernels, binds, Slurm's commands, GPU")
    checking.add_argument("names", nargs="*", metavar="NAME", help="environments (default: all)")
    checking.add_argument(
        "--partition", "-p", default="", metavar="NAME", help="on a node of it, by srun; else here"
    )
    checking.add_argument(
        "--cluster",
        default="",
        metavar="NAME",
        help="Slurm cluster (default: with --partition the first, else all)",
    )
    checking.add_argument("--account", "-A", default="", metavar="NAME", help="Slurm account for srun")
    checking.add_argument("--qos", "-q", default="", metavar="NAME", help="Slurm QOS for srun")
    checking.add_argument(
        "--gpus",
        type=_gpus,
        metavar="[TYPE:]N",
        help="GPUs to ask srun for (default: 1 where one is needed)",
    )
    checking.add_argument(
        "--timeout",
        default=300,
        type=_seconds,
        metavar="SECONDS",
        help="for each, with its waiting (default: %(default)s)",
    )
    checking.set_defaults(verb="check")
    for each in (listing, checking):
        add_site_option(each)
        each.add_argument("--json", action="store_true", help="print JSON")


def _seconds(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 10 <= int(text) <= 86400):
        raise argparse.ArgumentTypeError(f"seconds from 10 to 86400 are expected, not {text!r}")
    return int(text)


def _gpus(text: str) -> str:
    kind, _, count = text.rpartition(":")
    if not (count.isdecimal() and count.isascii() and 0 < int(count) < 1000 and (kind or ":" not in text)):
        raise argparse.ArgumentTypeError(f"N or TYPE:N is expected, not {text!r}")
    return text
