"""A slow network file system: `slow_home.py SOURCE TARGET DELAY_MS`.

Mounts SOURCE at TARGET (FUSE, mfusepy) and waits DELAY_MS in each operation on metadata that reaches it:
look-up, attributes, create, remove, rename, list, open. Reading and writing an open file isn't delayed. As
with a network file system, the kernel caches names and attributes, here for FUSE's default of one second; it
doesn't cache that a name doesn't exist. Several operations wait at the same time.
Runs until it is unmounted, then prints the number of operations of each type as JSON.
"""

import errno
import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import mfusepy

DELAYED = (
    *("access", "chmod", "chown", "create", "getattr", "link", "mkdir", "open", "opendir", "readdir"),
    *("readlink", "rename", "rmdir", "symlink", "truncate", "unlink", "utimens"),
)


class SlowDirectory(mfusepy.Operations):
    """The operations of the source directory, each after a delay."""

    use_ns = True

    def __init__(self, source: str, delay_s: float) -> None:
        self.source = source
        self.delay_s = delay_s
        self.counts: Counter[str] = Counter()
        self.counting = threading.Lock()
        for name in DELAYED:
            setattr(self, name, self._delayed(name, getattr(self, name)))

    def _delayed(self, name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def delayed(*arguments: Any) -> Any:
            with self.counting:  # FUSE calls from several threads
                self.counts[name] += 1
            time.sleep(self.delay_s)  # the delay of the network
            return operation(*arguments)

        return delayed

    def at(self, path: str) -> str:
        """The path in the source directory."""
        return self.source + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        """The attributes of a name."""
        found = os.lstat(self.at(path))
        keys = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_ino")
        times = {key: getattr(found, f"{key}_ns") for key in ("st_atime", "st_mtime", "st_ctime")}
        return {key: getattr(found, key) for key in keys} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        """The names in a directory."""
        return [".", "..", *os.listdir(self.at(path))]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        """Creates a file that belongs to the caller."""
        uid, gid, _ = mfusepy.fuse_get_context()
        made = os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        os.fchown(made, uid, gid)
        return made

    def open(self, path: str, flags: int) -> int:
        """Opens a file."""
        return os.open(self.at(path), flags & ~os.O_APPEND)

    def mkdir(self, path: str, mode: int) -> int:
        """Creates a directory that belongs to the caller."""
        uid, gid, _ = mfusepy.fuse_get_context()
        os.mkdir(self.at(path), mode)
        os.chown(self.at(path), uid, gid)
        return 0

    def symlink(self, target: str, source: str) -> int:
        """Creates a symbolic link."""
        os.symlink(source, self.at(target))
        return 0

    def link(self, target: str, source: str) -> int:
        """Creates a hard link."""
        os.link(self.at(source), self.at(target))
        return 0

    def rename(self, old: str, new: str) -> int:
        """Renames a file."""
        os.replace(self.at(old), self.at(new))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Changes the mode of a file."""
        os.chmod(self.at(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Changes the owner of a file."""
        os.lchown(self.at(path), uid, gid)
        return 0

    def unlink(self, path: str) -> int:
        """Removes a file."""
        os.unlink(self.at(path))
        return 0

    def rmdir(self, path: str) -> int:
        """Removes a directory."""
        os.rmdir(self.at(path))
        return 0

    def readlink(self, path: str) -> str:
        """The target of a symbolic link."""
        return os.readlink(self.at(path))

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Changes a file's length."""
        os.truncate(self.at(path), length)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Changes a file's times."""
        os.utime(self.at(path), ns=times)
        return 0

    def access(self, path: str, amode: int) -> int:
        """Raises OSError if the file doesn't exist; the kernel checks its mode (default_permissions)."""
        os.lstat(self.at(path))
        return 0

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """There are no extended attributes; ENOSYS stops further requests for them."""
        raise mfusepy.FuseOSError(errno.ENOSYS)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Reads from an open file."""
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Writes to an open file."""
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Writes a file to the disk."""
        os.fsync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        """Closes a file."""
        os.close(fh)
        return 0


def main(source: str, target: str, delay_ms: str) -> None:
    slow = SlowDirectory(source, float(delay_ms) / 1000)
    mfusepy.FUSE(slow, target, foreground=True, allow_other=True, default_permissions=True, fsname="slowhome")
    print(json.dumps(slow.counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
