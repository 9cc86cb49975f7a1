"""Reasons for waiting that name a limit (AssocGrpCpuLimit, QOSMaxGRESPerUser, 160 more) -> a sentence; pure.

Slurm composes the name: whose limit it is (association or QOS), its kind (aggregate, maximum or minimum), the
resource, how that is counted (now, in minutes used, in minutes that running jobs may still use), and for
whom. The sentences are composed in the same way. Source: job_state_reason.c of Slurm 26.05.
"""

from __future__ import annotations

import re

from flatirons.slurm.explain.explanation import Explanation

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


def explain_limit(code: str) -> Explanation | None:
    """What a reason that names a limit means; None for any other text."""
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


def _run_time(parts: dict[str, str], whose: str) -> Explanation:
    if parts["sort"] == "Grp":
        return Explanation(
            f"The running jobs of {whose} together have reached its limit of run time.",
            "A shorter run time may help; otherwise it starts when other jobs end.",
        )
    return Explanation(f"The job asks for more time than {whose} allows.", "Ask for a shorter run time.")


def _number_of_jobs(parts: dict[str, str], whose: str) -> Explanation:
    is_shared = parts["sort"] == "Grp" or parts["per"] == "Account"
    who = "There are already" if is_shared else "You already have"
    if parts["what"].startswith("Submit"):
        return Explanation(
            f"{who} as many jobs waiting and running as {whose} allows.",
            "Cancel one, or wait until one has ended.",
        )
    return Explanation(
        f"{who} as many jobs running as {whose} allows.", "It starts when one of them has ended."
    )


def _resource(parts: dict[str, str], whose: str, what: str) -> Explanation:
    if parts["sort"] == "Min":
        amount = "few" if what.endswith("s") else "little"
        return Explanation(
            f"The job asks for too {amount} {what}: {whose} demands more.",
            "Ask for more, or choose another QOS.",
        )
    if parts["sort"] == "Max" and parts["per"] in ("", "Job", "Node"):
        where = "on one node" if parts["per"] == "Node" else "in one job"
        return Explanation(f"The job asks for more {what} than {whose} allows {where}.", _LESS)
    users = _capital(_users(parts, whose))
    return Explanation(f"{users} use all the {what} that {whose} allows at a time.", _LATER)


def _minutes(parts: dict[str, str], whose: str, what: str) -> Explanation:
    """Explains a limit on minutes times a resource: used so far, in one job, or left to running jobs."""
    if parts["minutes"].startswith("Run"):
        return Explanation(
            f"The time that {_users(parts, whose)} may still take ({what} times minutes) has reached "
            f"the limit of {whose}.",
            "A shorter run time may help; otherwise it starts as those jobs go on or end.",
        )
    if parts["sort"] == "Max":
        return Explanation(
            f"The job's run time times its {what} is more than {whose} allows in one job.",
            "Ask for a shorter run time or for less.",
        )
    return Explanation(
        f"{_capital(whose)} has used up what it was granted ({what} times minutes).",
        "Choose another account or QOS, or ask the operators for more.",
    )


def _users(parts: dict[str, str], whose: str) -> str:
    if parts["per"] == "User":
        return "your running jobs"
    return f"the running jobs of {'your account' if parts['per'] == 'Account' else whose}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
