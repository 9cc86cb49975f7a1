"""The Slurm cluster and the process that engines belong to: the notebook's, or those of a log-in shell."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Mapping

from flatirons.runner import AsSelf
from flatirons.slurm import argv, parse
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.spelling import Spelling

# Slurm set these for the notebook's job, and would read them as options of the next job. The client sets
# SLURM_CONF again.
JOB_VARIABLES = (*argv.INHERITED, "SPANK_", "PMI")
JOB_NAME = "ipengines"
OWNER_PID = "FLATIRONS_CLUSTER_OWNER"
"""Variable with the id of a process: a controller ends when that process does."""


def slurm_client(environ: Mapping[str, str]) -> SlurmClient:
    """A client that runs Slurm's commands as the user, without the variables of the notebook's job."""
    return SlurmClient(_cluster(environ), AsSelf(hidden=JOB_VARIABLES), job_names=(JOB_NAME,))


def read_spelling(environ: Mapping[str, str]) -> Spelling:
    """By which options the cluster of the notebook takes resources."""
    return Spelling.from_text(environ.get("FLATIRONS_SBATCH", ""))


def user_name() -> str:
    """The name of the user that this process runs as."""
    return pwd.getpwuid(os.getuid()).pw_name


async def find_job(slurm: SlurmClient, comment: str) -> int:
    """The id of the user's live job with this in its comment, 0 when there is none. Raises SlurmError.

    A plugin of the site may have given it another name, and added to the comment.
    """
    jobs = await slurm.jobs_of(user_name())
    return next((job.id for job in jobs if comment in job.comment and not job.state.is_over), 0)


async def signal_steps(environ: Mapping[str, str], job_id: int, signal: str, name: str = "") -> None:
    """Sends a signal to every task of the job's steps, or of the step with this name; not to its script.

    Raises CommandError, and SlurmError when the steps can't be read.
    """
    runner, env = AsSelf(hidden=JOB_VARIABLES), _cluster(environ).environment()
    targets = [str(job_id)]
    if name:
        mark = secrets.token_hex(4)
        listed = await runner.run(argv.squeue_steps(mark, job_id), env=env)
        targets = [step_id for step_id, called in parse.steps(listed.stdout, mark) if called == name]
    for target in targets:
        await runner.run([*argv.scancel(job_id, signal)[:2], target], env=env)


def _cluster(environ: Mapping[str, str]) -> Cluster:
    return Cluster(
        environ.get("FLATIRONS_CLUSTER", ""), environ.get("SLURM_CONF", ""), spelling=read_spelling(environ)
    )
