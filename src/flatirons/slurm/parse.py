"""The output of squeue, sacct and sbatch -> model; pure. It reads what Slurm 22.05 to 26.05 print.

Output that can't be read completely raises SlurmUnreachable: it says nothing about any job, and certainly not
that there are no jobs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flatirons.errors import SlurmUnreachable
from flatirons.slurm.argv import END_FIELDS, JOB_FIELDS, STEP_FIELDS
from flatirons.slurm.model import Allocation, End, Job, JobState

NO_ANSWER = "Slurm's answer can't be read. This says nothing about your job; please try again in a minute."

_JOB_ID = re.compile(r"([0-9]{1,18})(?:;[^\s;]+)?")
_NUMBER = re.compile(r"[0-9]{1,18}")
_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
_CPU_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_SIZE = re.compile(r"([0-9]{1,24}(?:\.[0-9]{1,9})?)([KMGTPE]?)[nc]?")
_TOO_MUCH = 2**40  # MiB: an exbibyte
_CANCELLED_BY = re.compile(r"CANCELLED by (\d+)")
_ESTIMATE = re.compile(r"Job \d+ to start at (\S+)")
_MIB = {"": 1 / 2**20, "K": 1 / 2**10, "M": 1.0, "G": 2.0**10, "T": 2.0**20, "P": 2.0**30, "E": 2.0**40}
_PARTITION, _PRIORITY = JOB_FIELDS.index("Partition"), JOB_FIELDS.index("PriorityLong")
_TEXTS = ("user", "account", "partition", "qos", "reason", "nodes", "batch_host")
_NOTHING = ("", "(null)", "N/A", "n/a", "None", "NONE", "Unknown", "NOT_SET")


def job_ids(text: str) -> list[int]:
    """The ids that `sbatch --parsable` printed, "123" or "123;cluster", each alone on a line.

    One, unless a plugin or a wrapper of the site prints lines of its own, before the id or after it.
    """
    matches = map(_JOB_ID.fullmatch, map(str.strip, text.splitlines()))
    return list(dict.fromkeys(int(match[1]) for match in matches if match))


def jobs(text: str, mark: str, comment_part: str = "", ids: Container[int | None] = ()) -> dict[int, Job]:
    """The jobs in squeue's output, by id; argv made its format with the same `mark`.

    With `comment_part`, only jobs with one of these `ids` and those whose comment contains it: the others
    aren't parsed, as there may be many. The comment need not begin with it, because a plugin of the site may
    have put something before it.

    Names and comments may contain any character, including line ends, and a user may choose them to look like
    the record of another job. That doesn't work, because the fields are separated by a mark that was drawn
    for this one query. The mark at the end of each record shows that the record is complete.
    """
    found: dict[int, Job] = {}
    for record in _records(text, mark, JOB_FIELDS):
        if comment_part in record[-1] or number(record[0]) in ids:
            job = _job(record)
            found.setdefault(job.id, job)
    return found


def queues(text: str, mark: str) -> dict[str, dict[int, int]]:
    """The positions of the jobs that wait for each partition, by their ids; from the output for `jobs`.

    The job with the highest priority has position 1. A job that names several partitions waits in each of
    them. Held jobs have no priority and come last.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    waiting = f"|{mark}|{JobState.PENDING.value}|{mark}|"
    for line in text.split(f"|{mark}#\n"):
        if waiting not in line:
            continue
        record = line.split(f"|{mark}|")
        job_number, priority = number(record[0]), number(record[_PRIORITY])
        if job_number is None:  # a task of an array, for example: never one of our jobs
            continue
        for name in record[_PARTITION].split(","):
            found.setdefault(name, []).append((-(priority or 0), job_number))
    return {
        name: {job_number: position for position, (_, job_number) in enumerate(sorted(queue), 1)}
        for name, queue in found.items()
    }


def steps(text: str, mark: str) -> list[tuple[str, str]]:
    """The id, as scancel takes it, and the name of each step of a job, from `squeue --steps`."""
    found = _records(text, mark, STEP_FIELDS)
    if any(len(record) != len(STEP_FIELDS) for record in found):
        raise SlurmUnreachable(NO_ANSWER, f"squeue printed a record that can't be read: {found!r}")
    return [(step_id, name) for step_id, name in found]


