"""The Slurm command lines that Flatirons runs; pure. The first word is the bare name of the command.

The lines inside job scripts are with their scripts: srun and scancel in parallel/ipp/engines.py and
parallel/spark/job.py. Dask's jobs are submitted by dask-jobqueue, see parallel/dask/configuration.py.

Values go in as `--key=value`, so no value can look like an option. Integers must be integers. Text with
control characters raises ValueError: code that gets text from users must refuse it earlier.

A job's environment
-------------------
A job script must start without anything from the hub's environment. `--export=NIL` sends only SLURM_* and
SPANK variables to the node. With `--export=NONE`, or with a list of names, slurmd would run `su - USER` there
to collect an environment before the script may start; that is slow, and Slurm holds the job when it fails.
Slurm 25.05 and later refuse `--get-user-env=L`. The programs that a script starts therefore make their
own environment: the starter (`job/node/starter.py`) for a notebook server, and the lines of
`parallel/login_environment.py` for other jobs. Slurm 22.05 doesn't know NIL: it takes it for the name of a
variable that isn't set, and slurmd does collect the environment. Source: sbatch.c and env.c of Slurm 22.05,
23.02, 24.11 and 26.05; `--export` in sbatch(1).

Slurm sets neither HOME nor USER nor PATH for such a job. sbatch leaves SLURM_EXPORT_ENV=NIL in the job, and a
later `srun` would take that for its own `--export`, so that its tasks would see no environment: both programs
above remove SLURM_EXPORT_ENV and SLURM_GET_USER_ENV. SLURM_CONF travels from here to the job, like all
SLURM_* variables. Code that calls sbatch from inside a job (`parallel/`) must hide the variables in INHERITED
from it. Otherwise sbatch takes them for options, and the new job inherits settings of the old one.

The limits of the hub's own process (open files, memory) stay with the hub: `--propagate=NONE`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from flatirons.slurm import sizes
from flatirons.slurm.model import JobSpec
from flatirons.slurm.spelling import USUAL, Spelling

SIZES = (
    *("nodes", "ntasks", "ntasks_per_node", "cpus", "memory_mib", "mem_per_cpu_mib", "gpus"),
    "runtime_minutes",
)
"""The attributes of JobSpec that are numbers."""

CHANGEABLE = {
    "runtime_minutes": "TimeLimit",
    "partition": "Partition",
    "account": "Account",
    "qos": "QOS",
}
"""The attributes of JobSpec that a waiting job's user may change without a new job, and scontrol's names."""

INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SCANCEL_", "SQUEUE_", "SINFO_", "SACCT_")
"""Prefixes of variables that change what Slurm's commands do; hide them from commands inside a job."""

EPOCH_TIMES = {"SLURM_TIME_FORMAT": "%s"}
"""Makes every command print times as seconds since 1970, so that there is no time zone to guess."""

