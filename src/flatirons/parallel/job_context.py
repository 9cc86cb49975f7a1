"""The Slurm and the process that engines belong to: those of this notebook's job, or this log-in shell."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from flatirons.runner import AsSelf
from flatirons.slurm import argv
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster

# Set in the notebook's own job, they would count as requests for the next; the client sets SLURM_CONF again.
OWN_JOB = (*argv.INHERITED, "SPANK_", "PMI")
JOB_NAME = "ipengines"
OWNER = "FLATIRONS_CLUSTER_OWNER"
"""Variable with the id of the process with which a controller ends; a controller without it lives on."""


def slurm_of(environ: Mapping[str, str]) -> SlurmClient:
    """A client that runs Slurm's commands as ourselves, in an environment without traces of our own job."""
    return SlurmClient(_cluster(environ), AsSelf(hidden=OWN_JOB), job_names=(JOB_NAME,))


async def find(slurm: SlurmClient, comment: str) -> int:
    """Our own live job of engines with this comment, 0 when there is none. Raises SlurmError."""
    me = pwd.getpwuid(os.getuid()).pw_name
    for job in (await slurm.jobs()).jobs.values():
        if (job.user, job.comment) == (me, comment) and not job.state.is_over:
            return job.id
    return 0


async def signal_steps(environ: Mapping[str, str], job_id: int, signal: str, name: str = "") -> None:
    """Sends a signal to every task of the job's steps, or of the one of that name, and not to its script.

    Raises CommandError.
    """
    runner, env = AsSelf(hidden=OWN_JOB), _cluster(environ).environment()
    targets = [str(job_id)]
    if name:
        listed = await runner.run(argv.squeue_steps(job_id), env=env)
        targets = [line.split(" ", 1)[0] for line in listed.stdout.splitlines() if line.endswith(f" {name}")]
    for target in targets:
        await runner.run([*argv.scancel(job_id, signal)[:2], target], env=env)


def _cluster(environ: Mapping[str, str]) -> Cluster:
    return Cluster(environ.get("FLATIRONS_CLUSTER", ""), slurm_conf=environ.get("SLURM_CONF", ""))
