"""The form compared with Slurm: every choice, in the order in which fields depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flatirons.forms import Form
from flatirons.forms.form import Answer
from flatirons.forms.values import Context
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.job import request
from flatirons.slurm_form.offers import ClusterOffer, SlurmOffers
from tests.cluster.product.ask_slurm import (
    CLUSTERS,
    STARTS,
    WAITS,
    Clusters,
    has_reserved_nodes,
    look,
    sample,
)
from tests.cluster.product.offered_jobs import USERS, Ask, Place, places, there

pytestmark = pytest.mark.cluster

FORM = slurm_form({"mem_per_cpu": {"visible": True}}, {name: {} for name in CLUSTERS}, {"python": {}})
CHOSEN = ("cluster", "partition", "account", "qos", "reservation", "gpus")
COUNTED = ("nodes", "ntasks", "cpus", "memory", "runtime")
COUNTED_BY_CORE = ("nodes", "ntasks", "cpus", "mem_per_cpu", "runtime")
SUBMITTED = 12

Options = dict[str, Any]


async def answers(form: Form, options: Mapping[str, Any], context: Context) -> dict[str, Answer]:
    return {answer.field.name: answer for answer in await form.answers(options, context)}


async def leaves(form: Form, context: Context, chosen: Options | None = None) -> list[Options]:
    """All combinations of the fields that offer choices."""
    so_far = chosen or {}
    if len(so_far) == len(CHOSEN):
        return [so_far]
    name = CHOSEN[len(so_far)]
    rules = (await answers(form, so_far, context))[name].rules
    values: list[Any] = [choice.value for choice in rules.choices or ()]
    if rules.is_fixed:
        values = [rules.default]
    elif not rules.required:
        values = [None, *values]
    return [leaf for value in values for leaf in await leaves(form, context, {**so_far, name: value})]


async def smallest(form: Form, leaf: Options, context: Context) -> Options:
    """The minimum of everything for which the form demands one."""
    options = dict(leaf)
    for name in COUNTED[:-1]:
        least = (await answers(form, options, context))[name].rules.minimum
        if isinstance(least, int) and least > 1:
            options[name] = least
    return await form.check(options, context)


async def largest(form: Form, leaf: Options, context: Context, counted: Sequence[str] = COUNTED) -> Options:
    """The maximum of everything, one after the other."""
    options = dict(leaf)
    for name in counted:
        options[name] = (await answers(form, options, context))[name].rules.maximum
    return await form.check(options, context)


def asked(options: Options, what: str) -> Ask:
    spec = request(options)
    place = Place(spec.partition, spec.account, spec.qos, spec.reservation)
    return Ask(place, what, there(spec, place))


def context_of(slurm: Clusters, user: str) -> Context:
    return Context(
        user=user, facts=SlurmOffers({name: ClusterOffer(slurm.rights[name][user]) for name in CLUSTERS})
    )


async def test_the_form_offers_every_place_and_nothing_that_slurm_refuses(
    clients: dict[str, SlurmClient],
) -> None:
    slurm = await look(clients)
    refused: dict[str, list[tuple[str, Ask]]] = {name: [] for name in CLUSTERS}
    for user in USERS:
        context = context_of(slurm, user)
        found = await leaves(FORM, context)
        for name in CLUSTERS:
            here = [leaf for leaf in found if leaf["cluster"] == name]
            refused[name] += await refusals(slurm, name, context, here)
    for name, asks in refused.items():
        assert set(await slurm.outcomes(name, sample(asks, SUBMITTED), patience=0)) <= {STARTS, WAITS}


async def refusals(
    slurm: Clusters, name: str, context: Context, here: list[Options]
) -> list[tuple[str, Ask]]:
    """The jobs that a test-only submission refuses, which must be only jobs that may wait."""
    user, rights = context.user, slurm.rights[name][context.user]
    asks = [asked(await largest(FORM, leaf, context), "most of all") for leaf in here]
    assert {ask.place for ask in asks} == set(places(rights))
    asks += [
        asked(await smallest(FORM, leaf, context), "smallest") for leaf in here if not demands(rights, leaf)
    ]
    asks += [
        asked(await largest(FORM, leaf, context, COUNTED_BY_CORE), "most for each core") for leaf in here
    ]
    said = await slurm.refusals(name, user, asks)
    no = {ask: sentence for ask, sentence in said.items() if sentence}
    print(f"{name} {user}: {len(here)} ways through the form, {len(asks)} jobs, {len(no)} refused by a test")
    assert not [f"{ask}: {no[ask]}" for ask in no if not has_reserved_nodes(rights, ask)]
    return [(user, ask) for ask in no]


def demands(rights: Rights, leaf: Options) -> bool:
    """Whether the place demands a minimum of something."""
    bounds = rights.bounds(leaf["partition"], leaf["account"], leaf["qos"], leaf["reservation"] or "")
    return (bounds.min_nodes(), bounds.min_cpus(), bounds.min_memory_mib()) != (1, 1, 1)


async def test_the_form_demands_what_a_qos_demands(clients: dict[str, SlurmClient]) -> None:
    slurm = await look(clients)
    for user in USERS:
        context, rights = context_of(slurm, user), slurm.rights["summit"][user]
        found = await leaves(FORM, context)
        demanding = [leaf for leaf in found if leaf["cluster"] == "summit" and demands(rights, leaf)]
        asks = [asked(await smallest(FORM, leaf, context), "smallest") for leaf in demanding]
        said = await slurm.refusals("summit", user, asks)
        assert not [f"{user} {ask}: {no}" for ask, no in said.items() if no]
