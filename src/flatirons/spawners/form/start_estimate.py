"""When a job with the options of a form would start, and what would let it start sooner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flatirons.forms import Context, Form
from flatirons.slurm.alternatives import Alternative, find_alternatives
from flatirons.slurm.estimate import Estimate, Kind
from flatirons.slurm.model import JobSpec
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.job import request
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.slurm import SlurmSpawner


@dataclass(frozen=True, slots=True)
class StartEstimate:
    """An estimate, and alternatives that start clearly sooner, each with its own."""

    estimate: Estimate
    sooner: list[tuple[Alternative, Estimate]]


async def start_estimate(
    spawner: SlurmSpawner, hooks: FormHooks, posted: Mapping[str, object]
) -> StartEstimate | None:
    """Slurm's estimate for the posted options, with alternatives; None while the form has mistakes."""
    form, context = hooks.form(spawner), await hooks.context(spawner)
    given, wrong = form.single(posted)
    answers = await form.answers(given, context, from_page=True)
    options = {answer.field.name: answer.value for answer in answers}
    cluster = options.get("cluster") or spawner.cluster
    if wrong or any(answer.message for answer in answers) or cluster not in spawner.registry.clients:
        return None
    estimator = spawner.registry.estimator(str(cluster))
    spec = request(options, spawner.own_fields)
    rights = context.facts.rights(cluster) if context.facts else None
    spec = rights.countable(spec) if rights else spec
    estimate = await estimator.estimate(spec, user=spawner.user.name)
    if rights is not None:
        estimate = _with_reservations(estimate, spec, rights)
    if not estimate.is_long or rights is None:
        return StartEstimate(estimate, [])
    possible = await possible_alternatives(spawner, form, context, options, spec)
    return StartEstimate(estimate, await estimator.find_sooner(estimate, possible, user=spawner.user.name))


async def possible_alternatives(
    spawner: SlurmSpawner, form: Form, context: Context, options: Mapping[str, Any], spec: JobSpec
) -> list[Alternative]:
    """What else this user may ask for, as the form says, in place of `options`, which `spec` was made of."""
    rights = context.facts.rights(options.get("cluster") or spawner.cluster) if context.facts else None
    if rights is None:
        return []
    possible = []
    for each in find_alternatives(spec, rights):
        if accepted := await accepted_options(form, {**options, **each.options}, context):
            possible.append(replace(each, spec=rights.countable(request(accepted, spawner.own_fields))))
    return possible


def _with_reservations(estimate: Estimate, spec: JobSpec, rights: Rights) -> Estimate:
    """The estimate. A refusal that only means "not now" becomes an estimate that says so.

    --test-only refuses a job that must wait for a reservation to begin or to end; sbatch accepts it. Seen
    with Slurm 22.05 to 26.05.
    """
    if estimate.kind is not Kind.REFUSED:
        return estimate
    reservations = {each.name: each for each in rights.facts.reservations}
    chosen = reservations.get(spec.reservation)
    if chosen and chosen.start and not chosen.is_active:
        return Estimate(Kind.UNKNOWN, f"Starts when {chosen.name} begins: {chosen.start:%d %B, %H:%M} UTC.")
    here = {node.name for node in rights.facts.nodes_of.get(spec.partition, ())}
    others = [each for name, each in reservations.items() if name != spec.reservation and each.is_active]
    if any(here & set(each.node_names) for each in others):
        return Estimate(
            Kind.UNKNOWN,
            "Slurm can't say when this would start: it may have to wait for nodes that are reserved now.",
        )
    return estimate


async def accepted_options(
    form: Form, given: Mapping[str, Any], context: Context
) -> Mapping[str, Any] | None:
    """The typed options as the form reads them; None if the form refuses one."""
    answers = await form.answers(given, context)
    if any(answer.message for answer in answers):
        return None
    return {answer.field.name: answer.value for answer in answers}
