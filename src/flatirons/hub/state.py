"""What the hub and the proxy keep on disk: a directory that only their account reads, and a shared secret."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from flatirons.errors import SiteError


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


def secret(path: Path) -> str:
    """The secret that a file holds. Whoever comes first, hub or proxy, makes it: 0400, whole or not at
    all."""
    if not path.exists():
        _make(path)
    return path.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        os.chmod(draft, 0o400)
        os.link(draft, path)
    except FileExistsError:
        pass  # the other process was faster: its secret is the one
    finally:
        os.unlink(draft)
