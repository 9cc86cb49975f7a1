"""Every Slurm command line that we ever run; pure. The first word is the command's bare name.

Values go in as `--key=value`, so none can look like an option; integers are integers; text with control
characters is a ValueError (a mistake of ours: whoever takes text from users refuses such text first).

A job's environment ------------------- A job script must start as if its user had just logged in on the node,
with nothing of the hub's environment. `--export=NIL` sends the node nothing but SLURM_* and SPANK variables.
Its relative `--export=NONE` would, and so would a list of names, ask slurmd to run `su - USER` on the node to
collect an environment before the script may start: slow, and a job is held when that fails.
`--get-user-env=L` is refused since Slurm 25.05. The script's first line (`#!/bin/bash -l`) makes the log-in
environment instead. On Slurm 22.05, which doesn't know NIL, the word counts as the name of a variable that
isn't set, and slurmd does collect the environment. Source: sbatch.c and env.c of Slurm 22.05, 23.02, 24.11
and 26.05; `--export` in sbatch(1).

What remains for `job/`: sbatch leaves SLURM_EXPORT_ENV=NIL in the job, which a later `srun` takes for its own
`--export`, so that its tasks would see no environment; the starter must drop SLURM_EXPORT_ENV and
SLURM_GET_USER_ENV. HOME, USER and PATH aren't set by Slurm: the log-in shell sets HOME and PATH, USER may be
missing. SLURM_CONF travels from here to the job, as all SLURM_* do. Who calls sbatch from inside a job
(`parallel/`) must hide SLURM_*, SBATCH_* and the like from it (see INHERITED), else they count as options and
the new job inherits the old one's facts.

Limits of the hub's own process (open files, memory) stay with the hub: `--propagate=NONE`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from flatirons.slurm.model import JobSpec

INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SCANCEL_", "SQUEUE_", "SINFO_", "SACCT_")
"""Prefixes of variables that change what Slurm's commands do; hide them where we don't set them ourselves."""

EPOCH_TIMES = {"SLURM_TIME_FORMAT": "%s"}
"""Environment under which every command prints times as seconds since 1970: no time zone to guess."""

# Text that a job's owner chooses comes last; see parse.jobs for what makes it harmless.
JOB_FIELDS = (
    *("JobID", "State", "UserName", "Account", "Partition", "QOS", "Reason", "NodeList", "BatchHost"),
    *("SubmitTime", "StartTime", "EndTime", "TimeLimit", "exit_code", "PriorityLong", "RestartCnt"),
    *("Name", "Comment"),
)
END_FIELDS = (
    *("JobIDRaw", "State", "ExitCode", "ElapsedRaw", "MaxRSS", "ReqMem", "NodeList"),
    *("AllocCPUS", "TotalCPU", "NNodes"),
)
ASSOCIATION_FIELDS = (
    *("Cluster", "Account", "User", "Partition", "QOS", "DefaultQOS", "DefaultAccount"),
    *("MaxJobs", "MaxSubmitJobs", "MaxWall", "MaxTRESPerJob", "MaxTRESPerNode", "GrpTRES"),
)
ACCOUNT_FIELDS = ("Account", "User", "ParentName", "GrpTRES")
QOS_FIELDS = (
    *("Name", "Priority", "MaxWall", "MaxJobsPerUser", "MaxSubmitJobsPerUser", "MaxTRESPerUser"),
    *("MaxTRESPerJob", "MaxTRESPerNode", "MinTRESPerJob", "GrpTRES", "Flags"),
)
_SACCTMGR = ("sacctmgr", "--readonly", "--noheader", "--parsable2")


def sbatch(spec: JobSpec, *, test_only: bool = False) -> list[str]:
    """sbatch for a script on stdin; prints the job's id, or with `test_only` when the job could start."""
    line = ["sbatch", "--parsable", "--export=NIL", "--propagate=NONE"]
    if test_only:
        line.append("--test-only")
    line.append("--requeue" if spec.requeue else "--no-requeue")
    line += _texts(spec)
    line += _numbers(spec)
    return [*line, *(_option(text) for text in spec.extra)]


def srun(spec: JobSpec, *, wait_seconds: int) -> list[str]:
    """srun for a command that follows, given up when no node is free within `wait_seconds`.

    Unlike a job, the command sees the environment of whoever calls. Its stdin is ours.
    """
    line = ["srun", "--quiet", f"--immediate={_count('wait_seconds', wait_seconds)}"]
    return [*line, *_texts(spec), *_numbers(spec)]


def _texts(spec: JobSpec) -> list[str]:
    given = {
        "job-name": spec.name,
        "comment": spec.comment,
        "partition": spec.partition,
        "account": spec.account,
        "qos": spec.qos,
        "reservation": spec.reservation,
        "constraint": spec.constraint,
        "chdir": spec.chdir,
        "output": spec.output,
        "error": spec.error,
    }
    return [f"--{key}={_text(key, value)}" for key, value in given.items() if value]


def _numbers(spec: JobSpec) -> list[str]:
    given = {
        "nodes": (spec.nodes, ""),
        "ntasks": (spec.ntasks, ""),
        "cpus-per-task": (spec.cpus, ""),
        "mem": (spec.memory_mib, "M"),
        "time": (spec.runtime_minutes, ""),
    }
    line = [f"--{key}={_count(key, value)}{unit}" for key, (value, unit) in given.items() if value]
    if spec.gpus:
        kind = f"{_text('gpu type', spec.gpu_type)}:" if spec.gpu_type else ""
        line.append(f"--gres=gpu:{kind}{_count('gpus', spec.gpus)}")
    return line


