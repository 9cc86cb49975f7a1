"""Changes to a server that waits in the queue: what would let it start sooner, and how that is carried out.

Some changes go into the waiting job, which keeps its place (see `argv.changed_settings`), where the site's
sudo rules let the hub do so. All others need a new job: the caller cancels this one and starts again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError
from flatirons.forms import Context
from flatirons.slurm.alternatives import Alternative
from flatirons.slurm.argv import changed_settings
from flatirons.slurm.estimate import Estimate, Kind, describe_start
from flatirons.slurm.model import JobSpec
from flatirons.slurm_form.job import request
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.requested_options import stored_before
from flatirons.spawners.form.start_estimate import accepted_options, possible_alternatives
from flatirons.spawners.jupyterhub import compat, compat_starts
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.server_status import asked
from flatirons.spawners.slurm import SlurmSpawner

NOT_WAITING = "The job doesn't wait any more, so it was not changed."
NEEDS_NEW_JOB = "This can't be changed in the waiting job. It needs a new job, at the end of the queue."


class NotChanged(FlatironsError):
    """The job is as it was; the text says why."""


@dataclass(frozen=True, slots=True)
class SoonerStart:
    """What would let the job start sooner, and whether it keeps its place in the queue."""

    alternative: Alternative
    estimate: Estimate
    keeps_place: bool


@dataclass(frozen=True, slots=True)
class SoonerStarts:
    """The changes for a job that waits. With `is_early`, the estimates follow in a moment."""

    found: tuple[SoonerStart, ...] = ()
    is_early: bool = False


class WaitingServer:
    """The server of a spawner while its job waits in the queue, and the form that it was started with."""

    def __init__(self, spawner: SlurmSpawner, hooks: FormHooks, context: Context) -> None:
        self.spawner = spawner
        self.hooks = hooks
        self.context = context
        self.form = hooks.form(spawner)
        self.user = str(spawner.user.name)

    @classmethod
    async def of(cls, spawner: SlurmSpawner, *, fresh: bool = False) -> WaitingServer | None:
        """None if no job of this server waits, or it has no such form. `fresh`: to change it."""
        hooks = FormHooks.of(spawner)
        if hooks is None or spawner.run is None or spawner.run.phase != "waiting":
            return None
        return cls(spawner, hooks, await hooks.context(spawner, fresh=fresh))

    async def changes(self) -> SoonerStarts:
        """What would let the job start in less than half the time, soonest first; none for a short wait."""
        options = await accepted_options(self.form, FormHooks.texts(self.spawner), self.context)
        cluster = self._run.attempt.cluster
        if options is None:  # what was asked for is no longer offered
            return SoonerStarts()
        estimator, spec = self.spawner.registry.estimator(cluster), self._spec(options)
        estimate = self._expected() or await estimator.estimate(spec, user=self.user)
        if estimate.kind is Kind.TOO_OFTEN:
            return SoonerStarts(is_early=True)
        possible = await possible_alternatives(self.spawner, self.form, self.context, options, spec)
        sooner = await estimator.find_sooner(estimate, possible, user=self.user)
        return SoonerStarts(
            tuple(
                [SoonerStart(each, when, await self._keeps_place(spec, each.spec)) for each, when in sooner]
            )
        )

    async def change(self, given: Mapping[str, str]) -> None:
        """Changes these options of the waiting job, which keeps its place; the form checks them first.

        What is stored of the start has the new options from then on. Raises NotChanged or SlurmError; then
        nothing has changed.
        """
        before, options = dict(self.spawner.user_options), await self.checked(given)
        settings = await self._settings(options)
        if settings is None:
            raise NotChanged(NEEDS_NEW_JOB)
        await compat_starts.apply_options(self.spawner, options)
        try:
            if settings:
                await self._run.client.update(self._run.job_id, settings, user=self.user)
        except SlurmError:
            self.hooks.put_back(self.spawner, before)
            raise
        compat_starts.store_options(self.spawner)
        self._tell(given)

    async def checked(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The options of the start with these in place of its own; NotChanged if the form refuses one."""
        stored_before.set(compat.stored_options(self.spawner))
        try:
            return await self.form.check({**self.spawner.user_options, **given}, self.context)
        except OptionsRefused as refused:
            said = (f"{self.form.label(name)}: {text}" for name, text in refused.messages.items())
            raise NotChanged(" ".join(said)) from None

    @property
    def _run(self) -> ServerRun:
        if self.spawner.run is None or self.spawner.run.phase != "waiting":
            raise NotChanged(NOT_WAITING)
        return self.spawner.run

    def _spec(self, options: Mapping[str, Any]) -> JobSpec:
        spec = request(options, self.spawner.own_fields)
        rights = self.context.facts.rights(self._run.attempt.cluster) if self.context.facts else None
        return rights.countable(spec) if rights else spec

    async def _settings(self, options: Mapping[str, Any]) -> dict[str, str] | None:
        """What scontrol sets to make the job one with these options; None if it needs a new one."""
        old = await accepted_options(self.form, FormHooks.texts(self.spawner), self.context)
        new = await accepted_options(self.form, options, self.context)
        if old is None or new is None or old.get("cluster") != new.get("cluster"):
            return None
        return changed_settings(self._spec(old), self._spec(new))

    async def _keeps_place(self, before: JobSpec, after: JobSpec) -> bool:
        settings, run = changed_settings(before, after), self._run
        return bool(settings) and await run.client.may_update(run.job_id, settings or {}, user=self.user)

    def _expected(self) -> Estimate | None:
        """What Slurm expects of this very job, None where it doesn't say."""
        job = self._run.job
        return (
            describe_start(job.start, datetime.fromtimestamp(time.time(), UTC)) if job and job.start else None
        )

    def _tell(self, given: Mapping[str, str]) -> None:
        words = {each.name: f"{each.label}: {each.words}" for each in asked(self.spawner)}
        told = ", ".join(words[name] for name in words if name in given)
        self._run.progress.tell(20, f"Changed: {told}. The job keeps its place in the queue.")
        self._run.watcher.kick()
