"""The configuration with which `dask_jobqueue.SLURMCluster()` needs no argument.

The class is dask_jobqueue's own and doesn't import this module. When a Jupyter server starts, it writes the
configuration into a directory in its user's home and names that directory in $DASK_ROOT_CONFIG. Dask reads it
first, so the settings of the image and of the user override it. Workers are Slurm jobs in the notebook's
container. Workers, scheduler and client recognise each other by the user's certificate (dask.certificate).
dask.jobs reports what happens to the jobs.

Servers with the same settings share a directory. Each server leaves a note there of when its job ends at the
latest. The next server that starts removes directories whose last note has expired.

This module imports only light modules, and not Dask, because every server imports it before its first answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from flatirons.errors import FlatironsError
from flatirons.files import write_atomically
from flatirons.job.script import quote
from flatirons.parallel import address
from flatirons.parallel.container import login_lines, notebook_container
from flatirons.parallel.dask import certificate
from flatirons.parallel.dask.compat import ROOT_CONFIG
from flatirons.parallel.job_variables import read_count
from flatirons.parallel.login_environment import JOB_ID_VARIABLE, job_environment
from flatirons.parallel.options import EngineOptions, resolve

FOLDER = Path(".local/state/flatirons/dask")
CERTIFICATE = "certificate.pem"
FILE = "flatirons.json"
_NOTE = (
    "until-"  # followed by the id of the server's job; the file's modification time is the end of that job
)
_PLACE = re.compile("[0-9a-f]{16}")
_GRACE = 7 * 86400.0  # seconds
_UNKNOWN_END = 366 * 86400.0  # seconds; Slurm itself counts a job without a time limit as a year
_NEEDED = ("dask_jobqueue", "cryptography")
_LEAST_MIB = 1024
_MIB_PER_CORE = 2048  # where Slurm doesn't say what the notebook has


def configure(environ: MutableMapping[str, str]) -> None:
    """Sets $DASK_ROOT_CONFIG inside a job, if Dask is installed and nobody has set the variable.

    Raises FlatironsError or OSError, and then leaves the environment unchanged.
    """
    if JOB_ID_VARIABLE not in environ or ROOT_CONFIG in environ:
        return
    if not all(map(importlib.util.find_spec, _NEEDED)):
        return
    folder = Path.home() / FOLDER
    environ[ROOT_CONFIG] = str(write(environ, folder))
    # In a thread, so that the server doesn't wait for this.
    threading.Thread(target=prune, args=[folder, time.time()], name="old Dask settings", daemon=True).start()


def configure_or_log(environ: MutableMapping[str, str]) -> None:
    """Calls `configure` and prints its errors, for a server that must start in any case."""
    try:
        configure(environ)
    except FlatironsError as error:
        print(f"Dask isn't configured: {error.user}", file=sys.stderr)
    except OSError as error:  # the home directory may be full or read-only
        print(f"Dask isn't configured: its directory can't be written: {error}", file=sys.stderr)


def write(environ: Mapping[str, str], folder: Path) -> Path:
    """The directory below `folder` that holds the configuration; its name depends on the settings.

    Raises the same errors as `configure`.
    """
    settings = make_settings(environ, folder)
    place = folder / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    file = place / FILE
    certificate.create(folder / CERTIFICATE)
    if not file.exists():
        slurm = settings["jobqueue"]["slurm"]
        slurm["job-script-prologue"].append(f"export {ROOT_CONFIG}={quote([str(place)])}")
        place.mkdir(mode=0o700, exist_ok=True)
        write_atomically(file, _as_yaml(settings))
    _leave_note(place, job_environment(environ), time.time())
    return place


def _as_yaml(settings: Mapping[str, Any]) -> str:
    """The settings in JSON that is YAML as well: that has no pairs of escapes for characters beyond \\uffff.

    Raises FlatironsError for a path that isn't UTF-8.
    """
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise FlatironsError("the path of your home, or of the notebook's image, isn't UTF-8.")
    return text


def _leave_note(place: Path, job: Mapping[str, str], now: float) -> None:
    """Keeps the directory until a week after the job's time limit, because operators may extend the limit."""
    end = read_count(job, "SLURM_JOB_END_TIME") or now + _UNKNOWN_END
    note = place / f"{_NOTE}{job['SLURM_JOB_ID']}"
    note.touch(mode=0o600)
    os.utime(note, (now, end + _GRACE))


