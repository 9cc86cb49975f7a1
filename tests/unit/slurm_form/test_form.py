"""The standard Slurm form with the settings of a site."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from traitlets import Unicode

from flatirons.errors import OptionsRefused, SiteError
from flatirons.forms import Context, Form
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.offers import ClusterOffer, SlurmOffers
from flatirons.spawners.form.hooks import FormHooks, RefusedOptions
from tests.fakes import summit
from tests.unit.spawners.form.test_hooks import Thing

ALICE = Context(user="alice")
MINE = summit.context("alice")
CLUSTERS: dict[str, dict[str, Any]] = {"summit": {"title": "Summit"}, "blanca": {}}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "python": {"title": "Python", "description": "numpy, scipy"},
    "r": {"title": "R"},
}
NAMES = [
    *("environment", "cluster", "partition", "account", "qos", "cpus", "memory", "mem_per_cpu", "gpus"),
    *("runtime", "reservation", "constraint", "nodes", "ntasks"),
]


def form(**settings: dict[str, Any]) -> Form:
    return slurm_form(settings, CLUSTERS, ENVIRONMENTS)


def problems(**settings: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SiteError) as caught:
        form(**settings)
    return dict(caught.value.problems)


def test_it_has_the_standard_fields_by_their_names() -> None:
    assert list(form().fields) == NAMES


async def test_without_choices_everything_is_left_to_slurm_except_cluster_and_environment() -> None:
    options = await form().check({}, ALICE)
    assert {name: value for name, value in options.items() if value is not None} == {
        "cluster": "summit",
        "environment": "python",
    }


async def test_options_have_the_types_of_the_spawners_traits() -> None:
    options = await form().check(
        {"memory": "4G", "runtime": "1-12:00:00", "gpus": "v100:02", "cpus": "8", "partition": "shas"}, ALICE
    )
    assert options["memory"] == 4096
    assert options["runtime"] == 2160
    assert options["gpus"] == "v100:2"
    assert options["cpus"] == 8


@pytest.mark.parametrize(("given", "value"), [("0", "0"), (2, "2"), ("a100:1", "a100:1"), ("a100:0", "0")])
async def test_gpus_are_a_count_with_or_without_a_type(given: object, value: str) -> None:
    options = await form().check({"gpus": given}, ALICE)
    assert options["gpus"] == value
    assert await form().check(options, ALICE) == options


@pytest.mark.parametrize(
    "given", ["a100", "-1", "1:a100", "a100:", ":1", "a,b:1", "gpu:a100:1", "99999", 1.5, True]
)
async def test_a_text_that_isnt_a_number_of_gpus_is_refused(given: object) -> None:
    with pytest.raises(OptionsRefused):
        await form().check({"gpus": given}, ALICE)


async def test_bounds_of_gpus_are_counts() -> None:
    with pytest.raises(OptionsRefused, match="between 0 and 2"):
        await form(gpus={"maximum": 2}).check({"gpus": "v100:3"}, ALICE)


@pytest.mark.parametrize("name", ["account", "partition", "qos", "reservation"])
@pytest.mark.parametrize("evil", ["a b", "a;b", "$(x)", "a\n--uid=0", "a'b", "<b>", "a/b", "ä"])
async def test_names_have_only_slurms_characters(name: str, evil: str) -> None:
    with pytest.raises(OptionsRefused):
        await form().check({name: evil}, ALICE)


async def test_a_site_narrows_presets_locks_and_hides() -> None:
    made = form(
        partition={"choices": [("shas", "Haswell")], "default": "shas", "required": True},
        qos={"default": "normal", "locked": True},
        nodes={"visible": False, "default": 1},
        runtime={"default": "2:00:00", "maximum": "4h", "label": "How long", "help": "Up to four hours."},
        environment={"choices": ["python"]},
    )
    options = await made.check({}, ALICE)
    assert (options["partition"], options["qos"], options["nodes"], options["runtime"]) == (
        "shas",
        "normal",
        1,
        120,
    )
    for refused in (
        {"partition": "sknl"},
        {"qos": "long"},
        {"nodes": 2},
        {"runtime": "5h"},
        {"environment": "r"},
    ):
        with pytest.raises(OptionsRefused):
            await made.check(refused, ALICE)


async def test_a_single_cluster_and_a_single_environment_are_not_on_the_page() -> None:
    made = slurm_form({}, {"summit": {}}, {"python": {}})
    html = await made.render({}, {}, ALICE)
    assert 'name="cluster"' not in html and 'name="environment"' not in html
    assert (await made.check({}, ALICE))["cluster"] == "summit"


async def test_a_site_without_clusters_still_has_a_form() -> None:
    assert await slurm_form({}, {}, {}).render({}, {}, ALICE)


def test_many_environments_are_a_list_instead_of_cards() -> None:
    made = slurm_form({}, {}, {f"e{n}": {} for n in range(20)})
    assert made.fields["environment"].widget == "select"
    assert made.fields["environment"].trait == "environment_name"


def test_each_mistake_of_a_site_is_named_by_its_key() -> None:
    found = problems(
        runtime={"default": "soon", "maximum": "2:00"},
        partition={"choices": ["shas"], "default": "sknl", "colour": "red"},
        memory={"minimum": -1},
        walltime={},
    )
    assert found.keys() == {
        "form.walltime",
        "form.runtime.default",
        "form.runtime.maximum",
        "form.partition.colour",
        "form.partition.default",
        "form.memory.minimum",
    }


# -- with Slurm's facts: tests/fakes/summit.py

FITTING: dict[str, dict[str, Any]] = {
    "python": {},
    "torch": {"needs_gpu": True},
    "knl": {"partitions": ["sknl"]},
    "old": {"clusters": ["blanca"]},
}


def known(own: dict[str, dict[str, Any]] | None = None, **settings: dict[str, Any]) -> Form:
    return slurm_form(settings, {"summit": {}, "blanca": {}}, FITTING, own)


async def offered(made: Form, context: Context = MINE, **given: object) -> dict[str, list[str] | None]:
    """The values that each field offers together with these."""
    answers = await made.answers(given, context)
    return {
        a.field.name: None if a.rules.choices is None else [choice.value for choice in a.rules.choices]
        for a in answers
    }


async def refusals(made: Form, context: Context = MINE, **given: object) -> dict[str, str]:
    try:
        await made.check(given, context)
    except OptionsRefused as refused:
        return refused.messages
    return {}


async def test_without_choices_the_options_are_what_slurm_itself_would_take() -> None:
    options = await known().check({}, MINE)
    assert {name: value for name, value in options.items() if value is not None} == {
        **{"cluster": "summit", "environment": "python", "partition": "shas", "account": "general"},
        **{"qos": "normal", "gpus": "0"},
    }


async def test_each_choice_narrows_the_later_fields() -> None:
    found = await offered(known())
    assert (found["partition"], found["account"], found["qos"]) == (
        ["shas", "sknl", "lesson"],
        ["general", "knl"],
        ["normal", "debug", "long"],
    )
    assert (found["environment"], found["gpus"], found["reservation"]) == (
        ["python", "torch"],
        ["0", "v100:1", "v100:2"],
        ["workshop"],
    )
    found = await offered(known(), partition="sknl", account="knl", environment="torch")
    assert (found["account"], found["qos"], found["reservation"]) == (["knl"], ["normal", "debug"], [])
    assert found["environment"] == ["python", "torch", "knl"]
    assert found["gpus"] is not None and "0" not in found["gpus"] and "a100:4" in found["gpus"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"partition": "bobs"}, "partition"),
        ({"partition": "nosuch"}, "partition"),
        ({"account": "bobs"}, "account"),
        ({"partition": "sknl", "account": "general"}, "account"),
        ({"partition": "sknl", "qos": "long"}, "qos"),
        ({"account": "knl", "qos": "long"}, "qos"),
        ({"reservation": "bobsday"}, "reservation"),
        ({"partition": "lesson"}, "reservation"),
        ({"environment": "knl"}, "environment"),
        ({"environment": "old"}, "environment"),
        ({"environment": "torch", "gpus": "0"}, "gpus"),
        ({"gpus": "a100:1"}, "gpus"),
        ({"gpus": "v100:3"}, "gpus"),
        ({"gpus": "-1"}, "gpus"),
        ({"runtime": "1-00:00:01"}, "runtime"),
        ({"qos": "debug", "runtime": "61m"}, "runtime"),
        ({"cpus": 9}, "cpus"),
        ({"memory": "16001M"}, "memory"),
        ({"nodes": 3}, "nodes"),
        ({"nodes": 2, "ntasks": 1}, "ntasks"),
        ({"cluster": "nosuch"}, "cluster"),
    ],
)
async def test_contradicting_options_are_refused_at_the_field_concerned(
    given: dict[str, object], refused: str
) -> None:
    assert set(await refusals(known(), **given)) == {refused}


async def test_every_offered_choice_is_accepted() -> None:
    for partition in ("shas", "sknl", "lesson"):
        more = {"reservation": "workshop"} if partition == "lesson" else {}
        found = await offered(known(), partition=partition, **more)
        for name in ("environment", "account", "qos", "reservation", "gpus"):
            for value in found[name] or ():
                assert await refusals(known(), **{**more, "partition": partition, name: value}) in (
                    {},
                    {"gpus": "Choose one."},
                ), (partition, name, value)


async def test_a_bare_count_of_gpus_means_the_only_type() -> None:
    assert (await known().check({"gpus": "1"}, MINE))["gpus"] == "v100:1"
    assert (await known().check({"partition": "sknl", "gpus": "1"}, MINE))["gpus"] == "1"


async def test_an_environment_with_gpus_begins_with_one() -> None:
    assert (await known().check({"environment": "torch"}, MINE))["gpus"] == "v100:1"


async def test_a_site_narrows_what_slurm_offers_and_never_widens_it() -> None:
    made = known(
        partition={"choices": ["sknl", "bobs", "shas"], "default": "bobs"},
        account={"choices": ["knl", "bobs"]},
        qos={"choices": ["long", "normal"]},
        runtime={"maximum": "8d"},
        cpus={"maximum": 4},
        memory={"maximum": "1T"},
        gpus={"maximum": 1},
    )
    found = await offered(made)
    assert (found["partition"], found["account"], found["qos"], found["gpus"]) == (
        ["sknl", "shas"],
        ["knl"],
        ["normal"],
        ["0", "v100:1"],
    )
    assert (await made.check({}, MINE))["partition"] == "shas", "Slurm's default: the site's isn't hers"
    for given in ({"partition": "lesson"}, {"account": "general"}, {"runtime": "25h"}, {"cpus": 5}):
        assert set(await refusals(made, **given)) == set(given)
    assert set(await refusals(made, memory="16G")) == {"memory"}
    assert set(await refusals(made, gpus="v100:2")) == {"gpus"}


async def test_a_locked_value_that_the_user_cant_have_is_refused_and_not_replaced() -> None:
    for way in ({"locked": True}, {"visible": False}):
        made = known(partition={"default": "bobs", **way})
        assert "isn't possible" in (await refusals(made))["partition"]
        assert (await made.check({}, summit.context("bob")))["partition"] == "bobs"


async def test_until_a_cluster_answers_any_name_is_accepted_and_slurm_decides() -> None:
    given = {**{"cluster": "blanca", "partition": "any", "account": "some", "qos": "high"}, "gpus": "h100:8"}
    options = await known().check({**given, "runtime": "30d", "reservation": "r"}, MINE)
    assert (options["partition"], options["qos"], options["runtime"]) == ("any", "high", 43200)
    assert set(await refusals(known(), **{**given, "account": "$(id)"})) == {"account"}
    found = await offered(known(), cluster="blanca")
    assert found["partition"] is found["account"] is found["qos"] is found["gpus"] is None


async def test_a_user_without_any_account_is_told_to_ask_the_operator() -> None:
    made = slurm_form({}, {"summit": {}}, {"python": {}})
    messages = await refusals(made, summit.context("carol"))
    assert "You have no account on any cluster here. Please ask the operator." in messages["cluster"]


async def test_a_user_without_any_account_is_told_when_the_page_opens() -> None:
    made = slurm_form({}, {"summit": {}}, {"python": {}})
    for live in (False, True):
        assert "Please ask the operator" in await made.render({}, {}, summit.context("carol"), live=live)


class Placed(Thing):
    """A spawner whose QOS is a text."""

    qos = Unicode()


async def test_a_choice_that_is_no_longer_offered_since_the_page_was_made_is_refused() -> None:
    asked: list[bool] = []
    now = [summit.FACTS]

    def facts(spawner: Any, fresh: bool) -> Any:
        asked.append(fresh)
        return summit.facts("alice", now[0] if fresh else summit.FACTS)

    hooks, thing = FormHooks(known(), facts), Placed("alice")
    page = await hooks.options_form(thing)
    assert 'value="sknl"' in page and asked == [False]
    gone = tuple(replace(p, is_up=p.name != "sknl") for p in summit.PARTITIONS)
    now[0] = replace(summit.FACTS, partitions=gone)
    posted = {"partition": ["sknl"], "account": ["knl"]}
    with pytest.raises(RefusedOptions, match='partition: "sknl" isn\'t offered here'):
        await hooks.options_from_form(posted, spawner=thing)
    with pytest.raises(RefusedOptions, match='partition: "sknl" isn\'t offered here'):
        await hooks.apply_user_options(Placed("alice"), {"partition": "sknl", "account": "knl"})
    assert asked == [False, True, True]
    now[0] = summit.FACTS
    await hooks.apply_user_options(thing, {"partition": "sknl", "account": "knl"})
    assert thing.partition == "sknl"


async def test_bobs_options_are_checked_against_his_own_rights() -> None:
    bob = summit.context("bob")
    assert await refusals(known(), bob, partition="bobs", account="bobs") == {}
    assert set(await refusals(known(), bob, account="knl")) == {"account"}
    assert set(await refusals(known(), bob, reservation="workshop")) == {"reservation"}


# -- unusual names that Slurm allows


def with_gpus(kind: str) -> Context:
    nodes = tuple(replace(node, gpus={kind: 2}) if node.gpus else node for node in summit.NODES)
    return summit.context(seen=replace(summit.FACTS, nodes=nodes))


def with_qos(name: str) -> Context:
    own = replace(summit.ASSOCIATIONS["alice"][0], qos=(name, "normal"), default_qos=name)
    facts = replace(summit.FACTS, qos={**summit.QOS, name: replace(summit.QOS["normal"], name=name)})
    return Context(user="alice", facts=SlurmOffers({"summit": ClusterOffer(Rights(facts, [own], "alice"))}))


def with_account(name: str) -> Context:
    own = replace(summit.ASSOCIATIONS["alice"][0], account=name)
    return Context(
        user="alice", facts=SlurmOffers({"summit": ClusterOffer(Rights(summit.FACTS, [own], "alice"))})
    )


async def test_a_type_of_gpus_may_begin_with_a_digit() -> None:
    options = await known().check({"environment": "torch"}, with_gpus("2080ti"))
    assert options["gpus"] == "2080ti:1"


async def test_a_type_of_gpus_that_begins_with_a_digit_can_be_asked_for() -> None:
    options = await known().check({"gpus": "2080ti:2"}, with_gpus("2080ti"))
    assert options["gpus"] == "2080ti:2"


@pytest.mark.parametrize("name", ["gpu/long", "größer", "a b", "q#1", "-q"])
async def test_any_name_that_slurm_uses_works_in_the_form(name: str) -> None:
    for option, context in (("qos", with_qos(name)), ("account", with_account(name))):
        assert (await known().check({}, context))[option] == name
        assert (await known().check({option: name}, context))[option] == name


async def test_a_site_may_begin_with_a_bare_count_of_gpus() -> None:
    assert (await known(gpus={"default": "1"}).check({}, MINE))["gpus"] == "v100:1"


async def test_a_site_may_offer_bare_counts_of_gpus() -> None:
    assert (await offered(known(gpus={"choices": ["0", "1"]})))["gpus"] == ["0", "v100:1"]


UNCOUNTED = summit.context(seen=summit.without_memory("shas"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"default": "4G"},
        {"default": "4G", "locked": True},
        {"default": "4G", "visible": False},
        {"default": "4G", "required": True, "minimum": "1G"},
    ],
)
async def test_where_slurm_allocates_no_memory_none_is_shown_or_asked_for(settings: dict[str, Any]) -> None:
    made = form(memory=settings, mem_per_cpu={"visible": True})
    assert (await made.check({"memory": "8G"}, UNCOUNTED))["memory"] is None
    assert (await made.check({"mem_per_cpu": "8G"}, UNCOUNTED))["mem_per_cpu"] is None
    assert (await made.check({}, UNCOUNTED))["memory"] is None
    page = await made.render({}, {}, UNCOUNTED)
    assert "option-cpus" in page
    assert "option-memory" not in page and "option-mem_per_cpu" not in page
    counted = await made.check({"partition": "sknl", "account": "knl"}, UNCOUNTED)
    assert counted["memory"] == (4096 if settings else None)


async def test_a_site_may_say_that_a_cluster_takes_no_memory() -> None:
    clusters = {"summit": {"sbatch_memory": "none"}, "blanca": {}}
    made = slurm_form({}, clusters, ENVIRONMENTS)
    assert (await made.check({"memory": "8G", "cluster": "summit"}, ALICE))["memory"] is None
    assert (await made.check({"memory": "8G", "cluster": "blanca"}, ALICE))["memory"] == 8192


async def test_labels_name_the_options_of_the_chosen_cluster() -> None:
    clusters = {"summit": {"sbatch_memory": "--mem-per-cpu", "sbatch_gpus": ["--gpus", "-C"]}, "blanca": {}}
    made = slurm_form({}, clusters, ENVIRONMENTS)
    there, elsewhere = [await made.render({"cluster": name}, {}, ALICE) for name in clusters]
    assert "--mem-per-cpu</code>" in there and "--gpus --constraint</code>" in there
    assert "--mem</code>" in elsewhere and "--gres=gpu</code>" in elsewhere


def test_a_sites_field_cannot_set_an_option_that_a_cluster_takes_for_resources() -> None:
    clusters = {"summit": {"sbatch_cpus": ["--cpus-per-task", "--cores-per-socket"]}}
    field = {"sockets": {"sbatch": "--cores-per-socket"}}
    slurm_form({}, {"summit": {}}, ENVIRONMENTS, field)
    with pytest.raises(SiteError, match="set by a standard field"):
        slurm_form({}, clusters, ENVIRONMENTS, field)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "Cores for each task"),
        ({"ntasks": {"visible": True}}, "Cores for each task"),
        ({"ntasks": {"visible": False}}, "Cores"),
        ({"ntasks": {"visible": False}, "cpus": {"label": "CPUs"}}, "CPUs"),
    ],
)
def test_cores_are_for_each_task_only_where_users_see_tasks(settings: Any, label: str) -> None:
    assert slurm_form(settings, {"summit": {}}, {"python": {}}).label("cpus") == label
