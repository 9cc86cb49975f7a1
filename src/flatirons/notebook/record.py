"""The file in the user's home that takes the hub's place: what the starter gets, and its calls.

The command writes the first line; the starter adds a line for each call (job/node/calls.py, RecordFile). Only
the user can read the file, as it holds the server's token. It is also the permission to run: a job whose
record is gone ends as soon as it starts. The command writes before the job is submitted and the starter only
after that, because NFS keeps no order between two writers. So the job's id, which the command learns later,
is in a file of its own: the job's comment, which names the record, may be replaced. Each read opens the file
again, because only then does NFS fetch new lines.
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
from flatirons.files import write_atomically
from flatirons.slurm.identity import is_submitted_about
from flatirons.slurm.model import Job

FOLDER = Path(".local/state/flatirons")
"""Relative to the home directory; the starter keeps its logs there too."""

BEGINNING, ENDING, JOB_ENDING = "notebook-", ".jsonl", ".job"
SECONDS_TO_SUBMIT = 300.0
"""A record that is older and has no job will never get one."""


@dataclass(frozen=True, slots=True)
class NotedJob:
    """The job of a record, and when it was submitted, by this machine's clock; 0 where nobody noted that."""

    id: int
    requested_at: float

    def is_same(self, job: Job) -> bool:
        """Is it this job of the same user?"""
        if self.id != job.id:
            return False
        return not self.requested_at or is_submitted_about(job, self.requested_at)


@dataclass(frozen=True, slots=True)
class Record:
    """One notebook. `id` is part of its job's comment; `page` is the path that a browser opens first."""

    id: str
    cluster: str
    environment: str
    page: str = "/lab"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @classmethod
    def new(cls, cluster: str, environment: str, page: str) -> Record:
        """A record with a new token; it isn't written yet."""
        return cls(secrets.token_hex(8), cluster, environment, page)

    @property
    def starters_path(self) -> str:
        """Its path for the starter: the node may have the home at another place."""
        return f"~/{FOLDER}/{BEGINNING}{self.id}{ENDING}"

    @property
    def path(self) -> Path:
        """Its path on this machine."""
        return Path.home() / FOLDER / f"{BEGINNING}{self.id}{ENDING}"

    def write(self) -> None:
        """Creates the file; raises FlatironsError when that fails."""
        answer = {"environment": {"JUPYTER_TOKEN": self.token}, "prefix": "/", "tls": None}
        said = {"cluster": self.cluster, "environment": self.environment, "page": self.page, "answer": answer}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(said) + "\n")
                file.flush()
                os.fsync(descriptor)  # a full home shows in write, flush or fsync
        except OSError as error:
            with contextlib.suppress(OSError):  # it may fail for the same reason
                self.forget()
            raise FlatironsError(
                f"The notebook's token can't be stored in {self.path.parent}: {error.strerror}. "
                "Make room in your home, and make sure that you can write there.",
                str(error),
            ) from error

    def calls(self) -> list[dict[str, Any]]:
        """The starter's calls so far, oldest first; none when the record is gone."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [call for call in map(_call, lines[1:]) if call]

    @property
    def _job_path(self) -> Path:
        return self.path.with_suffix(JOB_ENDING)

    def note_job(self, job_id: int) -> None:
        """Stores the id of the job that has just been submitted, if the home has room for it."""
        with contextlib.suppress(OSError):  # the job's comment and its starter's first call name it, too
            write_atomically(self._job_path, json.dumps({"id": job_id, "requested_at": time.time()}), 0o600)

    def job(self) -> NotedJob | None:
        """The record's job; None if nobody noted it and its starter hasn't called yet."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            said = json.loads(self._job_path.read_text(encoding="utf-8"))
            return NotedJob(int(said["id"]), float(said["requested_at"]))
        boots = [call for call in self.calls() if call["call"] == "boot"]
        return NotedJob(int(boots[0].get("job_id", 0)), 0) if boots else None

    def forget(self) -> None:
        """Removes the files; a job that hasn't started yet will start no server."""
        self._job_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def is_fresh(self) -> bool:
        """Whether another command may be submitting its job at this moment."""
        if self.calls():
            return False
        try:
            return time.time() - self.path.stat().st_mtime < SECONDS_TO_SUBMIT
        except FileNotFoundError:
            return False


def _call(line: str) -> dict[str, Any] | None:
    """The call in a line; None for an incomplete line, which is being written or was cut by a full home."""
    with contextlib.suppress(ValueError):
        call = json.loads(line) if line.endswith("\n") else None
        return call if isinstance(call, dict) and "call" in call else None
    return None


def records() -> Iterator[Record]:
    """All records in the home; raises FlatironsError for a file that isn't one."""
    for path in sorted((Path.home() / FOLDER).glob(f"{BEGINNING}*{ENDING}")):
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if first.endswith("\n"):  # otherwise another command is just writing it
            yield _record(path, first)


def _record(path: Path, first: str) -> Record:
    try:
        said = json.loads(first)
        token = said["answer"]["environment"]["JUPYTER_TOKEN"]
        name = path.name.removeprefix(BEGINNING).removesuffix(ENDING)
        return Record(name, said["cluster"], said["environment"], said["page"], token)
    except (ValueError, LookupError, TypeError) as error:
        sentence = f"`flatirons notebook` didn't write {path}. Remove it, and check your jobs: squeue --me."
        raise FlatironsError(sentence, str(error)) from error
