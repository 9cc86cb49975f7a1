"""A summary of each environment of the site, with the labels of its image file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.errors import CommandError
from flatirons.runner import Runner

VERSION = "org.flatirons.version."
CREATED = "org.opencontainers.image.created"
INSPECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class EnvironmentSummary:
    """One environment; `bytes` is None if this machine lacks the file; `versions` is by program."""

    name: str
    title: str
    kind: str
    path: str
    bytes: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return asdict(self)


async def summarize(environments: list[Environment], runner: Runner) -> list[EnvironmentSummary]:
    """A summary of each environment; the labels of all image files are read at the same time."""
    return list(await asyncio.gather(*(_summarize_one(each, runner) for each in environments)))


def classify(environment: Environment) -> tuple[str, str]:
    """(type of the environment: image, URI, venv, module or node; where it is)."""
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


async def _summarize_one(environment: Environment, runner: Runner) -> EnvironmentSummary:
    what, path = classify(environment)
    summary = EnvironmentSummary(environment.name, environment.title or environment.name, what, path)
    if what != "image" or not os.access(path, os.R_OK):
        return summary
    labels = await _labels(environment, runner)
    versions = {key.removeprefix(VERSION): text for key, text in labels.items() if key.startswith(VERSION)}
    known = os.stat(path)
    size = known.st_size if stat.S_ISREG(known.st_mode) else None
    return replace(summary, bytes=size, versions=versions, created=labels.get(CREATED, ""))


async def _labels(environment: Environment, runner: Runner) -> dict[str, str]:
    """The image's labels; {} if Apptainer is missing or can't read the image, which `check` reports."""
    command = [environment.image.apptainer, "inspect", "--json", environment.image.path]
    try:
        shown = json.loads((await runner.run(command, deadline=INSPECT_SECONDS)).stdout)
        return {str(key): str(text) for key, text in shown["data"]["attributes"]["labels"].items()}
    except (CommandError, ValueError, LookupError, AttributeError, TypeError):
        return {}
