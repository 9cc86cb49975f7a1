"""What Slurm deals with, as frozen values: states, jobs, nodes, partitions ...; no I/O.

Zero and the empty text mean "not given": in a request, Slurm decides; in an answer, Slurm didn't say. Memory
is in MiB, run times are in minutes, and points in time are aware datetimes in UTC.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any, Self

from flatirons.slurm.spelling import Spelling

_STATE_TEXT = re.compile(r"([A-Z_]+(?:[,+][A-Z_]+)*)\+?(?: BY .*)?", re.DOTALL)


class JobState(enum.Enum):
    """Every job state that Slurm 22.05 to 26.05 prints, and two more: UNKNOWN and VANISHED.

    UNKNOWN stands for any other text. It answers False to every question, so that nothing is concluded from
    it. VANISHED is the state of a job that neither slurmctld nor accounting knows any more. Source:
    job_state_string() in Slurm's slurm_protocol_defs.c, "JOB STATE CODES" in squeue(1) and sacct(1).
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    COMPLETING = "COMPLETING"
    STAGE_OUT = "STAGE_OUT"
    CONFIGURING = "CONFIGURING"
    POWER_UP_NODE = "POWER_UP_NODE"
    EXPEDITING = "EXPEDITING"
    RESIZING = "RESIZING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STOPPED = "STOPPED"
    REVOKED = "REVOKED"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    SIGNALING = "SIGNALING"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    GETENV_FAILED = "GETENV_FAILED"
    UPDATE_DB = "UPDATE_DB"
    UNKNOWN = "UNKNOWN"
    VANISHED = "VANISHED"

    @classmethod
    def parse(cls, text: str) -> JobState:
        """The state that Slurm's text names, UNKNOWN for any other text. Never raises.

        Reads long names, the two-letter codes of `squeue --format=%t`, sacct's "CANCELLED by 1000", and lists
        such as "RUNNING,COMPLETING". In a list, the flag (completing) counts rather than the base state.
        """
        match = _STATE_TEXT.fullmatch(text.strip().upper())
        if not match:
            return cls.UNKNOWN
        known = {_BY_TEXT.get(name) for name in re.split("[,+]", match[1])}
        return next((state for state in _PRECEDENCE if state in known), cls.UNKNOWN)

    @property
    def is_waiting(self) -> bool:
        """Is the job in the queue, for the first time or again?"""
        return self in _WAITING

    @property
    def is_starting(self) -> bool:
        """Does the job have nodes that aren't ready yet (booting, prolog)?"""
        return self in _STARTING

    @property
    def is_running(self) -> bool:
        """Does the job's script run, or would it run if it weren't suspended or stopped?"""
        return self in _RUNNING

    @property
    def is_ending(self) -> bool:
        """Is the job ending: processes are being stopped, or Slurm is cleaning up after them?"""
        return self in _ENDING

    @property
    def is_over(self) -> bool:
        """Has the job ended for good, on this cluster?"""
        return self in _OVER


_S = JobState
_WAITING = frozenset(
    {
        _S.PENDING,
        _S.REQUEUED,
        _S.REQUEUE_FED,
        _S.REQUEUE_HOLD,
        _S.SPECIAL_EXIT,
        _S.RESV_DEL_HOLD,
        _S.EXPEDITING,
    }
)
_STARTING = frozenset({_S.CONFIGURING, _S.POWER_UP_NODE})
_RUNNING = frozenset({_S.RUNNING, _S.SUSPENDED, _S.STOPPED, _S.SIGNALING, _S.RESIZING})
_ENDING = frozenset({_S.COMPLETING, _S.STAGE_OUT})
_OVER = frozenset(
    {
        *(_S.COMPLETED, _S.CANCELLED, _S.FAILED, _S.TIMEOUT, _S.NODE_FAIL, _S.PREEMPTED, _S.BOOT_FAIL),
        *(_S.DEADLINE, _S.OUT_OF_MEMORY, _S.REVOKED, _S.VANISHED),
    }
)
_BASE = (_S.PENDING, _S.RUNNING, _S.SUSPENDED, *sorted(_OVER - {_S.REVOKED}, key=lambda state: state.value))
# flags come first, as they do where Slurm itself prints one state for a job with several
_PRECEDENCE = (*(state for state in JobState if state not in _BASE and state is not _S.UNKNOWN), *_BASE)
_CODES = {
    **{"PD": _S.PENDING, "R": _S.RUNNING, "S": _S.SUSPENDED, "CD": _S.COMPLETED, "CA": _S.CANCELLED},
    **{"F": _S.FAILED, "TO": _S.TIMEOUT, "NF": _S.NODE_FAIL, "PR": _S.PREEMPTED, "BF": _S.BOOT_FAIL},
    **{"DL": _S.DEADLINE, "OOM": _S.OUT_OF_MEMORY, "CG": _S.COMPLETING, "SO": _S.STAGE_OUT},
    **{"CF": _S.CONFIGURING, "RS": _S.RESIZING, "RQ": _S.REQUEUED, "RF": _S.REQUEUE_FED},
    **{"RH": _S.REQUEUE_HOLD, "SE": _S.SPECIAL_EXIT, "ST": _S.STOPPED, "RV": _S.REVOKED},
    **{"RD": _S.RESV_DEL_HOLD, "SI": _S.SIGNALING, "EX": _S.EXPEDITING, "LF": _S.LAUNCH_FAILED},
    **{"PO": _S.POWER_UP_NODE},
}
_BY_TEXT = {**_CODES, **{state.value: state for state in JobState if state is not _S.VANISHED}}


