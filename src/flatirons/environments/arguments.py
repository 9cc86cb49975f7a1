"""The command line of `flatirons images`."""

from __future__ import annotations

import argparse

from flatirons.site.path import add_site_option


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares `list` and `check`."""
    listing = commands.add_parser("list", help="show the environments, their files and their contents")
    listing.set_defaults(verb="list")
    checking = commands.add_parser("check", help="test each: server, kernels, binds, Slurm's commands, GPU")
    checking.set_defaults(verb="check")
    _add_check_options(checking)
    for each in (listing, checking):
        add_site_option(each)
        each.add_argument("--json", action="store_true", help="print JSON")


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="environments (default: all)")
    add(
        "--partition",
        "-p",
        default="",
        metavar="NAME",
        help="check on a node of this partition, through srun (default: on this machine)",
    )
    add(
        "--cluster",
        default="",
        metavar="NAME",
        help="Slurm cluster (default: the first with --partition, all without)",
    )
    add("--account", "-A", default="", metavar="NAME", help="Slurm account for srun")
    add("--qos", "-q", default="", metavar="NAME", help="Slurm QOS for srun")
    gpus_help = "GPUs to request from srun (default: 1 if the environment needs one)"
    add("--gpus", type=_gpus, metavar="[TYPE:]N", help=gpus_help)
    timeout_help = "limit for each environment, with the time in the queue (default: %(default)s)"
    add("--timeout", default=300, type=_seconds, metavar="SECONDS", help=timeout_help)


def _seconds(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 10 <= int(text) <= 86400):
        raise argparse.ArgumentTypeError(f"expected seconds from 10 to 86400, not {text!r}")
    return int(text)


def _gpus(text: str) -> str:
    gpu_type, _, count = text.rpartition(":")
    is_count = count.isdecimal() and count.isascii() and 0 < int(count) < 1000
    if not is_count or (":" in text and not gpu_type):
        raise argparse.ArgumentTypeError(f"expected N or TYPE:N, not {text!r}")
    return text
