"""Atomic writes of files, and who may read what this process writes."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

PRIVATE_UMASK = 0o077

_umask_before: int | None = None


def keep_files_private() -> None:
    """From now on only this process's account can read the files that it makes, by its umask.

    It counts for libraries as well: the database, its journals, certificates, logs. What is started for users
    gets `umask_before()`.
    """
    global _umask_before  # the umask is one for the whole process, too
    before = os.umask(PRIVATE_UMASK)
    if _umask_before is None:
        _umask_before = before


def umask_before() -> int:
    """The umask with which this process was started; -1, as Popen has it, if it was never changed."""
    return -1 if _umask_before is None else _umask_before


def make_private(folder: Path) -> None:
    """Takes the rights of others from what is in `folder`, whatever wrote it. Raises OSError.

    SQLite gives its journals the mode of the database, so the umask alone isn't enough for an old one.
    """
    for found in [*folder.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):  # hub and proxy start side by side, with drafts of files
            take_rights_of_others(found)


def take_rights_of_others(path: Path) -> None:
    """Makes a file or a directory private; leaves anything else, such as a link, alone. Raises OSError."""
    mode = path.lstat().st_mode
    if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and mode & PRIVATE_UMASK:
        path.chmod(stat.S_IMODE(mode) & ~PRIVATE_UMASK)


def write_atomically(path: Path, text: str, mode: int = 0o600, *, replace: bool = True) -> None:
    """Writes `text` to `path` in UTF-8. The file is complete at any moment, even after a crash.

    The file gets `mode` whatever the umask is. With `replace=False` an existing file stays as it is, and
    FileExistsError is raised. Raises OSError when the file can't be written; no temporary file is left
    behind.
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)  # some file systems store the new name before the content
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
