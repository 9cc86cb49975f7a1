"""What pages and programs are told about the server of a spawner, of ours or of another kind.

It is put together from what the hub knows already: no query of Slurm, no process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jupyterhub.spawner import Spawner

from flatirons.errors import Refusal
from flatirons.forms import Field
from flatirons.servers.report import Report
from flatirons.servers.status import ENDED, STOPPED, Asked, Queue, ServerStatus
from flatirons.servers.timing import Step
from flatirons.slurm import explain
from flatirons.slurm.model import Job
from flatirons.slurm_form.job import request
from flatirons.spawners.form.hooks import FormHooks, last_options
from flatirons.spawners.jupyterhub import compat, compat_servers
from flatirons.spawners.run.server_run import ServerRun

STALE_SECONDS = 60.0
"""From this age on, what Slurm said is called old."""


def server_status(spawner: Spawner) -> ServerStatus:
    """The server of this spawner at this moment."""
    run = getattr(spawner, "run", None)
    reports: list[Report] = getattr(spawner, "reports", [])
    about: dict[str, Any] = {
        "user": spawner.user.name,
        "name": spawner.name,
        "title": str(getattr(spawner, "display_name", "") or ""),
        "asked": tuple(asked(spawner)),
        "environment": _environment(spawner),
    }
    if isinstance(run, ServerRun) and run.phase != ENDED:
        return _of_run(run, spawner, about)
    if spawner.active:
        return ServerStatus(**about, phase=_phase_of_other(spawner), since=_started(spawner))
    return _at_rest(about, reports)


def _at_rest(about: dict[str, Any], reports: list[Report]) -> ServerStatus:
    """A server that doesn't run."""
    if not reports:
        return ServerStatus(**about, phase=STOPPED)
    newest = reports[0]
    return ServerStatus(**about, phase=ENDED, since=newest.ended_at, sentence=newest.sentence, report=newest)


def statuses(user: Any) -> list[ServerStatus]:
    """All servers of a user of the hub at this moment: the default server, then the others by name.

    It makes no spawner for a server that doesn't run.
    """
    names = sorted(filter(None, compat.server_names(user)))
    return [_status_of(user, name) for name in ["", *names]]


def _status_of(user: Any, name: str) -> ServerStatus:
    spawner = compat_servers.live_spawner(user, name)
    if spawner is not None:
        return server_status(spawner)
    stored = compat_servers.stored_state(user, name).get("reports", ())
    about = {"user": str(user.name), "name": name, "title": compat_servers.display_name(user, name)}
    return _at_rest(about, [Report.from_dict(each) for each in stored])


def asked(spawner: Spawner, options: Mapping[str, Any] | None = None) -> list[Asked]:
    """The options that say something, with the form's labels: of the last start unless others are given.

    Without our form there are none.
    """
    hooks = FormHooks.of(spawner)
    if hooks is None:
        return []
    form = hooks.form(spawner)
    options = last_options(spawner) if options is None else options
    given = {name: options.get(name) for name in form.fields}
    return [
        Asked(name, form.label(name), _words(form.fields[name], value, spawner))
        for name, value in given.items()
        if value not in (None, "", False)
    ]


def _words(field: Field, value: Any, spawner: Spawner) -> str:
    if field.name == "environment":
        return _title(str(value), spawner)
    try:
        return field.in_words(field.read(value))
    except Refusal:  # stored by a form that read it otherwise
        return str(value)


def _of_run(run: ServerRun, spawner: Spawner, about: dict[str, Any]) -> ServerStatus:
    job, phase = run.job, run.phase
    if phase == "up" and not spawner.ready:
        phase = "stopping" if compat.is_stop_pending(spawner) else "starting"
    events = run.progress.events
    is_stale = run.watcher.failures > 0 and run.watcher.age > STALE_SECONDS
    return ServerStatus(
        **about,
        phase=phase,
        since=phase_began(run, phase),
        sentence=str(events[-1]["message"]) if events else "",
        progress=int(events[-1]["progress"]) if events else 0,
        cluster=run.attempt.cluster,
        partition=job.partition if job else "",
        job_id=run.job_id,
        node=run.attempt.host or (job.batch_host if job else ""),
        spec=request(_options(spawner), spawner.own_fields),
        allocation=job.allocation if job else None,
        queue=_queue(run, job) if job and phase == "waiting" else None,
        steps=tuple(_steps(run, job)),
        started_at=_seconds(job.start) if job and not job.state.is_waiting else None,
        ends_at=_seconds(job.end) if job and not job.state.is_waiting else None,
        used_memory_mib=run.memory.now_mib if phase == "up" else None,
        stale_seconds=run.watcher.age if is_stale else None,
    )


def _options(spawner: Spawner) -> Mapping[str, Any]:
    """What the job is made of; after a restart of the hub, the options that the earlier process accepted."""
    options: Mapping[str, Any] = spawner.job_options()
    hooks = FormHooks.of(spawner)
    if hooks is None or FormHooks.accepted(spawner)[0]:
        return options
    fields = hooks.form(spawner).fields
    given = {name: value for name, value in last_options(spawner).items() if name in fields}
    return {**options, **{name: value for name, value in given.items() if value is not None}}


def _steps(run: ServerRun, job: Job | None) -> list[Step]:
    """The parts of the start; those that an earlier process of the hub saw, as far as Slurm knows them."""
    submit = _seconds(job.submit) if job else None
    if not run.steps or run.steps[0].name != "queue" or not job or submit is None:
        return run.steps
    queue, *later = run.steps
    end = None if queue.seconds is None else queue.began_at + queue.seconds
    if end is not None and not job.state.is_waiting:
        end = min(end, _seconds(job.start) or end)
    requested = float(run.attempt.requested_at) or submit
    return [
        Step("submission", requested, max(submit - requested, 0.0)),
        Step("queue", submit, None if end is None else max(end - submit, 0.0)),
        *later,
    ]


def _queue(run: ServerRun, job: Job) -> Queue:
    said = explain.reason(job.reason)
    return Queue(
        job.reason,
        said.sentence,
        said.advice,
        run.watcher.queue_position(job),
        _seconds(job.start),
        tuple((each.at.timestamp(), each.start.timestamp()) for each in run.estimates),
    )


def phase_began(run: ServerRun, phase: str) -> float | None:
    """When the phase began, as far as this process or Slurm knows."""
    job, requested = run.job, float(run.attempt.requested_at) or None
    if phase == "up" and run.steps and (last := run.steps[-1]).seconds is not None:
        return last.began_at + last.seconds
    if job is None or phase in ("submitting", "waiting"):
        return (_seconds(job.submit) if job else None) or requested
    return _seconds(job.start) or requested


def _phase_of_other(spawner: Spawner) -> str:
    """The phase of a server that isn't followed here."""
    if compat.is_stop_pending(spawner):
        return "stopping"
    return "up" if spawner.ready else "starting"


def _started(spawner: Spawner) -> float | None:
    started = compat.started_at(spawner)
    return started.timestamp() if started else None


def _environment(spawner: Spawner) -> str:
    name = str(last_options(spawner).get("environment") or getattr(spawner, "environment_name", "") or "")
    return _title(name, spawner)


def _title(name: str, spawner: Spawner) -> str:
    settings = getattr(spawner, "environments", {}).get(name, {})
    return str(settings.get("title") or name)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
