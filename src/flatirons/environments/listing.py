"""What the site's environments are, and what the labels of their image files say is inside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.errors import CommandError
from flatirons.runner import Runner

VERSION = "org.flatirons.version."
CREATED = "org.opencontainers.image.created"
INSPECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One environment. `bytes` is None where this machine has no such file; `versions` by program."""

    name: str
    title: str
    kind: str
    path: str
    bytes: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


async def entries(environments: list[Environment], runner: Runner) -> list[Entry]:
    """An entry for each; image files are asked for their labels, side by side."""
    return list(await asyncio.gather(*(_entry(each, runner) for each in environments)))


def kind(environment: Environment) -> tuple[str, str]:
    """What it is made of, in a word (image, URI, venv, module, node), and where that is."""
    path, cmd = environment.image.path, environment.cmd
    if "://" in path:
        return "URI", path
    if path:
        return "image", path
    if loaded := re.search(r"^\s*(?:module\s+(?:load|add)|ml)\s+(.+)$", environment.prologue, re.MULTILINE):
        return "module", loaded[1].strip()
    activated = re.search(r"^\s*(?:conda\s+activate|source|\.)\s+(\S+)", environment.prologue, re.MULTILINE)
    if activated:
        return "venv", activated[1].removesuffix("/bin/activate")
    if cmd and cmd[0].startswith("/"):
        return "venv", str(PurePosixPath(cmd[0]).parent.parent)
    return "node", "programs of the node"


async def _entry(environment: Environment, runner: Runner) -> Entry:
    what, path = kind(environment)
    entry = Entry(environment.name, environment.title or environment.name, what, path)
    if what != "image" or not os.access(path, os.R_OK):
        return entry
    labels = await _labels(environment, runner)
    versions = {key.removeprefix(VERSION): text for key, text in labels.items() if key.startswith(VERSION)}
    known = os.stat(path)
    size = known.st_size if stat.S_ISREG(known.st_mode) else None
    return Entry(entry.name, entry.title, what, path, size, versions, labels.get(CREATED, ""))


async def _labels(environment: Environment, runner: Runner) -> dict[str, str]:
    """The image's labels; none where Apptainer, or an image that it can read, is missing: see `check`."""
    command = [environment.image.apptainer, "inspect", "--json", environment.image.path]
    try:
        shown = json.loads((await runner.run(command, deadline=INSPECT_SECONDS)).stdout)
        return {str(key): str(text) for key, text in shown["data"]["attributes"]["labels"].items()}
    except (CommandError, ValueError, LookupError, AttributeError, TypeError):
        return {}
