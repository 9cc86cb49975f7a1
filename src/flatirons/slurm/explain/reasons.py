"""Why a job waits: squeue's Reason -> a plain sentence and what to do; pure.

A reason that isn't known here is passed on in Slurm's words. Source: job_reason_codes.html and
job_state_reason.c of Slurm 22.05 to 26.05. Reasons that name a limit are explained in `limits`.
"""

from __future__ import annotations

import re

from flatirons.errors import TELL_OPERATOR
from flatirons.slurm.explain.explanation import Explanation
from flatirons.slurm.explain.limits import explain_limit

_UNAVAILABLE = re.compile(r"UnavailableNodes:(\S+)")
_WAIT = "Fewer or smaller resources, or a shorter run time, may start sooner."
_NEVER = "It will not start like this: cancel it and choose other options."

REASON_CODES: dict[str, Explanation] = {
    "": Explanation("Slurm has not looked at the job yet."),
    "None": Explanation("Slurm has not looked at the job yet."),
    "Resources": Explanation("It is first in line and waits for enough free nodes.", _WAIT),
    "Priority": Explanation("Other jobs are ahead of it in the queue.", _WAIT),
    "Dependency": Explanation("It waits for another job."),
    "DependencyNeverSatisfied": Explanation(
        "It waits for another job, and the condition for its start can no longer be met.", _NEVER
    ),
    "BeginTime": Explanation(
        "It may not start yet: its begin time is in the future, or it was just put back in the queue."
    ),
    "Prolog": Explanation("The nodes are being prepared for it (prolog)."),
    "Cleaning": Explanation("It was put back in the queue, and its nodes are still being cleaned up."),
    "Licenses": Explanation(
        "It waits for a software license.", "It starts when someone else gives one back."
    ),
    "Constraints": Explanation("No node with the wanted features is free.", "Drop the constraint, or wait."),
    "BadConstraints": Explanation("No node has what the job asks for.", _NEVER),
    "Reservation": Explanation("It waits for its reservation to begin or to have free nodes."),
    "ReservationDeleted": Explanation("The reservation that it asks for was deleted.", _NEVER),
    "ReservationInvalid": Explanation("The reservation that it asks for can't be used any more.", _NEVER),
    "ReqNodeNotAvail": Explanation(
        "A node that the job needs is not available: in use, reserved or out of service.",
        "Choose another partition or fewer nodes, or wait.",
    ),
    "NodeDown": Explanation(
        "A node that the job needs is out of service.", "Start again: Slurm will take another node."
    ),
    "FrontEndDown": Explanation("No front-end node is up to run the job.", TELL_OPERATOR),
    "PartitionDown": Explanation(
        "The partition doesn't start jobs at the moment.",
        "Choose another partition, or wait until the operators open it.",
    ),
    "PartitionInactive": Explanation(
        "The partition is switched off at the moment.",
        "Choose another partition, or wait until the operators switch it on.",
    ),
    "PartitionNodeLimit": Explanation(
        "The number of nodes is not within the partition's limits, or some of its nodes are down.",
        "Ask for fewer nodes or choose another partition.",
    ),
    "PartitionTimeLimit": Explanation(
        "The run time is longer than the partition allows.",
        "Ask for a shorter run time or choose another partition.",
    ),
    "PartitionConfig": Explanation("The job exceeds a limit of the partition.", _NEVER),
    "JobHeldAdmin": Explanation("An operator holds the job back.", "Ask the operator why."),
    "JobHeldUser": Explanation("The job is held back.", "Release it with `scontrol release`, or cancel it."),
    "JobHoldMaxRequeue": Explanation(
        "The job was put back in the queue too often and is now held back.", TELL_OPERATOR
    ),
    "JobArrayTaskLimit": Explanation("Its array already runs as many tasks as it may at a time."),
    "JobLaunchFailure": Explanation(
        "The job could not be started on its node: the node is broken, or your home directory "
        "or another folder is missing.",
        "Start again; if this happens more than once, please tell the operator.",
    ),
    "NonZeroExitCode": Explanation("The job's script ended with an error.", "Its log may say more."),
    "RaisedSignal": Explanation("The job was ended by a signal.", "Its log may say more."),
    "OutOfMemory": Explanation("The job ran out of memory.", "Ask for more memory."),
    "TimeLimit": Explanation("The job reached its time limit.", "Ask for more time."),
    "InactiveLimit": Explanation("The job was idle for longer than the cluster allows.", "Start again."),
    "SystemFailure": Explanation("Slurm, a file system or the network failed.", TELL_OPERATOR),
    "DeadLine": Explanation("The job can't end before its deadline.", _NEVER),
    "InvalidAccount": Explanation(
        "The job's account is not, or no longer, valid.", "Choose another account."
    ),
    "InvalidQOS": Explanation("The job's QOS is not, or no longer, valid.", "Choose another QOS."),
    "AccountNotAllowed": Explanation(
        "The account may not use this partition.", "Choose another account or partition."
    ),
    "QOSNotAllowed": Explanation(
        "The QOS may not be used with this account or partition.", "Choose another QOS, account or partition."
    ),
    "QOSUsageThreshold": Explanation(
        "The account has used more than its QOS allows.", "Choose another account or QOS."
    ),
    "QOSJobLimit": Explanation(
        "Its QOS already runs as many jobs as it may.", "It starts when one of them has ended."
    ),
    "QOSResourceLimit": Explanation("The running jobs of the QOS have reached one of its limits.", _WAIT),
    "QOSTimeLimit": Explanation("The QOS has reached its time limit.", "Choose another QOS."),
    "AssociationJobLimit": Explanation(
        "Your account already runs as many jobs as it may.", "It starts when one of them has ended."
    ),
    "AssociationResourceLimit": Explanation(
        "The running jobs of your account have reached one of its limits.", _WAIT
    ),
    "AssociationTimeLimit": Explanation(
        "Your account has reached its time limit.", "Choose another account."
    ),
    "AccountingPolicy": Explanation("The job exceeds a limit of your account or of the QOS.", _NEVER),
    "MaxMemPerLimit": Explanation(
        "The job asks for more memory than the partition allows per node or per CPU.",
        "Ask for less memory or choose another partition.",
    ),
    "MaxPoweredUpNodes": Explanation(
        "The cluster has switched on as many nodes as it may at a time.", "It starts when one is free."
    ),
    "PowerNotAvail": Explanation("There is not enough electric power left for it.", _WAIT),
    "PowerReserved": Explanation("The electric power that it needs is reserved for another job.", _WAIT),
    "NvidiaImexChannels": Explanation("It waits for a free channel between GPUs (IMEX)."),
    "MpiPortsBusy": Explanation("It waits for free network ports on its nodes."),
    "BurstBufferResources": Explanation("It waits for free burst buffer space."),
    "BurstBufferStageIn": Explanation("Its files are being copied to the burst buffer."),
    "BurstBufferOperation": Explanation("Something went wrong with its burst buffer.", TELL_OPERATOR),
    "FedJobLock": Explanation("The clusters of the federation are deciding which of them runs it."),
    "SchedDefer": Explanation(
        "The job asks to start at once, and this cluster doesn't support that.", _NEVER
    ),
    "BlockMaxError": Explanation("Its block of nodes has had too many errors.", TELL_OPERATOR),
    "BlockFreeAction": Explanation("Its block of nodes is being freed."),
}

