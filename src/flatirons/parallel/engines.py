"""A set of engines as one Slurm job: its JobSpec, its script, the container around each engine. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flatirons.errors import ImageError, OptionsRefused
from flatirons.images import Image, container_prefix
from flatirons.job import script
from flatirons.parallel.options import EngineOptions
from flatirons.parallel.own import JOB_NAME
from flatirons.slurm.model import JobSpec

# Slurm gives a job no environment of its own (see slurm.argv), and what sbatch was told isn't meant for srun.
_PROLOGUE = """\
export HOME=~ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER="$(id -un)"
export LOGNAME="$USER"
[ -r /etc/profile ] && . /etc/profile
unset SLURM_EXPORT_ENV SLURM_GET_USER_ENV SLURM_TIME_FORMAT
"""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KNOCK = """\
if ! true <>"/dev/tcp/$1/$2"; then
    echo "Nothing listens at $1 port $2: the notebook has ended, or this node can't reach it." >&2
    exit 1
fi"""
# The operating system ends this connection when the controller ends, even one that was killed.
_LIFELINE = """\
exec 3<>"/dev/tcp/$1/$2" || exit
shift 2
(
    read -r -u 3 2>/dev/null
    echo "The notebook has ended, so its engines end." >&2
    scancel "$SLURM_JOB_ID"
) &
exec "$@" 3>&-"""


def container(environ: Mapping[str, str]) -> list[str]:
    """The words before a command that run it in the notebook's own container; [] when it has none.

    `$FLATIRONS_CONTAINER` holds them as JSON; else `$FLATIRONS_IMAGE` is run plainly. Raises ImageError.
    """
    text = environ.get("FLATIRONS_CONTAINER", "")
    if not text:
        image = environ.get("FLATIRONS_IMAGE", "")
        return container_prefix(Image(path=image)) if image else []
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ImageError(f"$FLATIRONS_CONTAINER must be a JSON list of words, not {text!r}.")
    return words


def job_spec(
    n: int, options: EngineOptions, *, comment: str = "", folder: str = "", log: str = ""
) -> JobSpec:
    """The job of `n` engines: one task each, spread evenly where a number of nodes is asked for.

    `folder` is where the engines work, `log` where their output goes. Raises OptionsRefused.
    """
    if n < 1:
        raise OptionsRefused({"n": f"A set has at least one engine, not {n}."})
    nodes = min(options.nodes, n)
    return JobSpec(
        name=JOB_NAME,
        comment=comment,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        reservation=options.reservation,
        nodes=nodes,
        ntasks=n,
        cpus=options.cpus,
        runtime_minutes=options.runtime,
        chdir=folder,
        output=log.replace("%", "%%"),  # sbatch(1), filename pattern
        extra=tuple(_placement(n, nodes, options)),
    )


def _placement(n: int, nodes: int, options: EngineOptions) -> list[str]:
    """Options of sbatch beyond JobSpec's; without the first, 7 of 8 engines may land on one of 2 nodes."""
    words = []
    most = options.engines_per_node
    if nodes and most and nodes * most < n:
        sentence = f"{n} engines don't fit on {nodes} nodes with at most {most} on each."
        raise OptionsRefused({"nodes": sentence})
    if nodes:
        most = -(-n // nodes)
    if most:
        words.append(f"--ntasks-per-node={min(most, n)}")
    if options.memory:
        words.append(f"--mem-per-cpu={-(-options.memory // max(1, options.cpus))}M")
    return words


def engine_argv(
    command: Sequence[str], profile_dir: str, cluster_id: str, more: Sequence[str] = ()
) -> list[str]:
    """One engine, which finds the controller by the connection file in the profile: no key is in any argv.

    It gives up half a minute after the controller fell silent: it ends with the notebook, however that ends.
    """
    return [
        *command,
        f"--profile-dir={profile_dir}",
        *([f"--cluster-id={cluster_id}"] if cluster_id else []),
        "--IPEngine.wait_for_url_file=60",  # a shared filesystem may show the file late
        "--IPEngine.timeout=60",  # hundreds may register at once
        "--IPEngine.max_heartbeat_misses=20",
        *more,
    ]


class Controller(NamedTuple):
    """Where a controller listens; `lifeline` is the port of our own, which lives as long as it."""

    host: str
    registration: int
    lifeline: int = 0

    @classmethod
    def of(cls, connection_info: str) -> Controller | None:
        """What the text of an engines' connection file says; None when it isn't on the network."""
        if not connection_info:
            return None
        known = json.loads(connection_info)
        protocol, _, host = known["interface"].partition("://")
        return cls(host, known["registration"], known.get("lifeline", 0)) if protocol == "tcp" else None


def job_script(
    n: int,
    options: EngineOptions,
    engine: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    controller: Controller | None = None,
) -> str:
    """The batch script: one step, one task per engine. Slurm keeps scripts: no secret in `environment`.

    The job ends when the `controller` does, and at once when that is gone by the time that it starts.
    """
    exports = [["export", f"{name}={value}"] for name, value in (environment or {}).items() if _is_name(name)]
    knock: list[list[str]] = []
    step = [*_srun(n, options), *engine]
    if controller:
        where = ["bash", controller.host, str(controller.lifeline or controller.registration)]
        knock = [["timeout", "30", "bash", "-c", _KNOCK, *where]]
        step = ["bash", "-c", _LIFELINE, *where, *step] if controller.lifeline else step
    return script.compose(_PROLOGUE, [*knock, *exports, ["exec", *step]])


def _srun(n: int, options: EngineOptions) -> list[str]:
    return [
        *("srun", "--export=ALL", f"--ntasks={n}"),
        *([f"--cpus-per-task={options.cpus}"] if options.cpus else []),  # since 22.05 srun doesn't inherit it
        "--kill-on-bad-exit=0",  # one engine that crashes leaves the others alone
        "--wait=0",  # for as long as they like
        "--label",
    ]


def _is_name(name: str) -> bool:
    if not _VARIABLE.fullmatch(name):
        raise OptionsRefused({"environment": f"{name!r} can't be the name of an environment variable."})
    return True
