"""Which error the failure of one of Slurm's commands means, and what its user reads; no I/O."""

from __future__ import annotations

import re

from flatirons.errors import CommandFailed, SlurmError, SlurmUnreachable, SubmitRefused, printable
from flatirons.runner import Completed
from flatirons.slurm import explain

NOT_ANSWERING = "Slurm does not answer at the moment. Please try again in a minute."
MAYBE_SUBMITTED = (
    "Slurm did not say whether it took the job. If it did, the job will be cancelled. "
    "Please try again in a minute."
)
NOT_ALLOWED = "The hub may not run Slurm's commands in your name. Please tell the operator."

# What Slurm prints when a daemon wasn't reached or is busy, from slurm_errno.c of 22.05 to 26.05. Anything
# else that sbatch prints is a refusal.
_UNREACHED = re.compile(
    r"""
    Unable\ to\ contact\ slurm\ controller | Communication\ connection\ failure
    | Message\ (send|receive)\ failure | Communication\ shutdown\ failure
    | [Tt]imed\ out | Zero\ Bytes\ were\ transmitted | Connection\ (refused|reset|rejected|forced)
    | Slurm\ backup\ controller\ in\ standby\ mode | Rate\ limit\ exceeded
    | Protocol\ authentication\ error | [Mm]unge | Unable\ to\ establish\ (controller|control)
    | Slurm\ temporarily\ unable | Unexpected\ message\ received | Incompatible\ versions
    | Could\ not\ establish\ a\ configuration\ source | Unable\ to\ process\ configuration\ file
    | Name\ or\ service\ not\ known | Can't\ find\ an\ address | Resource\ temporarily\ unavailable
    | Slurm\ job\ queue\ full | Problem\ talking\ to\ the\ database
    | ^ssh: | ^kex_exchange | Host\ key\ verification\ failed | Permission\ denied\ \( | Connection\ closed
    """,
    re.VERBOSE | re.MULTILINE,
)
# What sudo prints about itself, except the warning that it can't look up the name of its own host.
_NOT_ALLOWED = re.compile(r"^sudo: (?!unable to resolve host)|^Sorry, user .* not allowed", re.MULTILINE)


def failed(error: CommandFailed, said: str = "") -> SlurmError:
    """The error that the failure of a command other than sbatch means; it `said` what is on stderr."""
    said = said or error.stderr
    if _NOT_ALLOWED.search(said):
        return SlurmUnreachable(NOT_ALLOWED, error.detail)
    if _UNREACHED.search(said) or not said.strip():
        return SlurmUnreachable(NOT_ANSWERING, error.detail)
    sentence = explain.slurm_sentence(said)
    return SlurmError(f"Slurm says: {sentence}", error.detail)


def without_id(done: Completed) -> str:
    """What the user reads when sbatch reported success, and Slurm has no such job."""
    said = explain.slurm_sentence(f"{done.stderr}\n{done.stdout}")
    sentence = f"sbatch printed: {printable(said)}" if said else "sbatch printed nothing."
    return f"Slurm has no job of this start, although sbatch reported none of its errors. {sentence}"


def refused(error: CommandFailed, unreached: str = NOT_ANSWERING) -> SlurmError:
    """The error that the failure of sbatch means; `unreached` is its text when sbatch didn't reach Slurm.

    Plugins and wrappers of a site may give their reason on stdout, where sbatch itself prints no error.
    """
    failure = failed(error, error.stderr if error.stderr.strip() else error.stdout)
    if isinstance(failure, SlurmUnreachable):
        return failure if failure.user == NOT_ALLOWED else SlurmUnreachable(unreached, error.detail)
    sentence, explanation = explain.refusal(f"{error.stderr}\n{error.stdout}")
    return SubmitRefused(f"Slurm refused the job: {printable(sentence)} {explanation}".strip(), error.detail)