def _records(text: str, mark: str, fields: Sequence[str]) -> list[list[str]]:
    """The records below the heading, which shows that squeue did answer."""
    *records, rest = text.split(f"|{mark}#\n")
    if rest or not records:
        raise SlurmUnreachable(NO_ANSWER, f"squeue's output is cut or isn't squeue's: ...{text[-200:]!r}")
    heading, *found = (record.split(f"|{mark}|") for record in records)
    if len(heading) != len(fields) or heading[0].upper() != fields[0].upper():
        raise SlurmUnreachable(NO_ANSWER, f"squeue printed another heading: {heading!r}")
    return found


def _job(record: list[str]) -> Job:
    job_number = number(record[0])
    if job_number is None or len(record) != len(JOB_FIELDS):
        raise SlurmUnreachable(NO_ANSWER, f"squeue printed a record that can't be read: {record!r}")
    state = JobState.parse(record[1])
    texts: dict[str, Any] = dict(zip(_TEXTS, map(_given, record[2:9]), strict=True))
    submit, start, end, limit, code, priority, restarts, allocated, name, comment = record[9:]
    exit_code, signal = _wait_status(code) if state.is_over else (None, None)
    return Job(
        id=job_number,
        state=state,
        name=name,
        comment=_given(comment),
        **texts,
        submit=time(submit),
        start=time(start),
        end=time(end),
        runtime_limit_minutes=minutes(limit),
        exit_code=exit_code,
        signal=signal,
        priority=number(priority) or 0,
        restarts=number(restarts) or 0,
        allocation=allocation(allocated),
        raw_state=record[1],
    )


def _given(text: str) -> str:
    return "" if text in _NOTHING else text


def number(text: str) -> int | None:
    """A whole number from 0, None for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def time(text: str) -> datetime | None:
    """A time in UTC, None where Slurm has none ("N/A", "Unknown", "NONE").

    Reads seconds since 1970 (see argv.EPOCH_TIMES) and Slurm's own format, which is in the time zone of this
    machine.
    """
    if text in _NOTHING:
        return None
    try:
        seconds = number(text)
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None  # without its time, a job is still worth reading


def minutes(text: str) -> int | None:
    """Slurm's [days-][hours:]minutes:seconds in whole minutes; None for "UNLIMITED" and anything else."""
    match = _DURATION.fullmatch(text)
    if not match:
        return None
    days, hours, mins, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + mins


def cpu_seconds(text: str) -> float | None:
    """Slurm's [days-][hours:]minutes:seconds[.thousandths] in seconds; None for anything else."""
    match = _CPU_TIME.fullmatch(text)
    if not match:
        return None
    days, hours, mins = (int(part or 0) for part in match.groups()[:3])
    return ((days * 24 + hours) * 60 + mins) * 60 + float(match[4])


def mebibytes(text: str) -> int | None:
    """An amount of memory ("1234K", "4G", "4000Mn", or bytes) in MiB, rounded up; None for any other text.

    sacct of 22.05 prints 2**64 for a moment after a job was cancelled; that gives None as well.
    """
    match = _SIZE.fullmatch(text)
    size = math.ceil(float(match[1]) * _MIB[match[2]]) if match else _TOO_MUCH
    return size if size < _TOO_MUCH else None


def tres(text: str) -> dict[str, int]:
    """The amounts in "cpu=8,mem=16000M,gres/gpu:v100=2", by name; memory in MiB. Others are left out."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        amount = mebibytes(value) if name in ("mem", "bb") else number(value)
        if name and amount is not None:
            found[name] = amount
    return found


def gpu_counts(amounts: Mapping[str, int]) -> dict[str, int]:
    """The number of GPUs of each type, of amounts as from `tres`; those without a type are under ""."""
    prefix = "gres/gpu:"
    typed = {name.removeprefix(prefix): count for name, count in amounts.items() if name.startswith(prefix)}
    rest = amounts.get("gres/gpu", 0) - sum(typed.values())
    return {**typed, "": rest} if rest > 0 else typed


def allocation(text: str) -> Allocation:
    """What squeue's tres-alloc says, such as "cpu=2,mem=4000M,node=1,billing=2,gres/gpu=1". Never raises."""
    amounts = tres(text)
    nodes, cpus, memory = (amounts.get(name, 0) for name in ("node", "cpu", "mem"))
    return Allocation(nodes, cpus, memory, tuple(item for item in gpu_counts(amounts).items() if item[1]))


