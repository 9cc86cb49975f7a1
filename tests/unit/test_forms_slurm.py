"""The standard Slurm form, made from what a site says."""

from __future__ import annotations

from typing import Any

import pytest

from flatirons.errors import OptionsRefused, SiteError
from flatirons.forms import Context, Form
from flatirons.spawners.slurm_form import slurm_form

ALICE = Context(user="alice")
CLUSTERS: dict[str, dict[str, Any]] = {"summit": {"title": "Summit"}, "blanca": {}}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "python": {"title": "Python", "description": "numpy, scipy"},
    "r": {"title": "R"},
}
NAMES = [
    *("environment", "cluster", "partition", "account", "cpus", "memory", "gpus", "runtime"),
    *("qos", "reservation", "nodes", "ntasks"),
]


def form(**settings: dict[str, Any]) -> Form:
    return slurm_form(settings, CLUSTERS, ENVIRONMENTS)


def problems(**settings: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SiteError) as caught:
        form(**settings)
    return dict(caught.value.problems)


def test_it_has_the_standard_fields_by_their_names() -> None:
    assert list(form().fields) == NAMES


async def test_nothing_chosen_leaves_all_to_slurm_but_the_first_cluster_and_environment() -> None:
    options = await form().check({}, ALICE)
    assert {name: value for name, value in options.items() if value is not None} == {
        "cluster": "summit",
        "environment": "python",
    }


async def test_options_are_typed_as_the_spawners_traits_are() -> None:
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
async def test_what_is_no_gpus_is_refused(given: object) -> None:
    with pytest.raises(OptionsRefused):
        await form().check({"gpus": given}, ALICE)


async def test_bounds_of_gpus_are_counts() -> None:
    with pytest.raises(OptionsRefused, match="between 0 and 2"):
        await form(gpus={"maximum": 2}).check({"gpus": "v100:3"}, ALICE)


@pytest.mark.parametrize("name", ["account", "partition", "qos", "reservation"])
@pytest.mark.parametrize("evil", ["a b", "a;b", "$(x)", "a\n--uid=0", "a'b", "<b>", "a/b", "ä"])
async def test_names_are_made_of_slurms_characters(name: str, evil: str) -> None:
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


async def test_one_cluster_and_one_environment_need_no_question() -> None:
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
