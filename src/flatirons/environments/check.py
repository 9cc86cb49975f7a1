"""From an environment of the site to its findings: has `survey` look, and judges what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from flatirons.environments.catalogue import Catalogue, Environment
from flatirons.environments.findings import FAILED, SKIPPED, Expectation, Finding, judge, version_command
from flatirons.environments.survey import MARK
from flatirons.errors import CommandError, CommandFailed, CommandTimeout
from flatirons.job.variables import job_environment
from flatirons.runner import Runner
from flatirons.site.schema import Site
from flatirons.slurm import argv, explain
from flatirons.slurm.model import Cluster, JobSpec

KERNEL_SECONDS = 60.0
PATIENCE = 30.0
"""Seconds that a machine gets beyond the survey's own deadline to say that it passed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where environments are looked at: this machine, or a node of a partition (one job for each)."""

    cluster: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    gpus: str = ""


def hub_version() -> str:
    """The version of the hub's jupyterhub, "" on a machine without it: then it isn't judged."""
    try:
        return importlib.metadata.version("jupyterhub")
    except importlib.metadata.PackageNotFoundError:
        return ""


async def check(
    site: Site, environment: Environment, place: Place, runner: Runner, seconds: float
) -> list[Finding]:
    """What is found of an environment; `seconds` for all of it, waiting for a node included."""
    clusters = _clusters(site, environment, place)
    if reason := _not_offered(environment, place, clusters):
        return [Finding("place", SKIPPED, reason)]
    job = f"flatirons-check-{secrets.token_hex(4)}"
    command = _command(site, environment, place, clusters, seconds, job)
    text = _text("survey", _config(site, environment, clusters, seconds))
    first = next(iter(clusters.values()))
    env = first.environment() if place.partition else {}
    try:
        async with _no_job_left(runner, first, job if place.partition else ""):
            done = await runner.run(command, stdin=text, env=env, deadline=seconds + PATIENCE)
    except CommandError as error:
        return [_no_survey(error, place)]
    seen = _seen(done.stdout)
    if seen is None:
        return [Finding("place", FAILED, "The machine's Python gave no answer.", "Try again.")]
    return judge(environment, seen, Expectation(hub_version(), on_node=bool(place.partition)))


@contextlib.asynccontextmanager
async def _no_job_left(runner: Runner, cluster: Cluster, job: str) -> AsyncIterator[None]:
    """Ends the job of an srun that was killed, by its deadline or by Ctrl-C: it would run on without it."""
    try:
        yield
    except (CommandTimeout, asyncio.CancelledError):
        if job:
            scancel = argv.scancel_named(job)
            await runner.run([cluster.command(scancel[0]), *scancel[1:]], env=cluster.environment())
        raise


def _clusters(site: Site, environment: Environment, place: Place) -> dict[str, Cluster]:
    """The clusters whose Slurm is tried: of a node its own, here all on which the environment is offered."""
    names = [place.cluster or next(iter(site.clusters))] if place.partition else list(site.clusters)
    if place.cluster:
        names = [place.cluster]
    offered = [name for name in names if not environment.clusters or name in environment.clusters]
    return {
        name: Cluster(name, site.clusters[name].slurm_conf, site.clusters[name].bin_dir) for name in offered
    }


def _not_offered(environment: Environment, place: Place, clusters: Mapping[str, Cluster]) -> str:
    if not clusters:
        return "It isn't offered on this cluster."
    if place.partition and environment.partitions and place.partition not in environment.partitions:
        return f"It isn't offered in {place.partition}, only in {', '.join(environment.partitions)}."
    return ""


def _command(
    site: Site,
    environment: Environment,
    place: Place,
    clusters: Mapping[str, Cluster],
    seconds: float,
    job: str,
) -> list[str]:
    """The node's Python, isolated as for the starter: here, or behind srun."""
    python = [site.servers.python, "-I", "-S", "-"]
    if not place.partition:
        return python
    kind, _, count = place.gpus.rpartition(":")
    spec = JobSpec(
        name=job,
        partition=place.partition,
        account=place.account,
        qos=place.qos,
        nodes=1,
        ntasks=1,
        gpus=int(count or environment.needs_gpu),
        gpu_type=kind,
        runtime_minutes=int(seconds // 60) + 2,
        chdir="/",
    )
    srun = argv.srun(spec, wait_seconds=int(seconds))
    first = next(iter(clusters.values()))
    return [first.command(srun[0]), *srun[1:], *python]


def _config(
    site: Site, environment: Environment, clusters: Mapping[str, Cluster], seconds: float
) -> dict[str, Any]:
    image = environment.image
    first = next(iter(clusters.values()))
    begins = version_command(environment.cmd)
    before, program = _program(begins)
    prologue = "\n".join(text for text in (site.servers.prologue, environment.prologue) if text)
    return {
        "image": "" if "://" in image.path else image.path,
        "prefix": environment.argv(before),
        "binds": [bind.source for bind in image.binds],
        "prologue": prologue,
        "forgotten": list(environment.forgotten),
        "server": program,
        "environment": job_environment(first, environment, site.parallel.settings()),
        "seconds": seconds,
        "probe": _text(
            "probe",
            {
                "version_of": begins,
                "clusters": {name: cluster.environment() for name, cluster in clusters.items()},
                "kernel_seconds": min(KERNEL_SECONDS, seconds),
            },
        ),
    }


def _program(begins: Sequence[str]) -> tuple[list[str], str]:
    """What stands before the server's program (`env NAME=VALUE`), and the program; of `-m` its Python."""
    if not begins:
        return [], "python3"
    place = begins.index("-m") - 1 if "-m" in begins[1:] else len(begins) - 1
    return list(begins[:place]), begins[place]


def _text(name: str, config: Mapping[str, Any]) -> str:
    """The text of one of our two programs, with its configuration above it, pure ASCII."""
    literal = ascii(json.dumps(config))
    return f"import json\nCONFIG = json.loads({literal})\n{_source(name)}"


@cache
def _source(name: str) -> str:
    return (files("flatirons.environments") / f"{name}.py").read_text(encoding="utf-8")


def _seen(stdout: str) -> dict[str, Any] | None:
    for line in reversed(stdout.splitlines()):
        if line.startswith(MARK):
            seen: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return seen
    return None


def _no_survey(error: CommandError, place: Place) -> Finding:
    """Why nothing was seen at all: srun, or this machine's Python."""
    if isinstance(error, CommandTimeout):
        return Finding(
            "place", FAILED, "It didn't end within the time for a check.", "Try a longer --timeout."
        )
    if place.partition and isinstance(error, CommandFailed):
        sentence, said = explain.refusal(error.stderr)
        text = sentence or f"srun ended with exit code {error.returncode}."
        return Finding(
            "place",
            FAILED,
            f"Slurm gave no node of {place.partition}: {text} {said.sentence}".strip(),
            said.advice,
        )
    return Finding("place", FAILED, error.user, "Servers need it as `servers.python`, on every node.")


def chosen(site: Site, names: list[str]) -> Iterator[Environment]:
    """The environments of these names, all for none; raises ImageError for a name that there isn't."""
    catalogue = Catalogue.from_dict(site.environment_settings())
    yield from (catalogue.get(name) for name in names) if names else iter(catalogue)
