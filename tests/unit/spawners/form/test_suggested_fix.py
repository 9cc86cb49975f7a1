"""What would have helped: no more than the form takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flatirons.forms import Context
from flatirons.servers.causes import Cause
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.suggested_fix import NO_MORE, bounded
from tests.fakes import summit

CHOSEN = {"partition": "shas", "account": "general", "qos": "normal"}


async def fix(kind: str, known: Mapping[str, str], settings: Any = None, **chosen: str) -> Cause:
    """What becomes of a cause with this fix, in a form that knows the cluster."""
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


async def test_twice_as_much_is_offered_where_the_form_takes_it() -> None:
    found = await fix("time_limit", {"runtime": "2:00:00"}, runtime="1:00:00")
    assert (found.fix, found.advice) == ({"runtime": "2:00:00"}, "Ask.")


@pytest.mark.parametrize(("kind", "name"), [("time_limit", "runtime"), ("out_of_memory", "memory")])
async def test_what_the_form_would_refuse_is_not_offered(kind: str, name: str) -> None:
    limit = await most(name)
    beyond = {"runtime": "900-00:00:00", "memory": "900T"}[name]
    assert (await fix(kind, {name: beyond})).fix == {}, "it had more than there is now"
    used_up = await fix(kind, {}, **{name: limit})
    assert (used_up.fix, used_up.advice) == ({}, NO_MORE)


async def test_near_the_limit_the_limit_is_offered() -> None:
    assert await most("runtime") == "1-00:00:00"
    found = await fix("time_limit", {"runtime": "1-16:00:00"}, runtime="20:00:00")
    assert found.fix == {"runtime": "1-00:00:00"}


async def test_memory_that_accounting_does_not_tell_is_what_was_chosen() -> None:
    assert (await fix("out_of_memory", {}, memory="1500M")).fix == {"memory": "3000M"}


async def test_memory_that_nobody_chose_is_what_an_empty_input_means_or_unknown() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    shas = replace(summit.PARTITIONS[0], default_memory_per_node_mib=700)
    context = summit.context(seen=replace(summit.FACTS, partitions=(shas,), kept={}))
    cause = Cause("out_of_memory", "It ended.", "Ask.")
    assert (await bounded(cause, form, CHOSEN, context)).fix == {"memory": "1400M"}
    unknown = await bounded(Cause("out_of_memory", "It ended.", "Ask."), form, {}, Context(user="alice"))
    assert (unknown.fix, unknown.advice) == ({}, "Ask.")


async def test_while_slurm_is_not_known_nothing_bounds_a_fix() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    cause = Cause("time_limit", "It ended.", "Ask.", {"runtime": "900-00:00:00"})
    assert (await bounded(cause, form, {}, Context(user="alice"))).fix == {"runtime": "900-00:00:00"}


async def test_of_a_sites_choices_the_nearest_that_is_more_is_offered() -> None:
    settings = {"runtime": {"choices": ["1:00:00", "3:00:00", "8:00:00"], "default": "1:00:00"}}
    assert (await fix("time_limit", {"runtime": "8:00:00"}, settings, runtime="3:00:00")).fix == {
        "runtime": "8:00:00"
    }
    assert (await fix("time_limit", {"runtime": "2:00:00"}, settings, runtime="1:00:00")).fix == {
        "runtime": "3:00:00"
    }
    assert (await fix("time_limit", {"runtime": "16:00:00"}, settings, runtime="8:00:00")).fix == {}


async def test_what_a_site_has_fixed_is_not_offered() -> None:
    settings = {"runtime": {"default": "1:00:00", "locked": True}}
    found = await fix("time_limit", {"runtime": "2:00:00"}, settings)
    assert (found.fix, found.advice) == ({}, NO_MORE)


async def test_other_causes_have_no_remedy() -> None:
    assert (await fix("quota", {})).fix == {}


async def test_who_chose_memory_for_each_core_is_offered_more_of_that() -> None:
    shown = {"mem_per_cpu": {"visible": True}}
    found = await fix("out_of_memory", {"memory": "4G"}, shown, mem_per_cpu="1G")
    assert found.fix == {"mem_per_cpu": "2G"}
