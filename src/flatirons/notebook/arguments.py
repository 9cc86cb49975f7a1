"""The command line of `flatirons notebook`: options by the names that sbatch gives them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from flatirons.errors import OptionsRefused
from flatirons.forms import Duration, Field, Integer, Memory
from flatirons.site.path import add_site_option
from flatirons.slurm_form.fields import FIELDS, NAMES
from flatirons.slurm_form.gpus import Gpus

INTERRUPTED = 130  # exit code, as of a shell, for Ctrl-C

ABOUT = """\
Start JupyterLab as a Slurm job, in the image of the environment that you choose, and say how to reach it from
your own machine. Ctrl-C ends it. What you don't say is as in the hub's form."""

METAVARS: Mapping[type[Field], str] = {Gpus: "[TYPE:]N", Integer: "N", Memory: "SIZE", Duration: "TIME"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares them all."""
    parser.description = ABOUT
    add_site_option(parser)
    for each in FIELDS:
        metavar = next((text for kind, text in METAVARS.items() if isinstance(each.field, kind)), "NAME")
        about = f"{each.about}: {', '.join(each.examples)}" if each.examples else each.about
        parser.add_argument(*each.flags, dest=f"option_{each.name}", metavar=metavar, help=about)
    parser.add_argument(
        "--gpus", "-G", metavar="[TYPE:]N", help="GPUs of all nodes; the same while there is one node"
    )
    parser.add_argument(
        "--gres", type=_gres, dest="option_gpus", metavar="gpu:[TYPE:]N", help="the same in other words"
    )
    parser.add_argument(
        "--option",
        dest="own",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_pair,
        help="an option of the site's own form",
    )
    parser.add_argument("--detach", action="store_true", help="return once Slurm has the job; it lives on")
    parser.add_argument(
        "--local-port",
        type=_port,
        metavar="N",
        help="your own machine's end of the tunnel (default: the same)",
    )
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument("--list", action="store_true", help="show your notebooks, with their addresses")
    verbs.add_argument(
        "--stop",
        nargs="?",
        type=_job,
        const=0,
        metavar="JOB",
        help="end one of them; without JOB the only one",
    )


def options(arguments: argparse.Namespace) -> dict[str, str]:
    """What was said of the form's options, by their names there; raises OptionsRefused."""
    said = {name: getattr(arguments, f"option_{name}") for name in NAMES}
    given: dict[str, str] = {name: value for name, value in said.items() if value is not None}
    if arguments.gpus is not None:
        if given.get("nodes", "1") != "1":
            raise OptionsRefused({"gpus": "With several nodes, say how many GPUs each has: --gpus-per-node."})
        given["gpus"] = arguments.gpus
    return {**given, **dict(arguments.own)}


def as_typed(messages: Mapping[str, str]) -> dict[str, str]:
    """Messages by the flags that people typed, instead of by the form's names."""
    flags = {each.name: each.flags[0] for each in FIELDS}
    return {flags.get(name, f"--option {name}"): text for name, text in messages.items()}


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"NAME=VALUE is expected, not {text!r}")
    return name, value


def _gres(text: str) -> str:
    kind, _, gpus = text.partition(":")
    if kind != "gpu":
        raise argparse.ArgumentTypeError(f"gpu:N or gpu:TYPE:N is expected, not {text!r}")
    return gpus or "1"


def _port(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 1024 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port from 1024 to 65535 is expected, not {text!r}")
    return int(text)


def _job(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 0 < int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"the number of a job is expected, not {text!r}")
    return int(text)
