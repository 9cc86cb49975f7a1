"""Checks one environment: runs `survey` where its servers would run, and evaluates its output."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.environments.catalogue import Catalogue, Environment
from flatirons.environments.findings import FAILED, SKIPPED, Expectation, Finding, judge, version_command
from flatirons.environments.survey import MARK
from flatirons.errors import CommandError, CommandFailed, CommandTimeout
from flatirons.job.script import ISOLATED, program_text
from flatirons.job.variables import job_environment
from flatirons.runner import Runner
from flatirons.site.schema import Site
from flatirons.slurm import argv, explain
from flatirons.slurm.model import Cluster, JobSpec

PROGRAMS = {
    "survey": ("flatirons.job.node.kinds", "flatirons.job.node.profile", "flatirons.environments.survey"),
    "probe": ("flatirons.environments.probe",),
}
"""The modules of each program that is sent to a machine or into an environment."""
KERNEL_SECONDS = 60.0
GRACE_SECONDS = 30.0
"""How much longer than the survey's own deadline the command may take, to report that the deadline passed."""


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """Where environments are checked: this machine, or a node of a partition (one job for each)."""

    cluster: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    gpus: str = ""


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """One check: the environment, the place, the clusters (the first runs the job), the limit in seconds."""

    site: Site
    environment: Environment
    target: CheckTarget
    clusters: Mapping[str, Cluster]
    seconds: float
    job_name: str

    @property
    def first_cluster(self) -> Cluster:
        """The cluster whose srun is used."""
        return next(iter(self.clusters.values()))


def hub_version() -> str:
    """The version of the hub's jupyterhub; "" on a machine without it, where it isn't compared."""
    try:
        return importlib.metadata.version("jupyterhub")
    except importlib.metadata.PackageNotFoundError:
        return ""


async def check(
    site: Site, environment: Environment, target: CheckTarget, runner: Runner, seconds: float
) -> list[Finding]:
    """The findings of one environment; `seconds` limits all of it, including the time in the queue."""
    clusters = _clusters(site, environment, target)
    if reason := _why_not_offered(environment, target, clusters):
        return [Finding("machine", SKIPPED, reason)]
    job_name = f"flatirons-check-{secrets.token_hex(4)}"
    plan = CheckPlan(site, environment, target, clusters, seconds, job_name)
    text = _program_text("survey", _survey_config(plan))
    env = plan.first_cluster.environment() if target.partition else {}
    try:
        async with _job_cancelled_if_killed(plan, runner):
            done = await runner.run(_command(plan), stdin=text, env=env, deadline=seconds + GRACE_SECONDS)
    except CommandError as error:
        return [_why_no_survey(error, target)]
    observed = _parse_survey(done.stdout)
    if observed is None:
        return [Finding("machine", FAILED, "The Python of this machine didn't answer.", "Try again.")]
    return judge(environment, observed, Expectation(hub_version(), on_node=bool(target.partition)))


@contextlib.asynccontextmanager
async def _job_cancelled_if_killed(plan: CheckPlan, runner: Runner) -> AsyncIterator[None]:
    """Cancels the job of an srun that its deadline or Ctrl-C killed: otherwise the job would keep running."""
    try:
        yield
    except (CommandTimeout, asyncio.CancelledError):
        if plan.target.partition:
            cluster, scancel = plan.first_cluster, argv.scancel_named(plan.job_name)
            await runner.run([cluster.command(scancel[0]), *scancel[1:]], env=cluster.environment())
        raise


def _clusters(site: Site, environment: Environment, target: CheckTarget) -> dict[str, Cluster]:
    """The clusters whose Slurm commands are tested.

    On a node that is the node's own cluster; on this machine, all clusters that offer the environment.
    """
    names = [target.cluster or next(iter(site.clusters))] if target.partition else list(site.clusters)
    if target.cluster:
        names = [target.cluster]
    offered = [name for name in names if not environment.clusters or name in environment.clusters]
    return {name: Cluster.of(name, site.clusters[name].model_dump()) for name in offered}


