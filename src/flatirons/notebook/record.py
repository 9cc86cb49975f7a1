"""The file that stands in the hub's place: what a starter is told and what it says, in the user's home.

Its first line is written by the command, each other one by the starter (job/node/calls.py, Record). It
holds the server's token, so only the user may read it. It is the leave to run: a job whose record is gone
ends as soon as it starts. Nobody writes while another may: the command before the job is submitted, the
starter after that, since NFS keeps no order between two. It is opened anew for each look: that is when
NFS fetches what is new.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flatirons.errors import FlatironsError

FOLDER = Path(".local/state/flatirons")
"""From the home directory on; the starter keeps its logs there too."""

BEGINNING, ENDING = "notebook-", ".jsonl"
SECONDS_TO_SUBMIT = 300.0
"""A record that is older and has no job won't get one any more."""


@dataclass(frozen=True, slots=True)
class Record:
    """One notebook. `id` is part of its job's comment; `page` the path at which a browser begins."""

    id: str
    cluster: str
    environment: str
    page: str = "/lab"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @classmethod
    def new(cls, cluster: str, environment: str, page: str) -> Record:
        """A record with a token of its own, that isn't written yet."""
        return cls(secrets.token_hex(8), cluster, environment, page)

    @property
    def starters_path(self) -> str:
        """Its path as a starter takes it: a node may have the home elsewhere."""
        return f"~/{FOLDER}/{BEGINNING}{self.id}{ENDING}"

    @property
    def path(self) -> Path:
        """Its path here."""
        return Path.home() / FOLDER / f"{BEGINNING}{self.id}{ENDING}"

    def write(self) -> None:
        """Makes the file; raises FlatironsError when the home doesn't take it."""
        answer = {"environment": {"JUPYTER_TOKEN": self.token}, "prefix": "/", "tls": None}
        said = {"cluster": self.cluster, "environment": self.environment, "page": self.page, "answer": answer}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(said) + "\n")
                file.flush()
                os.fsync(descriptor)  # a full home says so now or here
        except OSError as error:
            with contextlib.suppress(OSError):  # what kept it from being made may keep it from being removed
                self.forget()
            raise FlatironsError(
                f"The notebook's token can't be kept in {self.path.parent}: {error.strerror}. "
                "Make room in your home, or see that you may write there.",
                str(error),
            ) from error

    def calls(self) -> list[dict[str, Any]]:
        """What the starter said so far, oldest first; nothing when the record is gone."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [call for call in map(_call, lines[1:]) if call]

    def forget(self) -> None:
        """Removes the file; a job that hasn't started yet won't start a server any more."""
        self.path.unlink(missing_ok=True)

    def is_fresh(self) -> bool:
        """Whether its job may be about to be submitted by another command at this moment."""
        if self.calls():
            return False
        try:
            return time.time() - self.path.stat().st_mtime < SECONDS_TO_SUBMIT
        except FileNotFoundError:
            return False


def _call(line: str) -> dict[str, Any] | None:
    """What a line says; None for one that is half there: still being written, or cut by a full home."""
    with contextlib.suppress(ValueError):
        call = json.loads(line) if line.endswith("\n") else None
        return call if isinstance(call, dict) and "call" in call else None
    return None


def records() -> Iterator[Record]:
    """All records in the home; raises FlatironsError for a file that isn't one."""
    for path in sorted((Path.home() / FOLDER).glob(f"{BEGINNING}*{ENDING}")):
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if first.endswith("\n"):  # else another command is writing it just now
            yield _record(path, first)


def _record(path: Path, first: str) -> Record:
    try:
        said = json.loads(first)
        token = said["answer"]["environment"]["JUPYTER_TOKEN"]
        name = path.name.removeprefix(BEGINNING).removesuffix(ENDING)
        return Record(name, said["cluster"], said["environment"], said["page"], token)
    except (ValueError, LookupError, TypeError) as error:
        sentence = (
            f"{path} isn't what `flatirons notebook` wrote there. Remove it, and look with `squeue --me`."
        )
        raise FlatironsError(sentence, str(error)) from error