def scancel(job_id: int, signal: str = "") -> list[str]:
    """scancel; with a signal's name only the job's script gets that, and the job lives on."""
    line = ["scancel"]
    if signal:
        line += [f"--signal={_text('signal', signal)}", "--batch"]
    return [*line, str(_count("job id", job_id))]


def scancel_named(name: str) -> list[str]:
    """scancel for our own jobs of this name; content when there is none."""
    return ["scancel", "--quiet", "--me", f"--name={_text('name', name)}"]


def squeue_jobs(mark: str, *, user: str = "", names: Sequence[str] = ()) -> list[str]:
    """squeue for all jobs of all states that slurmctld still has, of hidden partitions as well.

    Two RPCs at slurmctld, whatever the filters: squeue filters by `names` itself, after the answer; `user`
    lets slurmctld filter. `mark` parts the fields (see parse.jobs): hexadecimal, new for each query.
    """
    line = ["squeue", "--all", "--local", "--states=all", "--sort=i", _job_format(mark)]
    if user:
        line.append(f"--user={_text('user', user)}")
    if names:
        line.append(f"--name={','.join(_text('name', name) for name in names)}")
    return line


def squeue_job(mark: str, job_id: int) -> list[str]:
    """squeue for one job, in whatever state; ends with "Invalid job id specified" when slurmctld has none."""
    return [
        *("squeue", "--all", "--local", "--states=all", _job_format(mark)),
        f"--jobs={_count('job id', job_id)}",
    ]


def squeue_steps(job_id: int) -> list[str]:
    """squeue for the steps of a job, one a line: its id as scancel takes it, a blank, its name."""
    return [
        "squeue",
        "--steps",
        "--local",
        "--noheader",
        "--format=%i %j",
        f"--jobs={_count('job id', job_id)}",
    ]


def _job_format(mark: str) -> str:
    """The long format: `Name:0suffix` prints the whole value and then the suffix."""
    if not mark or not set(mark) <= set("0123456789abcdef"):
        raise ValueError(f"not a hexadecimal mark: {mark!r}")
    *fields, last = JOB_FIELDS
    return "--Format=" + ",".join([*(f"{name}:0|{mark}|" for name in fields), f"{last}:0|{mark}#"])


def sacct(job_ids: Iterable[int]) -> list[str]:
    """sacct for how jobs ended, one line for each job and each of its steps."""
    ids = ",".join(str(_count("job id", job_id)) for job_id in job_ids)
    fields = ",".join(END_FIELDS)
    return [
        "sacct",
        "--allusers",
        "--noheader",
        "--parsable2",
        "--noconvert",
        f"--format={fields}",
        f"--jobs={ids}",
    ]


def scontrol_partitions() -> list[str]:
    """scontrol for all partitions, one a line, hidden ones as well."""
    return ["scontrol", "--all", "--oneliner", "show", "partition"]


def scontrol_nodes() -> list[str]:
    """scontrol for all nodes, one a line."""
    return ["scontrol", "--all", "--oneliner", "show", "node"]


def scontrol_node(name: str) -> list[str]:
    """scontrol for one node, in a line."""
    return ["scontrol", "--oneliner", "show", "node", _text("node", name)]


def scontrol_reservations() -> list[str]:
    """scontrol for all reservations, one a line."""
    return ["scontrol", "--oneliner", "show", "reservation"]


def scontrol_config() -> list[str]:
    """scontrol for slurmctld's configuration, a setting a line."""
    return ["scontrol", "show", "config"]


def squeue_waiting() -> list[str]:
    """squeue for the partitions of each waiting job, a job a line; a job may list several."""
    return ["squeue", "--all", "--local", "--noheader", "--states=PENDING", "--format=%P"]


def sacctmgr_associations(*users: str) -> list[str]:
    """sacctmgr for what users may charge, in every cluster of the database."""
    for user in users or ("",):
        if not user or set(user) & set(", ="):
            raise ValueError(f"not a user's name: {user!r}")
    names = ",".join(_text("user", user) for user in users)
    line = [*_SACCTMGR, "show", "user", "withassoc", "where", f"name={names}"]
    return [*line, f"format={','.join(ASSOCIATION_FIELDS)}"]


def sacctmgr_accounts(cluster: str) -> list[str]:
    """sacctmgr for the accounts of a cluster, without their users."""
    line = [*_SACCTMGR, "show", "association", "where", f"cluster={_text('cluster', cluster)}", "user="]
    return [*line, f"format={','.join(ACCOUNT_FIELDS)}"]


def sacctmgr_qos() -> list[str]:
    """sacctmgr for every QOS of the database."""
    return [*_SACCTMGR, "show", "qos", f"format={','.join(QOS_FIELDS)}"]


def _option(text: str) -> str:
    """An option of the site's, checked to be one: a bare word would be taken for a script's name."""
    if not text.startswith("-") or text in ("-", "--"):
        raise ValueError(f"not an option of sbatch: {text!r}")
    return _text("extra", text)


def _text(key: str, value: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise ValueError(f"{key} holds a control character: {value!r}")
    return value


def _count(key: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} must be a whole number from 1, not {value!r}")
    return value
