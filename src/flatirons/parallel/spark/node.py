"""A part of a Spark cluster on its node: `python -m flatirons.parallel.spark.node master|worker FOLDER ...`.

Becomes Spark's own program. The secret is in a file of the cluster's directory, never in an argv. Spark's
pages have no password: they are shown on this node's loopback only.
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
from flatirons.parallel import address
from flatirons.parallel.spark.job import CONFIG, MASTER

PATIENCE = 90.0  # seconds for the master to be up, and for a shared filesystem to show its file
PAUSE = 0.2  # seconds between two looks
_CLASSES = "org.apache.spark.deploy"


def master(folder: Path) -> list[str]:
    """The argv of the master; says its URL in the cluster's directory. Raises FlatironsError, OSError."""
    host = address.of_this_node(os.environ)
    with socket.create_server((host, 0)) as probe:
        port = probe.getsockname()[1]
    draft = folder / f".{MASTER}"
    draft.write_text(f"spark://{host}:{port}")
    os.replace(draft, folder / MASTER)
    return _spark(f"{_CLASSES}.master.Master", folder, host, port)


def worker(folder: Path, cores: str, heap_mib: str) -> list[str]:
    """The argv of a worker, once the master listens. Raises FlatironsError."""
    deadline = time.monotonic() + PATIENCE
    while not (url := url_of_master(folder)):
        if time.monotonic() > deadline:
            raise FlatironsError(f"Spark's master did not listen within {PATIENCE:g} seconds.")
        time.sleep(PAUSE)
    host = address.of_this_node(os.environ)
    work = folder / "work" / socket.gethostname()
    more = ["--cores", cores, "--memory", f"{heap_mib}M", "--work-dir", str(work), url]
    return [*_spark(f"{_CLASSES}.worker.Worker", folder, host, 0), *more]


def url_of_master(folder: Path) -> str:
    """The URL of the cluster's master once it listens, before that ""."""
    try:
        url = (folder / MASTER).read_text()
        place = urlsplit(url)
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=5):
            return url
    except OSError:
        return ""


def _spark(name: str, folder: Path, host: str, port: int) -> list[str]:
    program = f"{os.environ.get('SPARK_HOME', '/opt/spark')}/bin/spark-class"
    where = ["--host", host, "--port", str(port), "--webui-port", "0"]
    return [program, name, *where, "--properties-file", str(folder / CONFIG)]


def main() -> NoReturn:
    """Becomes what the command line names."""
    role, folder, *rest = sys.argv[1:]
    try:
        argv = master(Path(folder)) if role == "master" else worker(Path(folder), *rest)
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # for the pages; `--host` is for all else
        os.execv(argv[0], argv)
    except FlatironsError as error:
        sys.exit(error.user)
    except OSError as error:
        sys.exit(f"Spark can't be started on this node: {error}")


if __name__ == "__main__":
    main()
