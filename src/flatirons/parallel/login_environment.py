"""A notebook's environment as it would be on a log-in node: nothing in it of the job that the notebook is in.

Slurm's commands take what they find there for options: sbatch would hand the notebook's cores on to the next
job, srun would put a step into the notebook's job and wait for cores that the notebook has itself. So the
server forgets all of it when it starts (etc/jupyter/jupyter_server_config.py), for its kernels and terminals
alike. What it was stands in $FLATIRONS_JOB, and the job's id in $FLATIRONS_JOB_ID.

Imports nothing of weight: every server does this before its first answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping

OWN_JOB = "FLATIRONS_JOB"
OWN_ID = "FLATIRONS_JOB_ID"
# PMI and PMIX: an MPI library that finds them in a notebook waits for the other ranks of a step
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SPANK_", "PMI_", "PMI2_", "PMIX_")
_KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_TIME_FORMAT")

# Slurm gives a job no environment of its own (see slurm.argv), and what sbatch was told isn't meant for srun.
LOG_IN = """\
export HOME=~ PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin USER="$(id -un)"
export LOGNAME="$USER"
[ -r /etc/profile ] && . /etc/profile
unset SLURM_EXPORT_ENV SLURM_GET_USER_ENV SLURM_TIME_FORMAT
"""


def scrub(environ: MutableMapping[str, str]) -> None:
    """Moves the job's variables out of `environ` into $FLATIRONS_JOB. A second time is no error."""
    taken = {name: text for name, text in environ.items() if _is_of_a_job(name)}
    for name in taken:
        del environ[name]
    if "SLURM_JOB_ID" in taken:
        environ[OWN_JOB] = json.dumps(taken, sort_keys=True)
        environ[OWN_ID] = taken["SLURM_JOB_ID"]


def of_own_job(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` with what `scrub` took out of it, unless this is a job that was submitted from there."""
    if "SLURM_JOB_ID" in environ:
        return environ
    try:
        taken = json.loads(environ.get(OWN_JOB) or "{}")
    except ValueError:
        taken = None
    return {**taken, **environ} if isinstance(taken, dict) else environ


def clean(environ: Mapping[str, str]) -> list[str]:
    """The words before a command of Slurm's that is started with `environ`, so that it sees none of it."""
    return ["env", *(f"--unset={name}" for name in sorted(environ) if _is_of_a_job(name))]


def _is_of_a_job(name: str) -> bool:
    return name.startswith(_OF_A_JOB) and name not in _KEPT
