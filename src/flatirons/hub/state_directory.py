"""What hub and proxy keep on disk: a directory of their account, with a database and a shared secret."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

from flatirons.errors import SiteError
from flatirons.files import keep_files_private, make_private, take_rights_of_others, write_atomically


def prepare(directory: str) -> Path:
    """The state directory, made if missing: owned by this account, mode 0700. Otherwise raises SiteError.

    Nobody else can read what is in it, or any other file that this process makes from now on.
    """
    path = Path(directory)
    keep_files_private()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_uid != os.getuid():
            raise SiteError(
                [("hub.state_dir", f"{path} belongs to another account than the one that runs this command")]
            )
        path.chmod(0o700)
        make_private(path)
    except OSError as error:
        sentence = f"{path} can't be made: {error.strerror}. As root: install -d -m 700 -o ACCOUNT {path}"
        raise SiteError([("hub.state_dir", sentence)]) from error
    return path


def prepare_database(path: Path) -> str:
    """The URL of the hub's own SQLite file, with write-ahead logging. Raises SiteError if it can't be opened.

    A commit, during which the hub does nothing else, then waits for the disk once instead of three times, and
    is as safe as before. The file must be on a disk of this machine. Source: sqlite.org/wal.html.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        sentence = f"the hub's database {path} can't be opened: {error}"
        raise SiteError([("hub.state_dir", sentence)]) from error
    return f"sqlite:///{path}"


def tighten_database(url: str) -> str:
    """The URL of a database that the site names. If it is a SQLite file, nobody else can read it any more.

    Raises SiteError if that isn't possible.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except ArgumentError:  # JupyterHub says so, with more words
        return url
    if found.get_backend_name() == "sqlite" and found.database:
        try:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    take_rights_of_others(Path(found.database + suffix))
        except OSError as error:
            sentence = f"{found.database} can't be made private: {error.strerror}. As its owner: chmod 600"
            raise SiteError([("hub.database", sentence)]) from error
    return url


def ensure_secret(path: Path) -> str:
    """The secret in a file of mode 0400, which the hub or the proxy makes, whichever starts first."""
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # the other process was faster: its secret counts
            write_atomically(path, secrets.token_hex(32) + "\n", 0o400, replace=False)
    return path.read_text(encoding="ascii").strip()
