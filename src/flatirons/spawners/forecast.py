"""When a job with the options of a form would start, and what would let it start sooner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flatirons.forms import Context, Form
from flatirons.slurm.estimate import Estimate
from flatirons.slurm.sooner import Change, changes
from flatirons.spawners.options import FormHooks
from flatirons.spawners.slurm import SlurmSpawner
from flatirons.spawners.slurm_form import request


@dataclass(frozen=True, slots=True)
class Forecast:
    """An estimate, and changes with theirs that start clearly sooner."""

    estimate: Estimate
    sooner: list[tuple[Change, Estimate]]


async def forecast(spawner: SlurmSpawner, hooks: FormHooks, posted: Mapping[str, object]) -> Forecast | None:
    """What Slurm expects; None while the form isn't filled in to the end."""
    form, context = hooks.form(spawner), await hooks.context(spawner)
    given, wrong = form.single(posted)
    answers = await form.answers(given, context, from_page=True)
    options = {answer.field.name: answer.value for answer in answers}
    cluster = options.get("cluster") or spawner.cluster
    if wrong or any(answer.message for answer in answers) or cluster not in spawner.desk.clients:
        return None
    estimator = spawner.desk.estimator(str(cluster))
    spec = replace(request(options), extra=spawner.own_options(options))
    estimate = await estimator.estimate(spec, user=spawner.user.name)
    rights = context.facts.rights(cluster) if context.facts else None
    if not estimate.is_long or rights is None:
        return Forecast(estimate, [])
    candidates = [await _checked(form, options, each, context) for each in changes(spec, rights)]
    possible = [each for each in candidates if each]
    return Forecast(estimate, await estimator.sooner(estimate, possible, user=spawner.user.name))


async def _checked(form: Form, options: Mapping[str, Any], change: Change, context: Context) -> Change | None:
    """The change if the form takes it, as what the form makes of it."""
    answers = await form.answers({**options, **change.options}, context)
    if any(answer.message for answer in answers):
        return None
    spec = request({answer.field.name: answer.value for answer in answers})
    return replace(change, spec=replace(spec, extra=change.spec.extra))