def prune(folder: Path, now: float) -> None:
    """Removes what servers left that ended long ago, and no other files. Raises nothing."""
    with contextlib.suppress(OSError):  # the home directory may be read-only; another server may do the same
        for place in folder.iterdir():
            if _PLACE.fullmatch(place.name) and _has_expired(place, now):
                for file in (place / FILE, *place.glob(f"{_NOTE}*")):
                    file.unlink(missing_ok=True)
                place.rmdir()


def _has_expired(place: Path, now: float) -> bool:
    """Whether no server can need the directory any more. Older versions left no notes."""
    notes = [note.stat().st_mtime for note in place.glob(f"{_NOTE}*")]
    return max(notes, default=place.stat().st_mtime + _UNKNOWN_END) < now


def make_settings(environ: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Dask's settings for a notebook with this environment. Raises FlatironsError."""
    job = job_environment(environ)
    options = resolve(EngineOptions(), job)
    both = str(folder / CERTIFICATE)
    key_pair = {"key": both, "cert": both}
    roles = dict.fromkeys(("scheduler", "worker", "client"), key_pair)
    preload = {"preload": ["flatirons.parallel.dask.preload"]}
    return {
        "jobqueue": {"slurm": _slurm_settings(environ, job, options, folder)},
        "distributed": {
            **dict.fromkeys(("worker", "nanny", "client"), preload),
            "scheduler": {"preload": [*preload["preload"], "flatirons.parallel.dask.jobs"]},
            "comm": {"default-scheme": "tls", "tls": {"ca-file": both, **roles}},
            "dashboard": {"link": _dashboard_link(environ)},
        },
    }


def _slurm_settings(
    environ: Mapping[str, str], job: Mapping[str, str], options: EngineOptions, folder: Path
) -> dict[str, Any]:
    """The defaults of SLURMCluster's keywords."""
    cores = options.cpus or 1
    given = {"queue": options.partition, "account": options.account, "walltime": options.runtime}
    return {
        **{name: str(value) for name, value in given.items() if value},
        "cores": cores,
        "memory": f"{_gibibytes(options, job, cores)}GiB",
        "python": quote([*notebook_container(environ), sys.executable]),
        "job-script-prologue": login_lines(environ).splitlines(),
        "job-extra-directives": _directives(options),
        "log-directory": str(folder / "log"),
        # Dask's pages have no password, so they listen on loopback only. The notebook server proxies those of
        # the scheduler; it couldn't reach those of workers on other nodes, but others on these nodes could.
        "worker-extra-args": ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        "scheduler-options": {"host": address.of_this_node(job), "dashboard_address": "127.0.0.1:0"},
    }


def _directives(options: EngineOptions) -> list[str]:
    """Options of sbatch for which SLURMCluster has no keyword.

    --export=NIL keeps the notebook's tokens out of the job. With --no-requeue, Slurm doesn't requeue a job
    that lost its node: Dask cancels the job anyway when it misses the worker.
    """
    given = {"qos": options.qos, "reservation": options.reservation}
    return ["--export=NIL", "--no-requeue", *(f"--{name}={value}" for name, value in given.items() if value)]


def _gibibytes(options: EngineOptions, job: Mapping[str, str], cores: int) -> int:
    """Memory of a worker in whole GiB, rounded down: the site's choice, or the notebook's for as many cores.

    SLURMCluster requests whole GiB, rounded up, which may be more than a limit allows.
    """
    return max(_LEAST_MIB, options.memory or _mib_per_core(job) * cores) // 1024


def _mib_per_core(job: Mapping[str, str]) -> int:
    """MiB that the notebook has for each of its cores."""
    cores = max(1, read_count(job, "SLURM_CPUS_ON_NODE"))
    return (
        read_count(job, "SLURM_MEM_PER_CPU")
        or read_count(job, "SLURM_MEM_PER_NODE") // cores
        or _MIB_PER_CORE
    )


def _dashboard_link(environ: Mapping[str, str]) -> str:
    """The path of a scheduler's pages behind the notebook server. Dask replaces {port}."""
    prefix = environ.get("JUPYTERHUB_SERVICE_PREFIX", "/").replace("{", "{{").replace("}", "}}")
    return f"{prefix}proxy/{{port}}/status"
