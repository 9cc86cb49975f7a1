"""What Slurm's single reasons and refusals mean: (sentence, advice); data only."""

from __future__ import annotations

_OPERATOR = "Please tell the operator."
_WAIT = "Fewer or smaller resources, or a shorter run time, may start sooner."
_NEVER = "It will not start like this: cancel it and choose other options."

REASONS: dict[str, tuple[str, str]] = {
    "": ("Slurm has not looked at the job yet.", ""),
    "None": ("Slurm has not looked at the job yet.", ""),
    "Resources": ("It is first in line and waits for enough free nodes.", _WAIT),
    "Priority": ("Other jobs are ahead of it in the queue.", _WAIT),
    "Dependency": ("It waits for another job.", ""),
    "DependencyNeverSatisfied": ("It waits for another job in a way that can't come true any more.", _NEVER),
    "BeginTime": (
        "It may not start yet: its begin time lies ahead, or it was just put back in the queue.",
        "",
    ),
    "Prolog": ("The nodes are being prepared for it (prolog).", ""),
    "Cleaning": ("It was put back in the queue, and its nodes are still being cleaned up.", ""),
    "Licenses": ("It waits for a software license.", "It starts when someone else gives one back."),
    "Constraints": ("No node with the wanted features is free.", "Drop the constraint, or wait."),
    "BadConstraints": ("No node can ever fulfil what the job asks for.", _NEVER),
    "Reservation": ("It waits for its reservation to begin or to have free nodes.", ""),
    "ReservationDeleted": ("The reservation that it asks for was deleted.", _NEVER),
    "ReservationInvalid": ("The reservation that it asks for can't be used any more.", _NEVER),
    "ReqNodeNotAvail": (
        "A node that the job needs is not available: in use, reserved or out of service.",
        "Choose another partition or fewer nodes, or wait.",
    ),
    "NodeDown": (
        "A node that the job needs is out of service.",
        "Start again: Slurm will take another node.",
    ),
    "FrontEndDown": ("No front-end node is up to run the job.", _OPERATOR),
    "PartitionDown": (
        "The partition is closed for starting jobs at the moment.",
        "Choose another partition, or wait until the operators open it.",
    ),
    "PartitionInactive": (
        "The partition is switched off at the moment.",
        "Choose another partition, or wait until the operators switch it on.",
    ),
    "PartitionNodeLimit": (
        "The number of nodes is not within the partition's limits, or some of its nodes are down.",
        "Ask for fewer nodes or choose another partition.",
    ),
    "PartitionTimeLimit": (
        "The run time is longer than the partition allows.",
        "Ask for a shorter run time or choose another partition.",
    ),
    "PartitionConfig": ("The job breaks a limit of the partition.", _NEVER),
    "JobHeldAdmin": ("An operator holds the job back.", "Ask the operator why."),
    "JobHeldUser": ("The job is held back.", "Release it with `scontrol release`, or cancel it."),
    "JobHoldMaxRequeue": ("The job was put back in the queue too often and is now held back.", _OPERATOR),
    "JobArrayTaskLimit": ("As many tasks of its array run as may run at a time.", ""),
    "JobLaunchFailure": (
        "The job could not be started on its node: the node is broken, or your home or a folder isn't there.",
        "Start again; if this happens more than once, please tell the operator.",
    ),
    "NonZeroExitCode": ("The job's script ended with an error.", "Its log may say more."),
    "RaisedSignal": ("The job was ended by a signal.", "Its log may say more."),
    "OutOfMemory": ("The job ran out of memory.", "Ask for more memory."),
    "TimeLimit": ("The job reached its time limit.", "Ask for more time."),
    "InactiveLimit": ("The job was idle for longer than the cluster allows.", "Start again."),
    "SystemFailure": ("Slurm, a file system or the network failed.", _OPERATOR),
    "DeadLine": ("The job can't end before its deadline.", _NEVER),
    "InvalidAccount": ("The job's account is not, or no longer, valid.", "Choose another account."),
    "InvalidQOS": ("The job's QOS is not, or no longer, valid.", "Choose another QOS."),
    "AccountNotAllowed": (
        "The account may not use this partition.",
        "Choose another account or partition.",
    ),
    "QOSNotAllowed": (
        "The QOS may not be used with this account or partition.",
        "Choose another QOS, account or partition.",
    ),
    "QOSUsageThreshold": ("The account has used more than its QOS allows.", "Choose another account or QOS."),
    "QOSJobLimit": ("As many jobs run in the QOS as are allowed.", "It starts when one of them has ended."),
    "QOSResourceLimit": ("The running jobs of the QOS have reached one of its limits.", _WAIT),
    "QOSTimeLimit": ("The QOS has reached its limit of time.", "Choose another QOS."),
    "AssociationJobLimit": (
        "As many jobs of your account run as are allowed.",
        "It starts when one of them has ended.",
    ),
    "AssociationResourceLimit": ("The running jobs of your account have reached one of its limits.", _WAIT),
    "AssociationTimeLimit": ("Your account has reached its limit of time.", "Choose another account."),
    "AccountingPolicy": ("The job breaks a limit of your account or of the QOS.", _NEVER),
    "MaxMemPerLimit": (
        "The job asks for more memory than the partition allows per node or per CPU.",
        "Ask for less memory or choose another partition.",
    ),
    "MaxPoweredUpNodes": (
        "As many nodes are switched on as may be at a time.",
        "It starts when one is free.",
    ),
    "PowerNotAvail": ("There is not enough electric power left for it.", _WAIT),
    "PowerReserved": ("The electric power that it needs is reserved for another job.", _WAIT),
    "NvidiaImexChannels": ("It waits for a free channel between GPUs (IMEX).", ""),
    "MpiPortsBusy": ("It waits for free network ports on its nodes.", ""),
    "BurstBufferResources": ("It waits for free burst buffer space.", ""),
    "BurstBufferStageIn": ("Its files are being copied to the burst buffer.", ""),
    "BurstBufferOperation": ("Something went wrong with its burst buffer.", _OPERATOR),
    "FedJobLock": ("The clusters of the federation are agreeing on who runs it.", ""),
    "SchedDefer": ("It was to start at once, which this cluster doesn't do.", _NEVER),
    "BlockMaxError": ("Its block of nodes has had too many errors.", _OPERATOR),
    "BlockFreeAction": ("Its block of nodes is being freed.", ""),
}