def _why_not_offered(environment: Environment, target: CheckTarget, clusters: Mapping[str, Cluster]) -> str:
    if not clusters:
        return "It isn't offered on this cluster."
    if target.partition and environment.partitions and target.partition not in environment.partitions:
        return f"It isn't offered in {target.partition}, only in {', '.join(environment.partitions)}."
    return ""


def _command(plan: CheckPlan) -> list[str]:
    """The node's Python, isolated as for the starter: on this machine, or through srun."""
    python = [plan.site.servers.python, *ISOLATED, "-"]
    if not plan.target.partition:
        return python
    srun = argv.srun(_job_spec(plan), plan.first_cluster.spelling, wait_seconds=int(plan.seconds))
    return [plan.first_cluster.command(srun[0]), *srun[1:], *python]


def _job_spec(plan: CheckPlan) -> JobSpec:
    target = plan.target
    gpu_type, _, count = target.gpus.rpartition(":")
    return JobSpec(
        name=plan.job_name,
        partition=target.partition,
        account=target.account,
        qos=target.qos,
        nodes=1,
        ntasks=1,
        gpus=int(count or plan.environment.needs_gpu),
        gpu_type=gpu_type,
        runtime_minutes=int(plan.seconds // 60) + 2,
        chdir="/",
    )


def _survey_config(plan: CheckPlan) -> dict[str, Any]:
    """The CONFIG of `survey`."""
    environment, image = plan.environment, plan.environment.image
    prefix, program = _split_command(version_command(environment.cmd))
    prologues = (plan.site.servers.prologue, environment.prologue)
    return {
        "image": "" if "://" in image.path else image.path,
        "prefix": environment.argv(prefix),
        "binds": [bind.source for bind in image.binds],
        "prologue": "\n".join(text for text in prologues if text),
        "forgotten": list(environment.forgotten),
        "server": program,
        "environment": job_environment(plan.first_cluster, environment, plan.site.parallel.settings()),
        "seconds": plan.seconds,
        "probe": _program_text("probe", _probe_config(plan)),
    }


def _probe_config(plan: CheckPlan) -> dict[str, Any]:
    """The CONFIG of `probe`."""
    return {
        "version_of": version_command(plan.environment.cmd),
        "clusters": {name: cluster.environment() for name, cluster in plan.clusters.items()},
        "kernel_seconds": min(KERNEL_SECONDS, plan.seconds),
    }


def _split_command(words: Sequence[str]) -> tuple[list[str], str]:
    """(words before the server's program, such as `env NAME=VALUE`; the program); for `-m`, its Python."""
    if not words:
        return [], "python3"
    index = words.index("-m") - 1 if "-m" in words[1:] else len(words) - 1
    return list(words[:index]), words[index]


def _program_text(name: str, config: Mapping[str, Any]) -> str:
    """The text of `survey` or `probe` with its CONFIG above it, in ASCII only."""
    literal = ascii(json.dumps(config))
    return f"import json\nCONFIG = json.loads({literal})\n{program_text(*PROGRAMS[name])}\n"


def _parse_survey(stdout: str) -> dict[str, Any] | None:
    for line in reversed(stdout.splitlines()):
        if line.startswith(MARK):
            observed: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return observed
    return None


def _why_no_survey(error: CommandError, target: CheckTarget) -> Finding:
    """Why nothing was observed at all: because of srun, or of this machine's Python."""
    if isinstance(error, CommandTimeout):
        sentence = "The check didn't finish within its time limit."
        return Finding("machine", FAILED, sentence, "Try a longer --timeout.")
    if target.partition and isinstance(error, CommandFailed):
        sentence, refusal = explain.refusal(error.stderr)
        reason = sentence or f"srun ended with exit code {error.returncode}."
        text = f"Slurm allocated no node of {target.partition}: {reason} {refusal.sentence}".strip()
        return Finding("machine", FAILED, text, refusal.advice)
    advice = "Servers need this Python, `servers.python`, on every node."
    return Finding("machine", FAILED, error.user, advice)


def chosen(site: Site, names: list[str]) -> Iterator[Environment]:
    """The environments with these names, or all if there are none; raises ImageError for an unknown name."""
    catalogue = Catalogue.from_dict(site.environment_settings())
    yield from (catalogue.get(name) for name in names) if names else iter(catalogue)
