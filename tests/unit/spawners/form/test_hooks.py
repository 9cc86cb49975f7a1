"""The hooks alone, on an object with traits. On a real hub: tests/hub/test_form_hooks.py."""

from __future__ import annotations

import asyncio
import copy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traitlets import HasTraits, Integer, Unicode

from flatirons.forms import Context, Form, Select, Text
from flatirons.forms import Integer as IntegerField
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.hooks import FilledIn, FormHooks, RefusedOptions
from tests.unit.forms.test_hostile import ALICE, jsons, names, posted_values

SLURM = slurm_form(
    {"partition": {"choices": ["shas", "sknl"]}}, {"summit": {}, "blanca": {}}, {"python": {}, "r": {}}
)


class Thing(HasTraits):
    """The parts of a spawner that the hooks need."""

    partition = Unicode("configured")
    environment_name = Unicode()
    memory = Integer()
    qos = Integer()

    def __init__(self, user: str = "alice", **options: Any) -> None:
        super().__init__()
        self.user = SimpleNamespace(name=user, settings={})
        self.name = ""
        self.user_options = options


def test_a_hook_that_traitlets_copies_still_belongs_to_the_same_hooks() -> None:
    hooks = FormHooks(SLURM)
    assert copy.deepcopy(hooks.apply_user_options).__self__ is hooks


def test_the_hooks_attach_to_a_section_of_the_configuration() -> None:
    section = SimpleNamespace()
    hooks = FormHooks(SLURM)
    hooks.attach(section)
    assert section.options_form == hooks.options_form
    assert section.options_from_form == hooks.options_from_form
    assert section.apply_user_options == hooks.apply_user_options


async def test_values_become_the_traits_that_the_spawner_has() -> None:
    thing = Thing()
    await FormHooks(SLURM).apply_user_options(
        thing, {"partition": "sknl", "environment": "r", "memory": "1G"}
    )
    assert (thing.partition, thing.environment_name, thing.memory) == ("sknl", "r", 1024)
    assert not hasattr(thing, "nodes")
    assert thing.user_options["memory"] == 1024


async def test_an_empty_option_restores_the_configured_value_of_the_trait() -> None:
    thing, hooks = Thing(), FormHooks(SLURM)
    await hooks.apply_user_options(thing, {"partition": "sknl"})
    await hooks.apply_user_options(thing, {})
    assert thing.partition == "configured"


async def test_a_trait_that_doesnt_take_the_value_refuses_the_option() -> None:
    with pytest.raises(RefusedOptions, match="qos: This server can't be given this value"):
        await FormHooks(SLURM).apply_user_options(Thing(), {"qos": "normal"})


async def test_the_form_and_its_facts_may_depend_on_the_spawner() -> None:
    def form(spawner: Any) -> Form:
        return Form([Select("account", choices=lambda user, facts: facts[user])])

    async def facts(spawner: Any, fresh: bool) -> dict[str, list[str]]:
        return {spawner.user.name: [f"{spawner.user.name}s"]}

    hooks = FormHooks(form, facts)
    assert 'value="alices"' in await hooks.options_form(Thing("alice"))
    await hooks.apply_user_options(Thing("bob"), {"account": "bobs"})
    with pytest.raises(RefusedOptions):
        await hooks.apply_user_options(Thing("bob"), {"account": "alices"})


async def test_a_refusal_names_each_option_with_its_sentence() -> None:
    hooks = FormHooks(Form([IntegerField("nodes", maximum=4), Text("account")]))
    with pytest.raises(RefusedOptions) as caught:
        await hooks.apply_user_options(Thing(), {"nodes": 5, "account": "100% <b>"})
    assert caught.value.status_code == 400
    assert caught.value.jupyterhub_message.startswith("nodes: Must be at most 4. account: Use only letters")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, posted_values, max_size=8))
def test_any_posted_body_ends_in_options_or_in_the_form(body: dict[str, Any]) -> None:
    async def request() -> str:
        hooks, thing = FormHooks(SLURM), Thing()
        try:
            options = await hooks.options_from_form(body, spawner=thing)
            await hooks.apply_user_options(thing, options)
        except RefusedOptions as refused:
            assert refused.jupyterhub_message == ""
        return await hooks.options_form(Thing("default"))

    asyncio.run(request()).encode()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, posted_values, max_size=8))
def test_any_link_ends_in_the_form_and_in_no_options(query: dict[str, Any]) -> None:
    async def request() -> str:
        hooks = FormHooks(SLURM)
        with pytest.raises(FilledIn):
            await hooks.options_from_form(query)
        return await hooks.options_form(Thing())

    asyncio.run(request()).encode()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, jsons, max_size=8))
def test_any_rest_body_ends_in_options_or_in_one_printable_text(body: dict[str, Any]) -> None:
    thing = Thing()
    try:
        asyncio.run(FormHooks(SLURM).apply_user_options(thing, body))
    except RefusedOptions as refused:
        assert refused.jupyterhub_message.isprintable()
        assert thing.partition == "configured"
    else:
        assert asyncio.run(SLURM.check(thing.user_options, Context(user=ALICE.user))) == thing.user_options
