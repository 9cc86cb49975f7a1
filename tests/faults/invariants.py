"""What the hub, Slurm and the servers report, and where these reports contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

OVER = frozenset(
    (
        *("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "DEADLINE", "REVOKED"),
    )
)

Key = tuple[str, str]
"""A server: its user and its name."""

MayEnd = Callable[[Key, Mapping[str, Any]], bool]
"""Whether a server's end, by its report, is a legitimate one."""


@dataclass(frozen=True)
class Job:
    """A notebook job, as squeue has it."""

    id: int
    state: str
    key: Key
    node: str

    @property
    def is_over(self) -> bool:
        return self.state in OVER


def notebook_jobs(squeue: str) -> dict[int, Job]:
    """Jobs by id, from rows of `id|state|comment|batch host`; a notebook's has the hub's comment."""
    found = {}
    for row in squeue.splitlines():
        number, state, comment, node = row.split("|")
        parts = comment.split(":", 3)
        if parts[0] == "flatirons":
            user, _, name = parts[3].partition("/")
            found[int(number)] = Job(int(number), state, (user, name), node)
    return found


@dataclass
class View:
    """The state of everything at one time. `answers` has what each server answers, usually its job's id."""

    jobs: dict[int, Job]
    servers: dict[Key, dict[str, Any]]
    reports: dict[Key, list[dict[str, Any]]]
    answers: dict[Key, Any] = field(default_factory=dict)

    def active(self) -> dict[Key, dict[str, Any]]:
        """The servers that the hub shows as running or starting."""
        return {key: model for key, model in self.servers.items() if model["ready"] or model["pending"]}

    def report(self, job: Job) -> dict[str, Any] | None:
        """The report of a job's end.

        If sbatch gave up and Slurm accepted the job nevertheless, the hub never knew its id: the server's
        report says that Slurm didn't answer.
        """
        reports = self.reports.get(job.key, ())
        known = (each for each in reports if each["job_id"] == job.id)
        unheard = (each for each in reports if each["kind"] == "not_submitted" and not each["job_id"])
        return next(known, next(unheard, None))


def wrongs(view: View, born: Iterable[Job], asked: Mapping[Key, float], may_end: MayEnd) -> list[str]:
    """A sentence for each broken invariant; empty if there is none.

    `born`: the jobs that existed at some time since the repetition began. `asked`: when each server was last
    requested, in seconds since 1970.
    """
    return [
        *_wrong_jobs(view),
        *_wrong_servers(view),
        *_wrong_ends(view, born, may_end),
        *_unexplained(view, asked),
    ]


def _wrong_jobs(view: View) -> Iterable[str]:
    """No notebook that Slurm runs is lost, and no job is an orphan."""
    active = view.active()
    for job in view.jobs.values():
        model = active.get(job.key)
        if job.is_over:
            continue
        if model is None or model["state"].get("job_id") != job.id:
            yield f"job {job.id} of {job.key} ({job.state}) belongs to no server: {model}"
        elif job.state == "RUNNING" and (not model["ready"] or view.answers.get(job.key) != job.id):
            yield (
                f"job {job.id} of {job.key} runs, but the hub says {_said(model)} and the server "
                f"{view.answers.get(job.key)!r}"
            )
        elif job.state != "RUNNING" and model["pending"] != "spawn":
            yield f"job {job.id} of {job.key} is {job.state}, but the hub says {_said(model)}"


def _said(model: Mapping[str, Any]) -> str:
    return f"ready={model['ready']} pending={model['pending']}"


def _wrong_servers(view: View) -> Iterable[str]:
    """No server is shown whose job is over."""
    living = {job.id for job in view.jobs.values() if not job.is_over}
    for key, model in view.active().items():
        if model["state"].get("job_id") not in living:
            yield f"the hub shows {key} ({_said(model)}), whose job {model['state'].get('job_id')} is over"


def _wrong_ends(view: View, born: Iterable[Job], may_end: MayEnd) -> Iterable[str]:
    """Every end has its true reason."""
    for known in born:
        job = view.jobs.get(known.id, known)
        if job.id in view.jobs and not job.is_over:
            continue
        report = view.report(job)
        if report is None:
            yield f"job {job.id} of {job.key} ended ({job.state}) without a report"
        elif not may_end(job.key, report):
            yield f"job {job.id} of {job.key} ({job.state}) ended as {report['kind']}: {report['sentence']}"


def _unexplained(view: View, asked: Mapping[Key, float]) -> Iterable[str]:
    """A server that was requested and doesn't run has a report of that time, even if it had no job."""
    active = view.active()
    for key, when in asked.items():
        if key not in active and not any(each["ended_at"] > when for each in view.reports.get(key, ())):
            yield f"{key} was asked for and isn't there, and nobody says why"
