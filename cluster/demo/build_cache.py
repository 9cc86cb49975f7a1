"""Directories in the cache, each named by a hash of what it is built from. Each is complete or not there."""

import contextlib
import fcntl
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..tree import cache, remove

KEEP_S = 14 * 24 * 3600


def key(parts: Iterable[str | bytes | Path]) -> str:
    """A short hash of texts and of files, a directory standing for all files below it."""
    digest = hashlib.sha256()
    for part in parts:
        for name, content in _contents(part):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _contents(part: str | bytes | Path) -> Iterable[tuple[str, bytes]]:
    if isinstance(part, str):
        return [("", part.encode())]
    if isinstance(part, bytes):
        return [("", part)]
    if part.is_file():
        return [(part.name, part.read_bytes())]
    files = (file for file in sorted(part.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)
    return [(str(file.relative_to(part)), file.read_bytes()) for file in files]


def ensure(name: str, parts: Sequence[str | bytes | Path], build: Callable[[Path], None]) -> Path:
    """The directory `NAME-KEY` in the cache; `build` fills an empty one, which gets this name at the end."""
    place = cache() / f"{name}-{key(parts)}"
    if not place.is_dir():
        with (cache() / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.is_dir():
                _make(name, place, build)
    with contextlib.suppress(PermissionError):  # root made it, and another user uses it
        place.touch()
    return place


def _make(name: str, place: Path, build: Callable[[Path], None]) -> None:
    """Builds, with the lock held. Removes interrupted builds, and directories unused for two weeks, first."""
    for stale in cache().glob(f".building-{name}-????????"):  # not those of `hub-base` while `hub` is built
        remove(stale)
    for old in cache().glob(f"{name}-????????????"):
        if old.stat().st_mtime < time.time() - KEEP_S:
            remove(old)
    draft = Path(tempfile.mkdtemp(prefix=f".building-{name}-", dir=cache()))
    draft.chmod(0o755)
    try:
        build(draft)
    except BaseException:
        remove(draft)
        raise
    draft.rename(place)
