"""The suggested fix: never more than the form accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flatirons.forms import Context
from flatirons.servers.causes import Cause
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.suggested_fix import NO_MORE, NOT_COUNTED, bounded
from tests.fakes import summit

CHOSEN = {"partition": "shas", "account": "general", "qos": "normal"}


async def fix(kind: str, known: Mapping[str, str], settings: Any = None, **chosen: str) -> Cause:
    """The cause with this fix after the form, which knows the cluster, has limited it."""
    form = slurm_form(settings or {}, {"summit": {}}, {"python": {}})
    context = Context(user="alice", facts=summit.facts())
    return await bounded(Cause(kind, "It ended.", "Ask.", known), form, {**CHOSEN, **chosen}, context)


async def most(name: str, **chosen: str) -> Any:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    context = Context(user="alice", facts=summit.facts())
    answers = await form.answers({**CHOSEN, **chosen}, context)
    answer = next(each for each in answers if each.field.name == name)
    assert answer.rules.maximum is not None
    return answer.field.write(answer.rules.maximum)


async def test_twice_as_much_is_suggested_where_the_form_accepts_it() -> None:
    found = await fix("time_limit", {"runtime": "2:00:00"}, runtime="1:00:00")
    assert (found.fix, found.advice) == ({"runtime": "2:00:00"}, "Ask.")


@pytest.mark.parametrize(("kind", "name"), [("time_limit", "runtime"), ("out_of_memory", "memory")])
async def test_a_fix_that_the_form_would_refuse_is_not_suggested(kind: str, name: str) -> None:
    limit = await most(name)
    beyond = {"runtime": "900-00:00:00", "memory": "900T"}[name]
    assert (await fix(kind, {name: beyond})).fix == {}, "it had more than there is now"
    used_up = await fix(kind, {}, **{name: limit})
    assert (used_up.fix, used_up.advice) == ({}, NO_MORE)


async def test_near_the_limit_the_limit_is_suggested() -> None:
    assert await most("runtime") == "1-00:00:00"
    found = await fix("time_limit", {"runtime": "1-16:00:00"}, runtime="20:00:00")
    assert found.fix == {"runtime": "1-00:00:00"}


async def test_without_accounting_the_chosen_memory_counts() -> None:
    assert (await fix("out_of_memory", {}, memory="1500M")).fix == {"memory": "3000M"}


async def test_without_a_choice_the_default_memory_counts_if_it_is_known() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    shas = replace(summit.PARTITIONS[0], default_memory_per_node_mib=700)
    context = summit.context(seen=replace(summit.FACTS, partitions=(shas,), kept={}))
    cause = Cause("out_of_memory", "It ended.", "Ask.")
    assert (await bounded(cause, form, CHOSEN, context)).fix == {"memory": "1400M"}
    unknown = await bounded(Cause("out_of_memory", "It ended.", "Ask."), form, {}, Context(user="alice"))
    assert (unknown.fix, unknown.advice) == ({}, "Ask.")


async def test_without_facts_a_fix_has_no_limit() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    cause = Cause("time_limit", "It ended.", "Ask.", {"runtime": "900-00:00:00"})
    assert (await bounded(cause, form, {}, Context(user="alice"))).fix == {"runtime": "900-00:00:00"}


async def test_the_nearest_larger_choice_of_the_site_is_suggested() -> None:
    settings = {"runtime": {"choices": ["1:00:00", "3:00:00", "8:00:00"], "default": "1:00:00"}}
    assert (await fix("time_limit", {"runtime": "8:00:00"}, settings, runtime="3:00:00")).fix == {
        "runtime": "8:00:00"
    }
    assert (await fix("time_limit", {"runtime": "2:00:00"}, settings, runtime="1:00:00")).fix == {
        "runtime": "3:00:00"
    }
    assert (await fix("time_limit", {"runtime": "16:00:00"}, settings, runtime="8:00:00")).fix == {}


async def test_a_fixed_option_is_not_suggested() -> None:
    settings = {"runtime": {"default": "1:00:00", "locked": True}}
    found = await fix("time_limit", {"runtime": "2:00:00"}, settings)
    assert (found.fix, found.advice) == ({}, NO_MORE)


async def test_other_causes_have_no_fix() -> None:
    assert (await fix("quota", {})).fix == {}


async def test_with_memory_for_each_core_more_of_that_is_suggested() -> None:
    shown = {"mem_per_cpu": {"visible": True}}
    found = await fix("out_of_memory", {"memory": "4G"}, shown, mem_per_cpu="1G")
    assert found.fix == {"mem_per_cpu": "2G"}


async def test_no_memory_is_suggested_where_slurm_allocates_none() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    context = summit.context(seen=summit.without_memory("shas"))
    cause = Cause("out_of_memory", "It ended.", "Ask for more memory.", {"memory": "8G"})
    found = await bounded(cause, form, CHOSEN, context)
    assert (found.fix, found.advice) == ({}, NOT_COUNTED)
