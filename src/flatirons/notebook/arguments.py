"""The command line of `flatirons notebook`, whose options have the names that sbatch gives them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from flatirons.errors import OptionsRefused
from flatirons.forms import Checkbox, Duration, Field, Integer, Memory, Number
from flatirons.site.path import add_site_option
from flatirons.slurm_form.fields import FIELDS, SlurmField
from flatirons.slurm_form.gpus import Gpus

INTERRUPTED = 130  # exit code, as of a shell, for Ctrl-C

ABOUT = """\
Start JupyterLab as a Slurm job, in the image of the environment that you choose, and show how to reach it
from your own machine. Ctrl-C ends it. Options that you leave out have the defaults of the hub's form."""

METAVARS: Mapping[type[Field], str] = {
    Gpus: "[TYPE:]N",
    Integer: "N",
    Number: "NUMBER",
    Memory: "SIZE",
    Duration: "TIME",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares all options."""
    parser.description = ABOUT
    add_site_option(parser)
    for each in FIELDS:
        _add_field(parser, each)
    _add_other_options(parser)
    _add_actions(parser)


def _add_field(parser: argparse.ArgumentParser, each: SlurmField) -> None:
    """Declares a field's option. That of a box takes no value, and has a second form with `--no-`."""
    about = f"{each.about}: {', '.join(each.examples)}" if each.examples else each.about
    dest = f"option_{each.name}"
    if isinstance(each.field, Checkbox):
        parser.add_argument(*each.flags, dest=dest, action=argparse.BooleanOptionalAction, help=about)
        return
    metavar = next((text for kind, text in METAVARS.items() if isinstance(each.field, kind)), "NAME")
    parser.add_argument(*each.flags, dest=dest, metavar=metavar, help=about)


def _add_other_options(parser: argparse.ArgumentParser) -> None:
    """Options of the job that aren't fields of the standard form, and those of the command itself."""
    add = parser.add_argument
    add("--gpus", "-G", metavar="[TYPE:]N", help="GPUs on all nodes together; for jobs of one node only")
    add("--gres", type=_gres, dest="option_gpus", metavar="gpu:[TYPE:]N", help="same as --gpus-per-node")
    own = "a field that the site added to the form; may be repeated"
    add("--option", dest="own", metavar="NAME=VALUE", action="append", default=[], type=_pair, help=own)
    add("--detach", action="store_true", help="return when Slurm has accepted the job, which keeps running")
    tunnel = "port of the tunnel on your own machine (default: same as the server's)"
    add("--local-port", type=_port, metavar="N", help=tunnel)


def _add_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--list", action="store_true", help="list your notebooks with their addresses")
    about = "stop this notebook; without JOB, the only one"
    actions.add_argument("--stop", nargs="?", type=_job, const=0, metavar="JOB", help=about)


def options(arguments: argparse.Namespace) -> dict[str, str]:
    """The options of the form that were given, by their names there; raises OptionsRefused."""
    values = {each: getattr(arguments, f"option_{each.name}") for each in FIELDS}
    given = {each.name: _text(each, value) for each, value in values.items() if value is not None}
    if arguments.gpus is not None:
        if given.get("nodes", "1") != "1":
            raise OptionsRefused({"gpus": "With several nodes, say how many GPUs each has: --gpus-per-node."})
        given["gpus"] = arguments.gpus
    return {**given, **dict(arguments.own)}


def _text(each: SlurmField, given: str | bool) -> str:
    return each.field.write(given) if isinstance(given, bool) else given


def as_typed(messages: Mapping[str, str]) -> dict[str, str]:
    """Messages by the flags that people typed instead of by the form's names."""
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
