"""What the hub and the proxy keep on disk: a directory that only their account reads,
the hub's database, and a shared secret."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from flatirons.errors import SiteError
from flatirons.files import write_atomically


def prepare(directory: str) -> Path:
    """The state directory, made if need be, ours and with mode 0700. Raises SiteError when that can't be."""
    path = Path(directory)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_uid != os.getuid():
            raise SiteError(
                [("hub.state_dir", f"{path} belongs to another account than the one that runs this")]
            )
        path.chmod(0o700)
    except OSError as error:
        sentence = f"{path} can't be made: {error.strerror}. As root: install -d -m 700 -o ACCOUNT {path}"
        raise SiteError([("hub.state_dir", sentence)]) from error
    return path


def database(path: Path) -> str:
    """The URL of the hub's own SQLite file, which is made to write ahead: a commit then waits for the disk
    once, not three times, and the whole hub with it. Raises SiteError where no such file can be had.

    It wants the file on a disk of this machine; what is committed survives as before. Source: sqlite.org.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        sentence = f"the hub's database {path} can't be opened: {error}"
        raise SiteError([("hub.state_dir", sentence)]) from error
    return f"sqlite:///{path}"


def secret(path: Path) -> str:
    """The secret that a file holds. Whoever comes first, hub or proxy, makes it: 0400, whole or not at
    all."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # the other process was faster: its secret is the one
            write_atomically(path, secrets.token_hex(32) + "\n", 0o400, replace=False)
    return path.read_text(encoding="ascii").strip()
