"""The only writer of job scripts, and the only place that quotes for a shell.

`notebook` writes the script of a notebook server; `compose` and `quote` serve every other script.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

_END = "FLATIRONS_END_OF_STARTER"


@dataclass(frozen=True, slots=True)
class StarterConfig:
    """What the starter needs to know before it can ask the hub. `code` is its only secret, and works once.

    Without a hub (`flatirons notebook`) `record` is the file that takes the hub's place, from the home
    directory on (~/...), and there is no secret at all. `listen` are words for the end of the command, in
    which {address} and {port} are where the server is to listen; a server of the hub is told by its
    environment.
    """

    hub: str  # URL of the hub's API as the node reaches it, such as http://hub:8081/hub/api
    code: str
    command: Sequence[str]  # the container's argv with the server's inside
    image: str = ""  # checked to exist before the command is tried
    prologue: str = ""  # the operator's shell lines, such as module loads
    ports: tuple[int, int] | None = None  # first and last that may be used; None: any
    environment: Mapping[str, str] = field(default_factory=dict)
    forgotten: Sequence[
        str
    ] = ()  # variables that the server has from `environment` or the hub, or not at all
    hub_deadline: float = 600.0  # seconds that the starter waits for a hub that doesn't answer
    record: str = ""
    listen: Sequence[str] = ()


@cache
def _starter_text() -> str:
    return (files("flatirons.job") / "starter.py").read_text(encoding="utf-8")


def notebook(config: StarterConfig, python: str = "python3") -> str:
    """The job script of a notebook server: a shell line that hands the starter's text to Python.

    The text stands in a quoted here-document, where the shell expands nothing; the configuration is a JSON
    text inside a Python literal, pure ASCII. So no character of an option is ever read by a shell. Python is
    isolated (-I, -S): a random.py in the folder where the job begins, a PYTHONPATH, or what the node's Python
    has installed is none of its business.
    """
    values = {
        "hub": config.hub,
        "code": config.code,
        "command": list(config.command),
        "image": config.image,
        "prologue": config.prologue,
        "ports": list(config.ports) if config.ports else None,
        "environment": dict(config.environment),
        "forgotten": list(config.forgotten),
        "hub_deadline": config.hub_deadline,
        "record": config.record,
        "listen": list(config.listen),
    }
    literal = ascii(json.dumps(values, sort_keys=True))
    lines = ["import json", f"CONFIG = json.loads({literal})", _starter_text()]
    body = "\n".join(lines)
    if _END in body:
        raise ValueError(f"the text {_END} can't be part of an option")
    return f"#!/bin/bash\nexec {quote([python, '-I', '-S', '-'])} <<'{_END}'\n{body}\n{_END}\n"


def quote(argv: Sequence[str]) -> str:
    """One shell line that runs exactly this argv."""
    if any("\0" in word for word in argv):
        raise ValueError("an argument can't hold a NUL character")
    return shlex.join(argv)


def compose(prologue: str, commands: Sequence[Sequence[str]]) -> str:
    """A bash script: the operator's prologue, then each command; it ends with the first that fails."""
    lines = ["#!/bin/bash", *([prologue.rstrip("\n")] if prologue else []), "set -e"]
    return "\n".join([*lines, *(quote(argv) for argv in commands)]) + "\n"
