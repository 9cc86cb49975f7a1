"""The log of a job: a private file of the user's, where the server's output goes."""

import contextlib
import os
import pwd
from typing import Dict, List, Tuple  # the node's Python may be 3.6

LOG_LINES = 40
LOG_FILES_KEPT = 20


def folder_of_logs() -> str:
    """Where the logs of the user's jobs lie."""
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    return os.path.join(home, ".local", "state", "flatirons")


def open_log(job_id: int) -> str:
    """Sends our output, and so the server's, to a private file, one for each job; gives its path."""
    folder = folder_of_logs()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        name = "server-{}-{}.log".format(os.environ.get("SLURM_CLUSTER_NAME", "slurm"), job_id)
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try_to_write(descriptor)
    except OSError as error:  # home full, read-only or missing: the job's node still has a place
        descriptor, path = open_log_on_the_node(job_id, error)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return path


def open_log_on_the_node(job_id: int, why: OSError) -> Tuple[int, str]:
    """A log in the node's /tmp, or where that is full as well, none: a server may do without."""
    import tempfile  # seldom needed, and costs a start some milliseconds

    try:
        descriptor, path = tempfile.mkstemp(prefix=f"flatirons-{job_id}-", suffix=".log")
        os.write(descriptor, f"The log is here because of: {why}\n".encode())
    except OSError:
        path = os.devnull
        descriptor = os.open(path, os.O_WRONLY)
    return descriptor, path


def try_to_write(descriptor: int) -> None:
    """Raises OSError where a file can be made but not filled: that is how a full home looks."""
    os.write(descriptor, b"\n")
    os.fsync(descriptor)
    os.ftruncate(descriptor, 0)


def forget_old_logs(folder: str) -> None:
    """Keeps the newest logs only. Another job of the user may be at it at the same time.

    It looks at each of them, so nobody waits for it: a home may be far away.
    """
    ages: Dict[str, float] = {}
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if name.startswith("server-"):
                path = os.path.join(folder, name)
                ages[path] = os.path.getmtime(path)
    for path in sorted(ages, key=lambda path: ages[path])[:-LOG_FILES_KEPT]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def say(text: object) -> None:
    """Adds a line to the log, whatever the locale, and if there is room."""
    with contextlib.suppress(OSError):
        os.write(1, f"{text}\n".encode("utf-8", "replace"))


def last_lines(path: str) -> List[str]:
    """The end of a log, at most LOG_LINES lines of 500 characters."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 32768))
            text = log.read().decode("utf-8", "replace")
    except OSError as error:
        return [f"(the log can't be read: {error})"]
    return [line[:500] for line in text.splitlines()[-LOG_LINES:]]
