"""The log of a job: a private file of its user, which takes the output of the starter and of the server."""

from __future__ import annotations

import os
import pwd

LOG_LINES = 100  # the hub keeps those that tell why the server ended
LOG_FILES_KEPT = 20


def folder_of_logs() -> str:
    """The folder for the logs of all jobs of the user."""
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    return os.path.join(home, ".local", "state", "flatirons")


def open_log(job_id: int) -> str:
    """Redirects our output, and so the server's, to a private file of this job; returns its path."""
    folder = folder_of_logs()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        name = "server-{}-{}.log".format(os.environ.get("SLURM_CLUSTER_NAME", "slurm"), job_id)
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try_to_write(descriptor)
    except OSError as error:  # the home is full, read-only or missing
        descriptor, path = open_log_on_the_node(job_id, error)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return path


def open_log_on_the_node(job_id: int, why: OSError) -> tuple[int, str]:
    """(descriptor, path) of a log in the node's /tmp, or of /dev/null when /tmp is full as well."""
    import tempfile  # rarely needed, and its import takes some milliseconds

    try:
        descriptor, path = tempfile.mkstemp(prefix=f"flatirons-{job_id}-", suffix=".log")
        os.write(descriptor, f"The log is here because of: {why}\n".encode())
    except OSError:
        path = os.devnull
        descriptor = os.open(path, os.O_WRONLY)
    return descriptor, path


def try_to_write(descriptor: int) -> None:
    """Raises OSError when nothing can be written: in a full home a file can still be created."""
    os.write(descriptor, b"\n")
    os.fsync(descriptor)
    os.ftruncate(descriptor, 0)


def forget_old_logs(folder: str) -> None:
    """Keeps the newest logs only; another job of the user may do the same at the same time.

    Called once the server listens: it looks at each log, which takes a while in a home on a slow network.
    """
    ages: dict[str, float] = {}
    for name in os.listdir(folder):
        if name.startswith("server-"):
            path = os.path.join(folder, name)
            try:
                ages[path] = os.path.getmtime(path)
            except FileNotFoundError:
                continue
    for path in sorted(ages, key=lambda path: ages[path])[:-LOG_FILES_KEPT]:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue


def say(text: object) -> None:
    """Adds a line to the log in UTF-8, whatever the locale; does nothing when there is no room."""
    try:
        os.write(1, f"{text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def last_lines(path: str) -> list[str]:
    """The last LOG_LINES lines of a log, cut at 500 characters each."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 32768))
            text = log.read().decode("utf-8", "replace")
    except OSError as error:
        return [f"(the log can't be read: {error})"]
    return [line[:500] for line in text.splitlines()[-LOG_LINES:]]
