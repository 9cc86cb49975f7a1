"""A hub's start: it looks for its orphans before anybody starts a server, and cancels no other hub's jobs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.spawners.options_form import OptionsFormSpawner
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import Visitor, configuration, running
from tests.waiting import until

Hub = Callable[..., Any]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    monkeypatch.setattr("flatirons.spawners.slurm.runner_for", lambda *_: fake)
    return fake


@asynccontextmanager
async def hub(database: Path, kind: Any = SlurmSpawner) -> AsyncIterator[tuple[Any, Registry[Any]]]:
    """A hub with this database, and the secret that all hubs here have; nobody uses it."""
    config: Config = configuration()
    config.JupyterHub.update(db_url=f"sqlite:///{database}", spawner_class=kind)
    config.SlurmSpawner.clusters = {"summit": {}}
    config.OptionsFormSpawner.child_class = SlurmSpawner
    config.JupyterHub.update(extra_handlers=handlers, template_paths=[str(TEMPLATES)])
    config.Authenticator.admin_users = {"dave"}
    async with running(config) as made:
        registry: Registry[Any] = made.tornado_settings[SETTINGS_KEY]
        try:
            yield made, registry
        finally:
            registry.stop_rounds()
            for watcher in registry.watchers.values():
                await watcher.stop()


async def operations(hub: Any) -> str:
    """The page of operations, as an admin sees it."""
    dave = Visitor(hub, "dave")
    async with dave.http as http:
        await http.get("/hub/login")
        await http.post("/hub/login", data={"username": "dave", "password": "any", "_xsrf": dave.xsrf})
        return (await http.get("/hub/flatirons/operations")).text


class OfASite(SlurmSpawner):
    """A site's own spawner, which looks at its user at once."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.notebook_dir = f"/home/{self.user.name}"


@pytest.mark.parametrize("kind", [SlurmSpawner, OptionsFormSpawner, OfASite])
async def test_a_hub_cancels_its_orphans_from_its_start_on(
    slurm: FakeSlurm, tmp_path: Path, kind: Any
) -> None:
    """Nobody has started a server, as after a database was restored from a backup."""
    async with hub(tmp_path / "hub.sqlite", kind) as (_, registry):
        orphan = slurm.add_job("alice", comment=registry.comment("0123456789abcdef", "alice/"))
    async with hub(tmp_path / "hub.sqlite", kind):
        await until(lambda: slurm.jobs[orphan].state == "CANCELLED")


@pytest.mark.parametrize("copied", ["the secret", "the secret and the database"])
async def test_a_hub_made_from_the_state_of_another_leaves_the_others_jobs_alone_and_shows_them(
    slurm: FakeSlurm, tmp_path: Path, copied: str
) -> None:
    async with hub(tmp_path / "production.sqlite") as (_, registry):
        production = registry.instance
        job_id = slurm.add_job("alice", state="RUNNING", comment=registry.comment("spawn", "alice/"))
    if "database" in copied:
        shutil.copy(tmp_path / "production.sqlite", tmp_path / "test.sqlite")
    async with hub(tmp_path / "test.sqlite") as (made, registry):
        await until(lambda: registry.orphans.left_alone)
        page = await operations(made)
    assert slurm.jobs[job_id].state == "RUNNING" and slurm.count("scancel") == 0
    assert "Jobs of another hub" in page and production in page and f">{job_id}</td>" in page


async def test_a_hub_whose_database_was_lost_shows_the_jobs_that_it_can_not_prove_to_be_its_own(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.add_job("alice", state="RUNNING", comment="flatirons:another:x:alice/")
    async with hub(tmp_path / "hub.sqlite") as (_, registry):
        job_id = slurm.add_job("alice", state="RUNNING", comment=registry.comment("spawn", "alice/"))
    (tmp_path / "hub.sqlite").unlink()
    async with hub(tmp_path / "hub.sqlite") as (_, registry):
        await until(lambda: registry.orphans.left_alone)
        assert [each.job_id for each in registry.orphans.left_alone] == [job_id]
    assert slurm.count("scancel") == 0
