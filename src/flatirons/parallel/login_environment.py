"""The environment of a notebook as it would be on a log-in node, without the variables of its job.

Slurm's commands read these variables as options: sbatch would pass the notebook's cores on to the next job,
and srun would start a step in the notebook's job and wait for cores that the notebook itself uses. So the
Jupyter server removes them when it starts (etc/jupyter/jupyter_server_config.py), for its kernels and its
terminals. It keeps them in $FLATIRONS_JOB, and the job's id in $FLATIRONS_JOB_ID.

This module imports only light modules, because every server imports it before its first answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping

from flatirons.job.node.profile import READ_PROFILE

JOB_VARIABLE = "FLATIRONS_JOB"
JOB_ID_VARIABLE = "FLATIRONS_JOB_ID"
# PMI and PMIX: an MPI library that finds them in a notebook waits for the other ranks of a step.
_JOB_PREFIXES = ("SLURM_", "SLURMD_", "SRUN_", "SPANK_", "PMI_", "PMI2_", "PMIX_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_TIME_FORMAT")

PROFILE_ENDED = 78  # exit code of a job script that the node's /etc/profile ended (EX_CONFIG)

# Slurm gives a job no environment (see slurm.argv). The options of sbatch are not meant for srun.
LOGIN_LINES = f"""\
export HOME=~ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER="$(id -un)"
export LOGNAME="$USER"
trap 'echo "/etc/profile ended this job script with exit code $?, so nothing was started." >&2
exit {PROFILE_ENDED}' EXIT
{READ_PROFILE}
trap - EXIT
unset SLURM_EXPORT_ENV SLURM_GET_USER_ENV SLURM_TIME_FORMAT
"""


def hide_job(environ: MutableMapping[str, str]) -> None:
    """Moves the job's variables out of `environ` into $FLATIRONS_JOB. A second call changes nothing."""
    removed = {name: text for name, text in environ.items() if _is_of_a_job(name)}
    for name in removed:
        del environ[name]
    if "SLURM_JOB_ID" in removed:
        environ[JOB_VARIABLE] = json.dumps(removed, sort_keys=True)
        environ[JOB_ID_VARIABLE] = removed["SLURM_JOB_ID"]


def job_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` together with the variables that `hide_job` removed.

    In a job that was submitted from the notebook this is `environ` unchanged, because that job has its own
    variables.
    """
    if "SLURM_JOB_ID" in environ:
        return environ
    try:
        removed = json.loads(environ.get(JOB_VARIABLE) or "{}")
    except ValueError:
        removed = None
    return {**removed, **environ} if isinstance(removed, dict) else environ


def env_command(environ: Mapping[str, str]) -> list[str]:
    """The words before a Slurm command that keep the job's variables in `environ` from it."""
    return ["env", *(f"--unset={name}" for name in sorted(environ) if _is_of_a_job(name))]


def _is_of_a_job(name: str) -> bool:
    return name.startswith(_JOB_PREFIXES) and name not in _KEPT
