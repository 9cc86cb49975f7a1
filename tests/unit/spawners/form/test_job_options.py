"""The options of a job: accepted by the form, configured by the operator, or set by code afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets.config import Config

from flatirons.slurm import argv
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.job import request
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.job_options import job_options
from flatirons.spawners.slurm import SlurmSpawner

SHOWN = {"constraint": {"visible": True}, "mem_per_cpu": {"visible": True}}
FORM = slurm_form(SHOWN, {"summit": {}}, {"python": {}})


def spawner(hooks: FormHooks | None = None, **configured: Any) -> SlurmSpawner:
    config = Config()
    for name, value in configured.items():
        config.SlurmSpawner[name] = value
    if hooks:
        hooks.attach(config.SlurmSpawner)
    made = SlurmSpawner(config=config)
    made.user = Person()
    return made


class Person:
    """The parts of a user that the hooks need."""

    name = "alice"


async def test_a_configured_trait_holds_where_the_user_leaves_the_option_empty() -> None:
    hooks = FormHooks(FORM)
    made = spawner(hooks, partition="x", cpus=2)
    await hooks.apply_user_options(made, {"cpus": 4})
    spec = request(job_options(made))
    assert (spec.partition, spec.cpus) == ("x", 4)
    await hooks.apply_user_options(made, {})
    assert request(job_options(made)).cpus == 2


async def test_accepted_options_become_the_command_line() -> None:
    hooks = FormHooks(FORM)
    made = spawner(hooks)
    await hooks.apply_user_options(made, {"constraint": "haswell", "mem_per_cpu": "2G", "gpus": "v100:2"})
    line = argv.sbatch(request(job_options(made)))
    assert {"--constraint=haswell", "--mem-per-cpu=2048M", "--gres=gpu:v100:2"} <= set(line)


async def test_a_trait_that_code_sets_before_the_start_replaces_the_option() -> None:
    hooks = FormHooks(FORM)
    made = spawner(hooks)
    await hooks.apply_user_options(made, {"partition": "shas", "memory": "4G"})
    made.memory = 8192  # as a subclass or a pre_spawn_hook does
    made.partition = ""
    spec = request(job_options(made))
    assert (spec.memory_mib, spec.partition) == (8192, "")
    await hooks.apply_user_options(made, {"partition": "shas", "memory": "4G"})
    assert request(job_options(made)).memory_mib == 4096


async def test_a_trait_that_code_sets_also_replaces_the_alternative_that_the_user_chose() -> None:
    hooks = FormHooks(FORM)
    made = spawner(hooks)
    await hooks.apply_user_options(made, {"mem_per_cpu": "2G"})
    made.memory = 8192
    line = argv.sbatch(request(job_options(made)))
    assert [word for word in line if word.startswith("--mem")] == ["--mem=8192M"]
    await hooks.apply_user_options(made, {"mem_per_cpu": "2G"})
    made.mem_per_cpu = 0
    line = argv.sbatch(request(job_options(made)))
    assert [word for word in line if word.startswith("--mem")] == []


async def test_without_a_form_only_the_traits_count_because_nothing_checked_the_options() -> None:
    made = spawner(partition="x", constraint="haswell")
    made.user_options = {"partition": "evil", "cpus": "many"}
    spec = request(job_options(made))
    assert (spec.partition, spec.constraint, spec.cpus) == ("x", "haswell", 0)


async def test_what_the_user_chose_takes_the_place_of_a_configured_alternative() -> None:
    hooks = FormHooks(FORM)
    made = spawner(hooks, memory=4096)
    await hooks.apply_user_options(made, {"mem_per_cpu": "2G"})
    assert (job_options(made)["memory"], job_options(made)["mem_per_cpu"]) == (None, 2048)
    made = spawner(hooks, mem_per_cpu=1024)
    await hooks.apply_user_options(made, {"memory": "2G"})
    assert (job_options(made)["memory"], job_options(made).get("mem_per_cpu")) == (2048, None)


# -- the site's own fields


def with_own(name: str, **settings: str) -> tuple[SlurmSpawner, FormHooks]:
    own = {name: {"sbatch": "--licenses", **settings}}
    hooks = FormHooks(slurm_form({}, {"summit": {}}, {"python": {}}, own))
    return spawner(hooks, own_fields=own, memory=1024), hooks


def licenses(made: SlurmSpawner) -> list[str]:
    line = argv.sbatch(request(job_options(made), made.own_fields))
    return [word for word in line if word.startswith("--licenses")]


@pytest.mark.parametrize("name", ["constraint", "mem_per_cpu", "licence"])
async def test_a_sites_own_field_that_is_left_empty_adds_nothing_whatever_its_name(name: str) -> None:
    made, hooks = with_own(name)
    await hooks.apply_user_options(made, {})
    assert licenses(made) == []
    await hooks.apply_user_options(made, {name: "matlab"})
    assert licenses(made) == ["--licenses=matlab"]
    assert job_options(made)["memory"] == 1024


async def test_what_code_puts_into_user_options_reaches_the_sites_own_field() -> None:
    made, hooks = with_own("licence")
    await hooks.apply_user_options(made, {"licence": "matlab"})
    made.user_options = {**made.user_options, "licence": "idl"}  # as a pre_spawn_hook does
    assert licenses(made) == ["--licenses=idl"]


async def test_the_options_count_behind_a_function_of_the_sites_that_shows_the_form() -> None:
    made, hooks = with_own("licence")
    made.options_form = lambda spawner: hooks.options_form(spawner)
    await hooks.apply_user_options(made, {"licence": "matlab", "memory": "2G"})
    assert licenses(made) == ["--licenses=matlab"]
    assert job_options(made)["memory"] == 2048
