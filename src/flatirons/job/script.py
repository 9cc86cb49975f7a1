"""Writes job scripts. All quoting for the shell of a script is done here.

`notebook` writes the script of a notebook server. `compose` and `quote` serve all other scripts. The only
other text that is quoted for a shell is the one that `runner.OverSsh` gives to ssh.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.resources import files

from flatirons.job.program import compact

_END = "FLATIRONS_END_OF_STARTER"
ISOLATED = ("-X", "utf8", "-I", "-S")
"""Options of a node's Python, with which only its standard library counts.

Neither a random.py in the working directory, nor PYTHONPATH, nor the packages of the node's Python can
interfere. Paths are UTF-8 whatever the locale of the job is.
"""
PARTS = ("interpreter", "kinds", "profile", "http", "json_text", "calls", "log", "ports", "child", "starter")
"""Modules of job/node/, each after those that it imports."""

LATER = ("memory", "usage")
"""More of these, which the starter compiles only when the server is up."""


@dataclass(frozen=True, slots=True)
class StarterConfig:
    """What the starter knows before its first call. `code` is its only secret, and works once.

    Without a hub (`flatirons notebook`) `record` is the path of the file that replaces it (~/...), and there
    is no secret. `listen` are arguments added to the command, in which {address} and {port} stand for where
    the server has to listen. A server of the hub gets these by its environment instead.
    """

    hub: str  # URL of the hub's API as the node reaches it, such as http://hub:8081/hub/api
    code: str
    command: Sequence[str]  # argv of the container with the server's command in it
    image: str = ""  # a file that the starter checks before it runs the command
    prologue: str = ""  # the operator's shell lines, such as module loads
    ports: tuple[int, int] | None = None  # first and last port of the range; None: any
    environment: Mapping[str, str] = field(default_factory=dict)
    # variables that the server gets only from `environment` or the hub, never from the node
    forgotten: Sequence[str] = ()
    hub_deadline: float = 600.0  # seconds for which a call is repeated while the hub doesn't answer
    record: str = ""
    listen: Sequence[str] = ()


def starter_text() -> str:
    """The starter with all the modules that it needs, as one text."""
    return program_text(*(f"flatirons.job.node.{part}" for part in PARTS))


@cache
def kernel_settings() -> str:
    """The settings of Jupyter with which neighbours on the node can't read a server's kernels."""
    return (files("flatirons.job.node") / "kernel_transport.py").read_text(encoding="utf-8")


@cache
def usage_text() -> str:
    """What the starter needs to tell the hub how much memory the server uses, besides its own text."""
    return program_text(*(f"flatirons.job.node.{part}" for part in LATER))


@cache
def program_text(*modules: str) -> str:
    """Several modules as one text, without their imports from job/node/; the last is the program."""
    places = (module.rpartition(".") for module in modules)
    texts = [(files(package) / f"{name}.py").read_text(encoding="utf-8") for package, _, name in places]
    return compact(texts)


def notebook(config: StarterConfig, python: str = "python3") -> str:
    """The job script of a notebook server: a shell line that passes the starter's text to Python.

    The text is in a quoted here-document, in which the shell expands nothing. The configuration is a Python
    literal of ASCII characters only. So no shell ever reads a character of an option.
    """
    body = f"CONFIG = {_values(config)!a}\n{starter_text()}"
    if _END in body:
        raise ValueError(f"the text {_END} can't be part of an option")
    return f"#!/bin/bash\nexec {quote([python, *ISOLATED, '-'])} <<'{_END}'\n{body}\n{_END}\n"


def _values(config: StarterConfig) -> dict[str, object]:
    """The configuration by its names, in types that JSON and Python's literals have."""
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    values |= {"kernel_settings": kernel_settings(), "usage": usage_text()}
    known: dict[str, object] = json.loads(json.dumps(values, sort_keys=True, default=dict))
    return known


def quote(argv: Sequence[str]) -> str:
    """One shell line that runs exactly this argv; raises ValueError for a NUL character."""
    if any("\0" in word for word in argv):
        raise ValueError("an argument can't hold a NUL character")
    return shlex.join(argv)


def compose(prologue: str, commands: Sequence[Sequence[str]]) -> str:
    """A bash script that runs the operator's prologue, then each command, up to the first that fails."""
    lines = ["#!/bin/bash", *([prologue.rstrip("\n")] if prologue else []), "set -e"]
    return "\n".join([*lines, *(quote(argv) for argv in commands)]) + "\n"
