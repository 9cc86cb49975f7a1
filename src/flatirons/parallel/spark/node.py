"""A part of a Spark cluster, on its node: `python -m flatirons.parallel.spark.node master|worker FOLDER ...`.

The process becomes Spark's own program. The secret is in a file in the cluster's directory, never in an argv.
Spark's pages have no password, so they listen on this node's loopback address only.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from flatirons.errors import FlatironsError
from flatirons.files import write_atomically
from flatirons.parallel import address
from flatirons.parallel.spark.job import CONFIG, MASTER

MASTER_TIMEOUT = 90.0  # seconds for the master to start, and for a shared file system to show its file
POLL_PAUSE = 0.2  # seconds
_PACKAGE = "org.apache.spark.deploy"


def master_argv(folder: Path) -> list[str]:
    """The argv of the master. Writes its URL into the cluster's directory. Raises FlatironsError, OSError."""
    host = address.of_this_node(os.environ)
    with socket.create_server((host, 0)) as probe:
        port = probe.getsockname()[1]
    write_atomically(folder / MASTER, f"spark://{host}:{port}")
    return _spark_class(f"{_PACKAGE}.master.Master", folder, host, port)


def worker_argv(folder: Path, cores: str, heap_mib: str) -> list[str]:
    """The argv of a worker, as soon as the master listens. Raises FlatironsError."""
    deadline = time.monotonic() + MASTER_TIMEOUT
    while not (url := find_master(folder)):
        if time.monotonic() > deadline:
            raise FlatironsError(f"Spark's master did not listen within {MASTER_TIMEOUT:g} seconds.")
        time.sleep(POLL_PAUSE)
    host = address.of_this_node(os.environ)
    work = folder / "work" / socket.gethostname()
    more = ["--cores", cores, "--memory", f"{heap_mib}M", "--work-dir", str(work), url]
    return [*_spark_class(f"{_PACKAGE}.worker.Worker", folder, host, 0), *more]


def find_master(folder: Path) -> str:
    """The URL of the cluster's master if it listens, else ""."""
    try:
        url = (folder / MASTER).read_text()
        place = urlsplit(url)
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=5):
            return url
    except OSError:
        return ""


def _spark_class(name: str, folder: Path, host: str, port: int) -> list[str]:
    program = f"{os.environ.get('SPARK_HOME', '/opt/spark')}/bin/spark-class"
    where = ["--host", host, "--port", str(port), "--webui-port", "0"]
    return [program, name, *where, "--properties-file", str(folder / CONFIG)]


def main() -> NoReturn:
    """Becomes the program that the command line names."""
    role, folder, *rest = sys.argv[1:]
    try:
        argv = master_argv(Path(folder)) if role == "master" else worker_argv(Path(folder), *rest)
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # for the pages; `--host` counts for everything else
        os.execv(argv[0], argv)
    except FlatironsError as error:
        sys.exit(error.user)
    except OSError as error:
        sys.exit(f"Spark can't be started on this node: {error}")


if __name__ == "__main__":
    main()