REASON_TEXTS: dict[str, Explanation] = {
    "user env retrieval failed": Explanation(
        "Slurm could not read your log-in environment on the node, so the job is held back.", TELL_OPERATOR
    ),
    "launch failed requeued held": REASON_CODES["JobLaunchFailure"],
    "nodes required for job are down, drained or reserved": Explanation(
        "The nodes that the job needs are out of service, or reserved for partitions with higher priority.",
        "Choose another partition or fewer nodes, or wait.",
    ),
    "job requeued in held state": REASON_CODES["JobHeldUser"],
    "burst buffer": REASON_CODES["BurstBufferOperation"],
}
"""Reasons that aren't codes but texts; the key is a part of the text in lower case."""


def reason(text: str) -> Explanation:
    """Why a job waits, from squeue's Reason: a code, or a sentence with spaces or underscores."""
    code, _, rest = text.strip().strip("()").partition(",")
    if code == "ReqNodeNotAvail":
        return _node_not_available(rest)
    if known := REASON_CODES.get(code) or explain_limit(code):
        return known
    plain = " ".join(text.replace("_", " ").split())
    for part, explanation in REASON_TEXTS.items():
        if part in plain.lower():
            return explanation
    return Explanation(f"Slurm's reason: {plain}.")


def _node_not_available(rest: str) -> Explanation:
    nodes = _UNAVAILABLE.search(rest)
    if nodes and nodes[1].strip(","):
        return Explanation(
            f"A node that the job needs is out of service ({nodes[1]}).",
            "Choose another partition or fewer nodes, or wait until the operators repair it.",
        )
    if "reserved" in rest.lower() or "maint" in rest.lower():
        return Explanation(
            "The nodes that the job needs are reserved, perhaps for maintenance.",
            "With a shorter run time it may start before the reservation begins.",
        )
    return REASON_CODES["ReqNodeNotAvail"]
