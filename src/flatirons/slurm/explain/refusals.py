"""Why Slurm refused a job: what sbatch and srun print -> a plain sentence and what to do; pure.

A refusal that isn't known here is passed on in Slurm's words. Source: slurm_errno.c of Slurm 22.05 to 26.05,
resource_limits.html.
"""

from __future__ import annotations

import re

from flatirons.errors import TELL_OPERATOR
from flatirons.slurm.explain.explanation import Explanation
from flatirons.slurm.explain.limits import explain_limit
from flatirons.slurm.explain.reasons import REASON_CODES, reason

_PREFIX = re.compile(r"^(?:s[a-z]+: )?(?:error: |fatal: |info: )?")
_CODE = re.compile(r"\b(?:Assoc|QOS|Max|Partition)[A-Za-z]+\b")

REFUSALS: dict[str, Explanation] = {
    "Invalid account or account/partition combination": Explanation(
        "Slurm doesn't let you use this account, or not in this partition.",
        "Choose another account or partition.",
    ),
    "Invalid partition name": Explanation("There is no such partition.", "Choose another partition."),
    "No partition specified": Explanation("This cluster has no default partition.", "Choose a partition."),
    "User's group not permitted to use this partition": Explanation(
        "Your groups may not use this partition.", "Choose another partition."
    ),
    "Required partition not available": Explanation(
        "The partition is closed at the moment.", "Choose another partition, or try later."
    ),
    "Requested partition configuration not available": Explanation(
        "The partition can't provide that at the moment.", "Ask for less or choose another partition."
    ),
    "Invalid qos specification": Explanation(
        "The QOS doesn't exist, or may not be used with this account or partition.", "Choose another QOS."
    ),
    "Memory specification can not be satisfied": Explanation(
        "No node of the partition has that much memory.", "Ask for less memory or choose another partition."
    ),
    "Memory required by task is not available": Explanation(
        "No node of the partition has that much memory.", "Ask for less memory or choose another partition."
    ),
    "CPU count per node can not be satisfied": Explanation(
        "No node of the partition has that many CPUs.", "Ask for fewer CPUs or choose another partition."
    ),
    "More processors requested than permitted": Explanation(
        "The partition doesn't have that many CPUs or nodes.", "Ask for fewer or choose another partition."
    ),
    "Node count specification invalid": Explanation(
        "The partition doesn't have, or allow, that many nodes.",
        "Ask for fewer nodes or choose another partition.",
    ),
    "Requested node configuration is not available": Explanation(
        "No node of the partition has all that the job asks for (CPUs, memory, GPUs, features).",
        "Ask for less or choose another partition.",
    ),
    "Requested time limit is invalid": Explanation(
        "The run time is longer than the partition allows, or missing.", "Ask for a shorter run time."
    ),
    "Invalid generic resource": Explanation(
        "The partition has no such GPUs, or not that many.",
        "Choose another kind or number of GPUs, or another partition.",
    ),
    "Invalid Trackable RESource": Explanation(
        "The partition has no such GPUs, or not that many.",
        "Choose another kind or number of GPUs, or another partition.",
    ),
    "Invalid feature specification": Explanation(
        "No node has that feature.", "Change or drop the constraint."
    ),
    "Access denied to requested reservation": Explanation(
        "You may not use this reservation.", "Choose another account, or no reservation."
    ),
    "Requested reservation is invalid": Explanation(
        "There is no such reservation.", "Choose another, or none."
    ),
    "Requested reservation not usable now": Explanation(
        "The reservation is over, or not usable now.", "Choose another, or none."
    ),
    "Problem using reservation": Explanation(
        "The job can't use the reservation like this.", "Choose another, or none."
    ),
    "Job violates accounting/QOS policy": Explanation(
        "The job exceeds a limit of your account or QOS: the number of jobs, their size or their time.",
        "Ask for less, end other jobs, or choose another account or QOS.",
    ),
    "Requested account has breached requested QOS usage threshold": REASON_CODES["QOSUsageThreshold"],
    "Required node not available": REASON_CODES["ReqNodeNotAvail"],
    "Requested nodes are busy": Explanation("The nodes are busy.", "Try later, or choose another partition."),
    "Licenses currently unavailable": Explanation("The license is in use.", "Try later."),
    "Invalid license specification": Explanation("There is no such license.", "Change or drop it."),
    "MaxJobCount limit reached": Explanation("The cluster's queue is full.", "Try later."),
    "Invalid user id": Explanation("Slurm doesn't know you on this cluster.", TELL_OPERATOR),
    "Access/permission denied": Explanation(
        "Slurm doesn't allow you to do that. The partition may accept jobs only from other machines, or only "
        "in a reservation.",
        f"Choose another partition. {TELL_OPERATOR}",
    ),
    "I/O error writing script": Explanation(
        "Slurm could not store the job: its disk may be full.", TELL_OPERATOR
    ),
    "Pathname of a file": Explanation("An option of the job is too long.", "Shorten it."),
    "Invalid job array specification": Explanation("The job's array is not valid.", "Change or drop it."),
    "Job dependency problem": Explanation(
        "The job waits for one that isn't there.", "Change or drop the dependency."
    ),
    "Only batch jobs are accepted": Explanation("This cluster takes batch jobs only.", TELL_OPERATOR),
    "Invalid wckey specification": Explanation("The cluster needs a valid wckey.", TELL_OPERATOR),
    "Invalid mcs_label": Explanation("The cluster needs another security label.", TELL_OPERATOR),
    "Task count specification invalid": Explanation(
        "The cluster can't provide that number of tasks.", "Choose another number."
    ),
    "CPU count specification invalid": Explanation(
        "The cluster can't provide that number of CPUs.", "Choose another number."
    ),
    "Core count for reservation": Explanation("The reservation has too few cores.", "Ask for fewer CPUs."),
    "Invalid node name specified": Explanation("There is no such node.", "Change or drop it."),
    "Requested nodes not in this partition": Explanation(
        "The node isn't in this partition.", "Choose another partition or node."
    ),
    "Invalid cluster name": Explanation("There is no such cluster.", TELL_OPERATOR),
    "Burst Buffer": Explanation("The cluster can't provide the burst buffer.", "Change or drop it."),
}
"""The key is a part of Slurm's sentence."""


def refusal(stderr: str) -> tuple[str, Explanation]:
    """Slurm's own sentence from the stderr of sbatch, and what it means; both may be shown to the user."""
    sentence = slurm_sentence(stderr)
    for code in _CODE.findall(sentence):
        if code in REASON_CODES or explain_limit(code):
            return sentence, reason(code)
    for part, explanation in REFUSALS.items():
        if part in sentence:
            return sentence, explanation
    return sentence, Explanation("", "Change the options and try again, or show this to the operator.")


def slurm_sentence(stderr: str) -> str:
    """What a Slurm command wrote to stderr, on one line, without the command's name and without "error:"."""
    lines = (_PREFIX.sub("", line).strip() for line in stderr.splitlines())
    sentences = [
        line.removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ")
        for line in lines
    ]
    return " ".join(_with_stop(sentence) for sentence in dict.fromkeys(sentences) if sentence)


def _with_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", ":")) else f"{sentence}."
