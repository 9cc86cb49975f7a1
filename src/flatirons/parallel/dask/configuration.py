"""The configuration with which `dask_jobqueue.SLURMCluster()` works without a word about the cluster.

The class is the stock one and never imports this: the Jupyter server writes the configuration into a
directory of its user's when it starts, and names that in $DASK_ROOT_CONFIG, where Dask looks first, so that
the image's and the user's own settings come after it and win. Workers are Slurm jobs in the notebook's
container; they, the scheduler and the client know each other by a certificate of the user's
(parallel.certificate). What becomes of the jobs the notebook is told by parallel.dask_jobs.

Servers with the same settings share a directory. Each leaves a note there of when its job ends at the latest,
and a directory whose last note has run out is removed by whichever server starts next.

Imports nothing of weight, and not Dask: every server does this before its first answer.
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
from flatirons.job.script import quote
from flatirons.parallel import address
from flatirons.parallel.container import container, log_in
from flatirons.parallel.dask import certificate
from flatirons.parallel.login_environment import OWN_ID, of_own_job
from flatirons.parallel.options import EngineOptions, resolve

ROOT = "DASK_ROOT_CONFIG"
"""Dask's variable with the directory that it reads before all others, instead of /etc/dask."""
FOLDER = Path(".local/state/flatirons/dask")
CERTIFICATE = "certificate.pem"
FILE = "flatirons.json"
_NOTE = "until-"  # and the id of the server's job; the file's time is when that is over
_PLACE = re.compile("[0-9a-f]{16}")
_GRACE = 7 * 86400.0  # seconds
_UNKNOWN_END = 366 * 86400.0  # seconds; Slurm takes a year for a job without a time limit, too
_NEEDED = ("dask_jobqueue", "cryptography")
_LEAST_MIB = 1024
_MIB_PER_CORE = 2048  # where Slurm doesn't tell what the notebook has


def offer(environ: MutableMapping[str, str]) -> None:
    """Sets $DASK_ROOT_CONFIG, inside a job, where Dask is installed and nobody has set it already.

    Raises FlatironsError or OSError, with the environment unchanged.
    """
    if OWN_ID not in environ or ROOT in environ or not all(map(importlib.util.find_spec, _NEEDED)):
        return
    folder = Path.home() / FOLDER
    place = write(environ, folder)
    environ[ROOT] = str(place)
    # beside the start of the server, which need not wait for it
    threading.Thread(target=prune, args=[folder, time.time()], name="old Dask settings", daemon=True).start()


def write(environ: Mapping[str, str], folder: Path) -> Path:
    """A directory below `folder` with the configuration, named after what is in it. Raises as `offer`."""
    made = configuration(environ, folder)
    place = folder / hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    file = place / FILE
    certificate.ensure(folder / CERTIFICATE)
    if not file.exists():
        slurm = made["jobqueue"]["slurm"]
        slurm["job-script-prologue"].append(f"export {ROOT}={quote([str(place)])}")
        place.mkdir(mode=0o700, exist_ok=True)
        draft = place / f".{file.name}.{os.getpid()}"
        draft.write_text(json.dumps(made, indent=1))
        os.replace(draft, file)
    _leave_note(place, of_own_job(environ), time.time())
    return place


def _leave_note(place: Path, job: Mapping[str, str], now: float) -> None:
    """Keeps the directory until a while after the job's time limit, which the operators may extend."""
    end = _number(job, "SLURM_JOB_END_TIME") or now + _UNKNOWN_END
    note = place / f"{_NOTE}{job['SLURM_JOB_ID']}"
    note.touch(mode=0o600)
    os.utime(note, (now, end + _GRACE))


def prune(folder: Path, now: float) -> None:
    """Removes what servers that are long over left, and nothing that we didn't write. Raises nothing."""
    with contextlib.suppress(OSError):  # a home that is full or read-only; another server may be at it, too
        for place in folder.iterdir():
            if _PLACE.fullmatch(place.name) and _is_over(place, now):
                for file in (place / FILE, *place.glob(f"{_NOTE}*")):
                    file.unlink(missing_ok=True)
                place.rmdir()


