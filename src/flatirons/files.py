"""Atomic writes of files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


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
