"""What a hub in this process does at its start because its configuration names a spawner of Flatirons."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.spawner import LocalProcessSpawner
from traitlets.config import Config

from flatirons.hub import start
from flatirons.hub.handlers import handlers
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.offers import SlurmOffers
from flatirons.spawners.form.hooks import FormHooks, RefusedOptions
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.start_failed import StartFailed
from tests.fakes import summit
from tests.hub.hub_in_process import JupyterHub, configuration, running
from tests.hub.pretending import Pretending

OURS = [each[0] for each in handlers]


def with_spawner(kind: Any, **child: Any) -> Config:
    config = configuration(spawner_class=kind)
    config.OptionsFormSpawner.update(child)
    return config


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (with_spawner(start.SlurmSpawner), OURS),
        (with_spawner(start.OptionsFormSpawner, child_class=start.SlurmSpawner), OURS),
        (with_spawner("optionsspawner.OptionsFormSpawner", child_class=start.SlurmSpawner), OURS),
        (with_spawner(LocalProcessSpawner), []),
    ],
)
async def test_the_hub_has_the_handlers_that_starters_call_though_its_configuration_does_not_name_them(
    config: Config, expected: list[str]
) -> None:
    async with running(config) as hub:
        assert [each[0] for each in hub.extra_handlers] == expected


async def test_handlers_that_the_configuration_names_are_not_added_twice() -> None:
    config = with_spawner(start.SlurmSpawner)
    config.JupyterHub.extra_handlers = [("/mine", object), *handlers[:1]]
    async with running(config) as hub:
        assert [each[0] for each in hub.extra_handlers] == ["/mine", *OURS]


async def test_the_hub_names_each_leftover_of_another_spawner_in_its_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = with_spawner(start.SlurmSpawner)
    config.JupyterHub.log_level = "INFO"
    config.SlurmSpawner.req_partition = "shas"
    config.BatchSpawnerBase.exec_prefix = ""
    async with running(config):
        pass
    leftover, taken = (line for line in capsys.readouterr().err.splitlines() if " c." in line)
    assert leftover.startswith("[W ") and "c.BatchSpawnerBase.exec_prefix has no effect: " in leftover
    assert taken.startswith("[I ") and "is taken as c.SlurmSpawner.partition." in taken


async def test_a_hub_with_a_value_that_nothing_can_read_does_not_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = with_spawner(start.SlurmSpawner)
    config.SlurmSpawner.req_runtime = "soon"
    try:
        with pytest.raises(SystemExit):
            async with running(config):
                pass
    finally:
        JupyterHub.clear_instance()
    assert 'c.SlurmSpawner.runtime: "soon" isn\'t a time.' in capsys.readouterr().err


def test_the_class_is_asked_only_if_it_has_something_to_say() -> None:
    compat.tell_spawner_class(SimpleNamespace(spawner_class=LocalProcessSpawner))


# -- the cluster that Slurm's commands find by themselves


class OnlyCluster(Pretending):
    """Its one cluster is summit, which nobody has configured."""

    asked = True

    async def facts(self, fresh: bool) -> SlurmOffers:
        return SlurmOffers({"default": summit.facts("alice").clusters["summit"]} if self.asked else {})


@pytest.mark.parametrize("name", ["", "default", "summit"])
async def test_without_clusters_there_is_one_under_its_own_name_or_none(name: str) -> None:
    async with running(with_spawner(OnlyCluster)) as hub:
        spawner = await spawner_of(hub, **({"cluster": name} if name else {}))
        assert list(spawner.registry.clients) == ["default"]
        assert await spawner._known_cluster() == "default"


async def test_another_cluster_is_refused_by_name() -> None:
    async with running(with_spawner(OnlyCluster)) as hub:
        spawner = await spawner_of(hub, cluster="blanca")
        with pytest.raises(StartFailed, match="There is no cluster 'blanca' here"):
            await spawner._known_cluster()


async def test_a_form_without_clusters_offers_what_that_one_has() -> None:
    config = with_spawner(OnlyCluster)
    hooks = FormHooks(slurm_form({}, {}, {}), facts=lambda spawner, fresh: spawner.facts(fresh))
    hooks.attach(config.SlurmSpawner)
    async with running(config) as hub:
        spawner = await spawner_of(hub)
        page = await spawner.options_form(spawner)
        assert 'value="shas"' in page and 'name="cluster"' not in page and 'name="environment"' not in page
        await spawner.apply_user_options(spawner, {"partition": "shas", "runtime": "30m"})
        options = spawner.job_options()
        assert (options["partition"], options["runtime"]) == ("shas", 30)
        assert await spawner._known_cluster() == "default"
        with pytest.raises(RefusedOptions, match="partition"):
            await spawner.apply_user_options(spawner, {"partition": "bobs"})


async def spawner_of(hub: Any, **traits: Any) -> Any:
    """Alice's spawner with these values."""
    hub.db.add(orm.User(name="alice"))
    hub.db.commit()
    spawner = hub.users["alice"].spawner
    for name, value in traits.items():
        setattr(spawner, name, value)
    return spawner