def _is_over(place: Path, now: float) -> bool:
    """Whether no server can need the directory any more; one without a note is of an older version."""
    notes = [note.stat().st_mtime for note in place.glob(f"{_NOTE}*")]
    return max(notes, default=place.stat().st_mtime + _UNKNOWN_END) < now


def configuration(environ: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Dask's settings for a notebook with this environment. Raises FlatironsError."""
    job = of_own_job(environ)
    options = resolve(EngineOptions(), job)
    both = str(folder / CERTIFICATE)
    key_pair = {"key": both, "cert": both}
    roles = dict.fromkeys(("scheduler", "worker", "client"), key_pair)
    preload = {"preload": ["flatirons.parallel.dask.preload"]}
    return {
        "jobqueue": {"slurm": _slurm(environ, job, options, folder)},
        "distributed": {
            **dict.fromkeys(("worker", "nanny", "client"), preload),
            "scheduler": {"preload": [*preload["preload"], "flatirons.parallel.dask.jobs"]},
            "comm": {"default-scheme": "tls", "tls": {"ca-file": both, **roles}},
            "dashboard": {"link": _dashboard(environ)},
        },
    }


def _slurm(
    environ: Mapping[str, str], job: Mapping[str, str], options: EngineOptions, folder: Path
) -> dict[str, Any]:
    """What SLURMCluster takes for a keyword that isn't given."""
    cores = options.cpus or 1
    given = {"queue": options.partition, "account": options.account, "walltime": options.runtime}
    return {
        **{name: str(value) for name, value in given.items() if value},
        "cores": cores,
        "memory": f"{_gibibytes(options, job, cores)}GiB",
        "python": quote([*container(environ), sys.executable]),
        "job-script-prologue": log_in(environ).splitlines(),
        "job-extra-directives": _directives(options),
        "log-directory": str(folder / "log"),
        # Its pages are without a password: they are for the user's own server, which hands them on.
        "worker-extra-args": ["--dashboard-address", "127.0.0.1:0"],
        "scheduler-options": {"host": address.of_this_node(job), "dashboard_address": "127.0.0.1:0"},
    }


def _directives(options: EngineOptions) -> list[str]:
    """Options of sbatch besides SLURMCluster's own.

    The first keeps the notebook's tokens out of the job. A job that lost its node is not put back in the
    queue: Dask cancels it as soon as it misses the worker.
    """
    given = {"qos": options.qos, "reservation": options.reservation}
    return ["--export=NIL", "--no-requeue", *(f"--{name}={value}" for name, value in given.items() if value)]


def _gibibytes(options: EngineOptions, job: Mapping[str, str], cores: int) -> int:
    """Memory of a worker: the site's choice, else as much for each core as the notebook has; whole GiB.

    SLURMCluster asks Slurm for whole GiB, rounded up, which may be more than is allowed.
    """
    return max(_LEAST_MIB, options.memory or _mib_per_core(job) * cores) // 1024


def _mib_per_core(job: Mapping[str, str]) -> int:
    """What Slurm gave the notebook."""
    per_core, per_node = _number(job, "SLURM_MEM_PER_CPU"), _number(job, "SLURM_MEM_PER_NODE")
    return per_core or per_node // max(1, _number(job, "SLURM_CPUS_ON_NODE")) or _MIB_PER_CORE


def _number(job: Mapping[str, str], name: str) -> int:
    text = job.get(name, "")
    return int(text) if text.isdecimal() else 0


def _dashboard(environ: Mapping[str, str]) -> str:
    """Where the user's browser finds a scheduler's pages: behind the notebook server. {port} is Dask's."""
    prefix = environ.get("JUPYTERHUB_SERVICE_PREFIX", "/").replace("{", "{{").replace("}", "}}")
    return f"{prefix}proxy/{{port}}/status"


def offer_or_say(environ: MutableMapping[str, str]) -> None:
    """`offer`, for a server that must start whatever becomes of it: what is wrong goes to its log."""
    try:
        offer(environ)
    except FlatironsError as error:
        print(f"Dask isn't configured: {error.user}", file=sys.stderr)
    except OSError as error:  # a home that is full or read-only
        print(f"Dask isn't configured: its directory can't be written: {error}", file=sys.stderr)