DEFAULT_CLUSTER = "default"
"""Name of the cluster that Slurm's commands find by themselves, where no cluster is configured."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach one Slurm: its slurm.conf and its commands' directory, "" for those of the system.

    `spelling` says by which options it takes the resources of a job.
    """

    name: str
    slurm_conf: str = ""
    bin_dir: str = ""
    spelling: Spelling = field(default_factory=Spelling)

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """The cluster with these settings of a site. Raises ValueError as `Spelling.of` does."""
        conf, bin_dir = (str(settings.get(key) or "") for key in ("slurm_conf", "bin_dir"))
        return cls(name, conf, bin_dir, Spelling.of(settings))

    def environment(self) -> dict[str, str]:
        """The variables that a command for this cluster needs."""
        return {"SLURM_CONF": self.slurm_conf} if self.slurm_conf else {}

    def command(self, name: str) -> str:
        """The path of the command, or only its name when PATH is to decide."""
        return f"{self.bin_dir.rstrip('/')}/{name}" if self.bin_dir else name


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The request to Slurm for one batch job; argv.sbatch turns it into options.

    `memory_mib`, `gpus` and `gpu_type` are per node, `cpus` per task. Memory is given by one of `memory_mib`
    and `mem_per_cpu_mib`. Slurm allocates the CPUs of a node in multiples of `cpu_step`. `extra` holds whole
    options of sbatch, such as "--signal=B:TERM@60". A user's text is in them only as the checked value of an
    option.
    """

    name: str
    comment: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    nodes: int = 0
    ntasks: int = 0
    ntasks_per_node: int = 0
    cpus: int = 0
    memory_mib: int = 0
    mem_per_cpu_mib: int = 0
    gpus: int = 0
    gpu_type: str = ""
    runtime_minutes: int = 0
    constraint: str = ""
    chdir: str = ""
    output: str = ""
    cpu_step: int = 1
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a job has on all its nodes together; for a job that waits, what Slurm will allocate.

    `gpus` holds each type of GPU with its number; the type is "" where Slurm doesn't say it. Slurm counts
    GPUs only where AccountingStorageTRES in slurm.conf names them. Source: tres-alloc in squeue(1).
    """

    nodes: int = 0
    cpus: int = 0
    memory_mib: int = 0
    gpus: tuple[tuple[str, int], ...] = ()

    @property
    def memory_per_node_mib(self) -> int:
        """The memory on each node, as in sbatch's option --mem; the mean if they have different shares."""
        return ceil(self.memory_mib / max(self.nodes, 1))


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Slurm last described it.

    `start` is an estimate while the job waits. `submit` changes when the job is put back into the queue. With
    `has_local_times` its times were read without their time zone. `nodes` is Slurm's compressed list
    ("c[1-3]"), and `batch_host` is the node that runs the script. `exit_code` and `signal` are valid once the
    state is over. `comment` and `name` prove nothing, because plugins of the site and the job's user may
    replace them: see slurm/identity.py.
    """

    id: int
    state: JobState
    name: str = ""
    comment: str = ""
    user: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""
    reason: str = ""
    nodes: str = ""
    batch_host: str = ""
    submit: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    runtime_limit_minutes: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    priority: int = 0
    restarts: int = 0
    allocation: Allocation = Allocation()
    raw_state: str = ""
    has_local_times: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended, as accounting reports it; memory figures are None where accounting has none.

    `user` and `submit` tell the job from another one that was given its id.

    `requested_memory_mib` is for all `nodes` of the job together. `max_rss_mib` is the most that any one task
    was seen to use; it is sampled, so short peaks are missed. `cancelled_by` is the numeric id of the user
    who cancelled the job; accounting doesn't report `cancelled_by_name`, this machine looks it up.
    `cpu_seconds` is the time that all processes of the job used.
    """

    job_id: int
    state: JobState
    exit_code: int | None = None
    signal: int | None = None
    elapsed_seconds: int | None = None
    max_rss_mib: int | None = None
    requested_memory_mib: int | None = None
    node: str = ""
    cancelled_by: int | None = None
    cpus: int | None = None
    cpu_seconds: float | None = None
    raw_state: str = ""
    nodes: int | None = None
    cancelled_by_name: str = ""
    user: str = ""
    submit: datetime | None = None

    @property
    def memory_per_node_mib(self) -> int | None:
        """The memory that was asked for on each node, as in sbatch's option --mem."""
        total = self.requested_memory_mib
        return None if total is None else ceil(total / (self.nodes or 1))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All jobs that one query saw; it began at `began_at` and ended at `taken_at`, in monotonic seconds.

    `queues` holds the positions, counted from 1, of the jobs that wait for each partition, by the jobs' ids.
    It is empty if queues weren't asked for.
    """

    jobs: Mapping[int, Job] = field(default_factory=dict)
    began_at: float = 0.0
    taken_at: float = 0.0
    queues: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def queue_position(self, job: Job) -> QueuePosition | None:
        """The position of a waiting job; of several partitions, the one where it is nearest to the front."""
        found = (
            QueuePosition(number, len(queue), name)
            for name in job.partition.split(",")
            if (queue := self.queues.get(name)) and (number := queue.get(job.id))
        )
        return min(found, default=None)


@dataclass(frozen=True, slots=True, order=True)
class QueuePosition:
    """A job is `number`, counted from 1, of `length` jobs that wait for a partition."""

    number: int
    length: int
    partition: str
