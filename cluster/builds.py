"""What builders of file trees and images share: isolation from the machine, and one build at a time."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# A mount and pid namespace of its own: no mount and no process outlives a build.
ISOLATED = (
    *("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--fork", "--kill-child"),
    "--",
)


@contextmanager
def build_lock(file: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Holds the lock file; calls `on_wait` first if another build holds it.

    Yields its descriptor: a child that gets it keeps the lock if this process is killed.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