# Texts that the job's owner chose come last; see parse.jobs for how they are kept apart.
JOB_FIELDS = (
    *("JobID", "State", "UserName", "Account", "Partition", "QOS", "Reason", "NodeList", "BatchHost"),
    *("SubmitTime", "StartTime", "EndTime", "TimeLimit", "exit_code", "PriorityLong", "RestartCnt"),
    *("tres-alloc", "Name", "Comment"),
)
STEP_FIELDS = ("StepID", "StepName")
END_FIELDS = (
    *("JobIDRaw", "State", "ExitCode", "ElapsedRaw", "MaxRSS", "ReqMem", "NodeList"),
    *("AllocCPUS", "TotalCPU", "NNodes", "User", "Submit"),
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


def sbatch(spec: JobSpec, spelling: Spelling = USUAL, *, test_only: bool = False) -> list[str]:
    """sbatch for a script on stdin. It prints the job's id, or with `test_only` when the job could start."""
    line = ["sbatch", "--parsable", "--export=NIL", "--propagate=NONE", "--no-requeue"]
    if test_only:
        line.append("--test-only")
    line += [*_texts(spec, spelling), *_size(spec, spelling)]
    return [*line, *(_option(text) for text in spec.extra)]


def sbatch_test() -> list[str]:
    """sbatch for a user's own script on stdin, whose own options count. Nothing is submitted."""
    return ["sbatch", "--test-only"]


def srun(spec: JobSpec, spelling: Spelling = USUAL, *, wait_seconds: int) -> list[str]:
    """srun for a command that the caller appends; srun gives up when no node is free within `wait_seconds`.

    Unlike a batch job, the command gets the environment and the stdin of srun's caller.
    """
    line = ["srun", "--quiet", f"--immediate={_count('wait_seconds', wait_seconds)}"]
    return [*line, *_texts(spec, spelling), *_size(spec, spelling)]


def _texts(spec: JobSpec, spelling: Spelling) -> list[str]:
    given = {
        "job-name": spec.name,
        "comment": spec.comment,
        "partition": spec.partition,
        "account": spec.account,
        "qos": spec.qos,
        "reservation": spec.reservation,
        "constraint": sizes.constraint(spec, spelling),
        "chdir": spec.chdir,
        "output": spec.output,
    }
    return [f"--{key}={_text(key, value)}" for key, value in given.items() if value]


def _size(spec: JobSpec, spelling: Spelling) -> list[str]:
    for key in SIZES:
        if value := getattr(spec, key):
            _count(key, value)
    return [_text("size", word) for word in sizes.size_options(spec, spelling)]


def output_file(path: str) -> str:
    """The value of --output or --error that means exactly this path; "" where it has none.

    Slurm replaces %j and the like, and %% by %. In a path with a backslash it replaces nothing, but removes
    the backslashes: before 26.05 those that have no other before them, since 26.05 all. So the job itself
    must open such a file. Source: slurmd/common/fname.c, common/print_fields.c. Raises ValueError.
    """
    return "" if "\\" in _text("output", path) else path.replace("%", "%%")


def directive(word: str) -> str:
    """A word as sbatch reads it in a line #SBATCH. Raises ValueError.

    Source: get_argument in sbatch/opt.c.
    """
    if re.fullmatch(r"[\w@%+=:,./-]+", _text("directive", word)):
        return word
    return '"{}"'.format(word.replace("\\", "\\\\").replace('"', '\\"'))


def scancel(job_id: int, signal: str = "") -> list[str]:
    """scancel for the job; with the name of a signal, it only sends that signal to the job's script."""
    line = ["scancel"]
    if signal:
        line += [f"--signal={_text('signal', signal)}", "--batch"]
    return [*line, str(_count("job id", job_id))]


def changed_settings(before: JobSpec, after: JobSpec) -> dict[str, str] | None:
    """What `scontrol_update` sets to make a waiting job of `before` one of `after`.

    None if they differ in something that isn't in CHANGEABLE, or that only a new job could leave to Slurm.
    """
    names = {each.name for each in fields(JobSpec) if getattr(before, each.name) != getattr(after, each.name)}
    if not names <= CHANGEABLE.keys() or not all(getattr(after, name) for name in names):
        return None
    return {setting: str(getattr(after, name)) for name, setting in CHANGEABLE.items() if name in names}


def scontrol_update(job_id: int, settings: Mapping[str, str]) -> list[str]:
    """scontrol for a waiting job, with settings from `changed_settings`; Slurm changes all or none.

    The job keeps its place: its time of submission, and with it the part of its priority that comes from its
    age (SubmitTime and AccrueTime, seen with Slurm 24.11).
    """
    if not settings or not settings.keys() <= set(CHANGEABLE.values()):
        raise ValueError(f"not settings of a waiting job: {settings!r}")
    words = [f"{key}={_text(key, value)}" for key, value in settings.items()]
    return ["scontrol", "update", f"JobId={_count('job id', job_id)}", *words]


def scancel_named(name: str) -> list[str]:
    """scancel for the caller's own jobs of this name; it is no error when there are none."""
    return ["scancel", "--quiet", "--me", f"--name={_text('name', name)}"]


def squeue_jobs(mark: str, *, user: str = "", names: Sequence[str] = ()) -> list[str]:
    """squeue for the jobs that slurmctld still has, in any state, including those of hidden partitions.

    It costs slurmctld two RPCs. slurmctld filters by `user`; squeue itself filters by `names`, once it has
    the answer. `mark` separates the fields (see parse.jobs): a hexadecimal number, new for each query.
    """
    line = ["squeue", "--all", "--local", "--states=all", "--sort=i", _format(mark, JOB_FIELDS)]
    if user:
        line.append(f"--user={_text('user', user)}")
    if names:
        line.append(f"--name={','.join(_text('name', name) for name in names)}")
    return line


def squeue_job(mark: str, job_id: int) -> list[str]:
    """squeue for one job, in any state; it fails with "Invalid job id specified" when slurmctld has none."""
    return [
        *("squeue", "--all", "--local", "--states=all", _format(mark, JOB_FIELDS)),
        f"--jobs={_count('job id', job_id)}",
    ]


def squeue_steps(mark: str, job_id: int) -> list[str]:
    """squeue for the steps of a job; `mark` separates the fields, as in squeue_jobs."""
    return [
        *("squeue", "--steps", "--local", _format(mark, STEP_FIELDS)),
        f"--jobs={_count('job id', job_id)}",
    ]


def _format(mark: str, names: Sequence[str]) -> str:
    """The option --Format, in which `Name:0suffix` prints the whole value and then the suffix."""
    if not mark or not set(mark) <= set("0123456789abcdef"):
        raise ValueError(f"not a hexadecimal mark: {mark!r}")
    *fields, last = names
    return "--Format=" + ",".join([*(f"{name}:0|{mark}|" for name in fields), f"{last}:0|{mark}#"])


def sacct(job_ids: Iterable[int]) -> list[str]:
    """sacct for the ends of jobs; it prints one line for each job and one for each of its steps."""
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
    """scontrol for all partitions, including hidden ones, one per line."""
    return ["scontrol", "--all", "--oneliner", "show", "partition"]


def scontrol_nodes(*, details: bool = False) -> list[str]:
    """scontrol for all nodes; with `details`, it counts every GPU in use, which slurmctld finds slow."""
    return ["scontrol", "--all", "--oneliner", *(["--details"] if details else []), "show", "node"]


def scontrol_node(name: str) -> list[str]:
    """scontrol for one node, on one line."""
    return ["scontrol", "--oneliner", "show", "node", _text("node", name)]


def scontrol_reservations() -> list[str]:
    """scontrol for all reservations, one per line."""
    return ["scontrol", "--oneliner", "show", "reservation"]


def scontrol_config() -> list[str]:
    """scontrol for slurmctld's configuration, one setting per line."""
    return ["scontrol", "show", "config"]


def squeue_waiting() -> list[str]:
    """squeue for the partitions of all waiting jobs, one job per line; a job may name several partitions."""
    return ["squeue", "--all", "--local", "--noheader", "--states=PENDING", "--format=%P"]


def is_name(text: str) -> bool:
    """Can sacctmgr look for this name? It may hold blanks, but nothing that makes several names of it.

    Source: slurm_addto_char_list_with_case() in slurm_protocol_defs.c.
    """
    return bool(text.strip()) and text.isprintable() and not set(text) & set(",=[]\"'`")


def sacctmgr_associations(*users: str) -> list[str]:
    """sacctmgr for the associations of users, in every cluster of the accounting database."""
    for user in users or ("",):
        if not is_name(user):
            raise ValueError(f"not a user's name: {user!r}")
    names = ",".join(_text("user", user) for user in users)
    line = [*_SACCTMGR, "show", "user", "withassoc", "where", f"name={names}"]
    return [*line, f"format={','.join(ASSOCIATION_FIELDS)}"]


def sacctmgr_accounts(cluster: str) -> list[str]:
    """sacctmgr for the accounts of a cluster, without the users in them."""
    line = [*_SACCTMGR, "show", "association", "where", f"cluster={_text('cluster', cluster)}", "user="]
    return [*line, f"format={','.join(ACCOUNT_FIELDS)}"]


def sacctmgr_qos() -> list[str]:
    """sacctmgr for every QOS of the accounting database."""
    return [*_SACCTMGR, "show", "qos", f"format={','.join(QOS_FIELDS)}"]


def _option(text: str) -> str:
    """A whole option from the site's file; sbatch would take a bare word for the name of a script."""
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
