"""The pending reasons that name a limit, taken apart: AssocGrpCpuLimit, QOSMaxGRESPerUser, 160 more; pure.

Slurm composes them: whose limit (association, QOS), of what sort (aggregate, largest, smallest), of what
resource, counted how (now, in minutes used, in minutes that running jobs may still use), for whom. So do the
sentences. Source: job_state_reason.c of Slurm 26.05.
"""

from __future__ import annotations

import re

_LIMIT = re.compile(
    r"(?P<owner>Assoc|QOS)?(?P<sort>Grp|Max|Min)"
    r"(?P<what>CPU|Cpu|Memory|Mem|Node|GRES|License|BB|Billing|Energy|Unknown|SubmitJobs?|Jobs|WallDuration|Wall)"
    r"(?P<minutes>RunMinutes|RunMins|Minutes)?(?:Per(?P<per>Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)
_RESOURCES = {
    "CPU": "CPUs",
    "Cpu": "CPUs",
    "Memory": "memory",
    "Mem": "memory",
    "Node": "nodes",
    "GRES": "GPUs (or other generic resources)",
    "License": "licenses",
    "BB": "burst buffer space",
    "Billing": "billing units",
    "Energy": "energy",
    "Unknown": "units of some resource",
}
_LATER = "It starts when some of them have ended; asking for less may help."
_LESS = "It will not start like this: ask for less, or choose another account, QOS or partition."


def explain_limit(code: str) -> tuple[str, str] | None:
    """Sentence and advice for a reason that names a limit, None for any other text."""
    match = _LIMIT.fullmatch(code)
    if not match:
        return None
    parts = {key: value or "" for key, value in match.groupdict().items()}
    whose = "your account" if parts["owner"] == "Assoc" else "its QOS"
    if parts["what"].startswith("Wall"):
        return _run_time(parts, whose)
    if parts["what"] not in _RESOURCES:
        return _number_of_jobs(parts, whose)
    what = _RESOURCES[parts["what"]]
    if parts["minutes"]:
        return _minutes(parts, whose, what)
    return _resource(parts, whose, what)


def _run_time(parts: dict[str, str], whose: str) -> tuple[str, str]:
    if parts["sort"] == "Grp":
        return (
            f"The running jobs of {whose} together have reached its limit of run time.",
            "A shorter run time may help; else it starts when other jobs end.",
        )
    return (f"The job asks for more time than {whose} allows.", "Ask for a shorter run time.")


def _number_of_jobs(parts: dict[str, str], whose: str) -> tuple[str, str]:
    who = "There are" if parts["sort"] == "Grp" or parts["per"] == "Account" else "You have"
    if parts["what"].startswith("Submit"):
        return (
            f"{who} already as many jobs waiting and running as {whose} allows.",
            "Cancel one, or wait until one has ended.",
        )
    return (f"{who} already as many jobs running as {whose} allows.", "It starts when one of them has ended.")


def _resource(parts: dict[str, str], whose: str, what: str) -> tuple[str, str]:
    if parts["sort"] == "Min":
        return (
            f"The job asks for fewer or less {what} than {whose} demands.",
            "Ask for more, or choose another QOS.",
        )
    if parts["sort"] == "Max" and parts["per"] in ("", "Job", "Node"):
        where = "on one node" if parts["per"] == "Node" else "in one job"
        return (f"The job asks for more {what} than {whose} allows {where}.", _LESS)
    return (f"{_capital(_users(parts, whose))} use all the {what} that {whose} allows at a time.", _LATER)


def _minutes(parts: dict[str, str], whose: str, what: str) -> tuple[str, str]:
    """Minutes times a resource: already used up, in one job, or promised to running jobs."""
    if parts["minutes"].startswith("Run"):
        return (
            f"What {_users(parts, whose)} may still use ({what} times minutes) is all that {whose} allows.",
            "A shorter run time may help; else it starts as those jobs go on or end.",
        )
    if parts["sort"] == "Max":
        return (
            f"The job's run time times its {what} is more than {whose} allows in one job.",
            "Ask for a shorter run time or for less.",
        )
    return (
        f"{_capital(whose)} has used up what it was granted ({what} times minutes).",
        "Choose another account or QOS, or ask the operators for more.",
    )


def _users(parts: dict[str, str], whose: str) -> str:
    if parts["per"] == "User":
        return "your running jobs"
    return f"the running jobs of {'your account' if parts['per'] == 'Account' else whose}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