def _wait_status(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of squeue's exit_code (as of wait(2)) or of the form "1:0"."""
    status = number(text)
    if status is not None:
        return status >> 8 & 0xFF, (status & 0x7F) or None
    code, _, signal = text.partition(":")
    return number(code), number(signal) or None


def ends(text: str) -> dict[int, End]:
    """The ends of jobs in sacct's output, by id; accounting doesn't know a job that is missing there.

    The memory that a job used is that of its steps. Figures of zero are of a cluster that doesn't measure or
    count them (JobAcctGatherType, SelectTypeParameters). When a step ran out of memory, the state of its job
    may be only FAILED.
    """
    jobs: dict[int, dict[str, str]] = {}
    steps: dict[int, list[dict[str, str]]] = {}
    for row in _rows(text):
        text_of_id, dot, _ = row["JobIDRaw"].partition(".")
        job_number = number(text_of_id)
        if job_number is None:
            raise SlurmUnreachable(NO_ANSWER, f"sacct printed a line that can't be read: {row!r}")
        if dot:
            steps.setdefault(job_number, []).append(row)
        else:
            jobs[job_number] = row
    return {each: _end(each, row, steps.get(each, [])) for each, row in jobs.items()}


def _rows(text: str) -> Iterator[dict[str, str]]:
    if text and not text.endswith("\n"):
        raise SlurmUnreachable(NO_ANSWER, f"sacct's output is cut: ...{text[-200:]!r}")
    for line in text.splitlines():
        values = line.split("|")
        if len(values) != len(END_FIELDS):
            raise SlurmUnreachable(NO_ANSWER, f"sacct printed a line that can't be read: {line!r}")
        yield dict(zip(END_FIELDS, values, strict=True))


def _end(job_number: int, row: dict[str, str], steps: list[dict[str, str]]) -> End:
    state = JobState.parse(row["State"])
    is_out_of_memory = any(JobState.parse(step["State"]) is JobState.OUT_OF_MEMORY for step in steps)
    if is_out_of_memory and state is JobState.FAILED:
        state = JobState.OUT_OF_MEMORY
    exit_code, signal = _wait_status(row["ExitCode"])
    used = [size for step in steps if (size := mebibytes(step["MaxRSS"]))]
    by = _CANCELLED_BY.fullmatch(row["State"])
    return End(
        job_id=job_number,
        state=state,
        exit_code=exit_code,
        signal=signal,
        elapsed_seconds=number(row["ElapsedRaw"]),
        max_rss_mib=max(used, default=None),
        requested_memory_mib=mebibytes(row["ReqMem"]) or None,
        node=_given(row["NodeList"]).replace("None assigned", ""),
        cancelled_by=number(by[1]) if by else None,
        cpus=number(row["AllocCPUS"]) or None,
        cpu_seconds=cpu_seconds(row["TotalCPU"]) or None,
        nodes=number(row["NNodes"]) or None,
        raw_state=row["State"],
        user=_given(row["User"]),
        submit=time(row["Submit"]),
    )


def end_of(job: Job) -> End:
    """The end of a job as far as squeue tells it, for a site without accounting."""
    elapsed = (job.end - job.start).total_seconds() if job.start and job.end else None
    return End(
        job_id=job.id,
        state=job.state,
        exit_code=job.exit_code,
        signal=job.signal,
        elapsed_seconds=None if elapsed is None else max(0, int(elapsed)),
        node=job.nodes,
        raw_state=job.raw_state,
        user=job.user,
        submit=job.submit,
    )


def estimated_start(stderr: str) -> datetime | None:
    """The start that `sbatch --test-only` estimates, None when it gives none."""
    match = _ESTIMATE.search(stderr)
    return time(match[1]) if match else None