STATE_TEXTS: dict[str, tuple[str, str]] = {
    "user env retrieval failed": (
        "Slurm could not read your log-in environment on the node, so the job is held back.",
        _OPERATOR,
    ),
    "launch failed requeued held": REASONS["JobLaunchFailure"],
    "nodes required for job are down, drained or reserved": (
        "The nodes that the job needs are out of service, or reserved for partitions with higher priority.",
        "Choose another partition or fewer nodes, or wait.",
    ),
    "job requeued in held state": REASONS["JobHeldUser"],
    "burst buffer": REASONS["BurstBufferOperation"],
}
"""Reasons that aren't codes but texts, by lower-case words that they hold."""

REFUSALS: dict[str, tuple[str, str]] = {
    "Invalid account or account/partition combination": (
        "Slurm doesn't let you use this account, or not in this partition.",
        "Choose another account or partition.",
    ),
    "Invalid partition name": ("There is no such partition.", "Choose another partition."),
    "No partition specified": ("This cluster has no default partition.", "Choose a partition."),
    "User's group not permitted to use this partition": (
        "Your groups may not use this partition.",
        "Choose another partition.",
    ),
    "Required partition not available": (
        "The partition is closed at the moment.",
        "Choose another partition, or try later.",
    ),
    "Requested partition configuration not available": (
        "The partition can't give that at the moment.",
        "Ask for less or choose another partition.",
    ),
    "Invalid qos specification": (
        "The QOS doesn't exist, or may not be used with this account or partition.",
        "Choose another QOS.",
    ),
    "Memory specification can not be satisfied": (
        "No node of the partition has that much memory.",
        "Ask for less memory or choose another partition.",
    ),
    "Memory required by task is not available": (
        "No node of the partition has that much memory.",
        "Ask for less memory or choose another partition.",
    ),
    "CPU count per node can not be satisfied": (
        "No node of the partition has that many CPUs.",
        "Ask for fewer CPUs or choose another partition.",
    ),
    "More processors requested than permitted": (
        "The partition doesn't have that many CPUs or nodes.",
        "Ask for fewer or choose another partition.",
    ),
    "Node count specification invalid": (
        "The partition doesn't have, or allow, that many nodes.",
        "Ask for fewer nodes or choose another partition.",
    ),
    "Requested node configuration is not available": (
        "No node of the partition has all that the job asks for (CPUs, memory, GPUs, features).",
        "Ask for less or choose another partition.",
    ),
    "Requested time limit is invalid": (
        "The run time is longer than the partition allows, or missing.",
        "Ask for a shorter run time.",
    ),
    "Invalid generic resource": (
        "The partition has no such GPUs, or not so many.",
        "Choose another kind or number of GPUs, or another partition.",
    ),
    "Invalid Trackable RESource": (
        "The partition has no such GPUs, or not so many.",
        "Choose another kind or number of GPUs, or another partition.",
    ),
    "Invalid feature specification": ("No node has that feature.", "Change or drop the constraint."),
    "Access denied to requested reservation": (
        "You may not use this reservation.",
        "Choose another account, or no reservation.",
    ),
    "Requested reservation is invalid": ("There is no such reservation.", "Choose another, or none."),
    "Requested reservation not usable now": (
        "The reservation is over, or not usable now.",
        "Choose another, or none.",
    ),
    "Problem using reservation": ("The reservation can't be used like this.", "Choose another, or none."),
    "Job violates accounting/QOS policy": (
        "The job is beyond a limit of your account or QOS: number of jobs, size or time.",
        "Ask for less, end other jobs, or choose another account or QOS.",
    ),
    "Requested account has breached requested QOS usage threshold": REASONS["QOSUsageThreshold"],
    "Required node not available": REASONS["ReqNodeNotAvail"],
    "Requested nodes are busy": ("The nodes are busy.", "Try later, or choose another partition."),
    "Licenses currently unavailable": ("The license is in use.", "Try later."),
    "Invalid license specification": ("There is no such license.", "Change or drop it."),
    "MaxJobCount limit reached": ("The cluster's queue is full.", "Try later."),
    "Invalid user id": ("Slurm doesn't know you on this cluster.", _OPERATOR),
    "Access/permission denied": ("Slurm doesn't allow you to do that.", _OPERATOR),
    "I/O error writing script": ("Slurm could not store the job: its disk may be full.", _OPERATOR),
    "Pathname of a file": ("An option of the job is too long.", "Shorten it."),
    "Invalid job array specification": ("The job's array is not valid.", "Change or drop it."),
    "Job dependency problem": ("The job waits for one that isn't there.", "Change or drop the dependency."),
    "Only batch jobs are accepted": ("This cluster takes batch jobs only.", _OPERATOR),
    "Invalid wckey specification": ("The cluster needs a valid wckey.", _OPERATOR),
    "Invalid mcs_label": ("The cluster needs another security label.", _OPERATOR),
    "Task count specification invalid": ("That number of tasks can't be had.", "Change it."),
    "CPU count specification invalid": ("That number of CPUs can't be had.", "Change it."),
    "Core count for reservation": ("The reservation has too few cores.", "Ask for fewer CPUs."),
    "Invalid node name specified": ("There is no such node.", "Change or drop it."),
    "Requested nodes not in this partition": (
        "The node isn't in this partition.",
        "Choose another partition or node.",
    ),
    "Invalid cluster name": ("There is no such cluster.", _OPERATOR),
    "Burst Buffer": ("The burst buffer request can't be fulfilled.", "Change or drop it."),
}
"""What sbatch's sentences mean, by words that they hold."""
