"""Imports, site files and databases from before the package was divided into rooms still work.

A hub of commit 8a65a48 wrote the files in `earlier_release`, with the Slurm of `tests/fakes`. alice has a
server that runs and one that waits in the queue; bob has one that failed, and one that has just reached its
time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jupyterhub
import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.utils import random_port
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from traitlets.config import Config

from flatirons.hub.configure import configure
from flatirons.site.load import load
from flatirons.spawners.shared.registry import SETTINGS_KEY
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import NoProxy, running

EARLIER = Path(__file__).with_name("earlier_release")
PORT = "43210"  # of the servers, in the database


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("spawners.options", "spawners.form.hooks", ["FormHooks"]),
        ("spawners.presets", "spawners.form.presets", ["Preset", "Presets"]),
        ("spawners.slurm_form", "slurm_form.form", ["slurm_form"]),
        ("images", "environments.catalogue", ["Environment"]),
        ("hub.site", "site.load", ["load", "parse", "options_form"]),
    ],
)
def test_old_names_are_the_new_ones(old: str, new: str, names: list[str]) -> None:
    before, now = (importlib.import_module(f"flatirons.{name}") for name in (old, new))
    assert set(names) <= set(before.__all__)
    for name in before.__all__:
        assert getattr(before, name) is getattr(now, name)


def test_a_jupyterhub_config_of_an_earlier_release_configures_a_hub(tmp_path: Path) -> None:
    token = tmp_path / "proxy_token"
    token.write_text("s3cret\n")
    text = (EARLIER / "jupyterhub_config.txt").read_text().replace("/etc/jupyterhub/proxy_token", str(token))
    c = Config()
    exec(text, {"get_config": lambda: c})
    known = SlurmSpawner.class_traits(config=True).keys()
    assert c.SlurmSpawner.keys() <= known
    assert callable(c.SlurmSpawner.apply_user_options)
    assert c.ConfigurableHTTPProxy.auth_token == "s3cret"
    assert (Path(c.JupyterHub.template_paths[0]) / "spawn_pending.html").exists()
    assert all(len(handler) >= 2 for handler in c.JupyterHub.extra_handlers)


def test_a_site_file_of_an_earlier_release_has_no_mistakes_and_the_same_meaning() -> None:
    site = load(EARLIER / "site.toml")
    assert site.servers.queue_timeout == 12 * 3600
    assert site.environment_settings()["torch"]["binds"] == ["/scratch", "/run/munge:/run/munge:ro", "/data"]
    assert site.parallel.settings()["runtime"] == "30m"
    assert site.presets["small"].options["memory"] == "1500M"


class Answers(RequestHandler):
    """What a notebook server answers when the hub asks whether it is there."""

    def get(self) -> None:
        self.set_header("X-JupyterHub-Version", jupyterhub.__version__)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm with the jobs of the database."""
    fake = FakeSlurm()
    for known in json.loads((EARLIER / "jobs.json").read_text()):
        job = fake.add_job(known.pop("user"), **{key: value for key, value in known.items() if key != "id"})
        assert job == known["id"]
    for command in ("scontrol", "sacctmgr"):  # the fake has no cluster to describe
        fake.fail(command, "no answer", times=1000)
    monkeypatch.setattr("flatirons.spawners.slurm.runner_for", lambda *_: fake)
    return fake


@pytest.fixture
def port() -> Iterator[int]:
    """Where the servers of the database answer."""
    server = HTTPServer(Application([(".*", Answers)]))
    port = random_port()
    server.listen(port, "127.0.0.1")
    yield port
    server.stop()


@pytest.fixture
async def hub(tmp_path: Path, slurm: FakeSlurm, port: int) -> AsyncIterator[JupyterHub]:
    """A hub of today with the site file and the database of an earlier release."""
    text = (EARLIER / "site.toml").read_text().replace("/var/lib/flatirons", str(tmp_path))
    (tmp_path / "site.toml").write_text(text)
    with contextlib.closing(sqlite3.connect(tmp_path / "jupyterhub.sqlite")) as database:
        database.executescript((EARLIER / "jupyterhub.sql").read_text().replace(PORT, str(port)))
    c = Config()
    configure(c, load(tmp_path / "site.toml"))
    address = f"http://127.0.0.1:{random_port()}"
    c.JupyterHub.update(bind_url=f"{address}/", hub_bind_url=address, hub_connect_url=address, public_url="")
    c.JupyterHub.update(cookie_secret=b"x" * 32, cookie_secret_file="", pid_file="", log_level="ERROR")
    c.JupyterHub.update(proxy_class=NoProxy, authenticator_class="dummy")
    for section in (c.PAMAuthenticator, c.LocalAuthenticator):
        section.clear()
    async with running(c) as made:
        yield made


async def until(condition: Callable[[], Any]) -> None:
    """Waits for the condition, which may take long on a busy machine."""
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def spawner(hub: JupyterHub, user: str, name: str = "") -> Any:
    """The hub's spawner of a user's server."""
    return hub.users[user].spawners[name]


async def test_servers_of_an_earlier_release_are_found_again_and_no_job_is_cancelled(
    hub: JupyterHub, slurm: FakeSlurm
) -> None:
    await until(lambda: spawner(hub, "alice").ready)
    assert await spawner(hub, "alice").poll() is None
    assert spawner(hub, "alice").user_options["memory"] == "4G"
    await until(lambda: spawner(hub, "alice", "second").pending == "spawn")
    await until(lambda: not spawner(hub, "bob", "other").active)
    assert slurm.count("scancel") == slurm.count("sbatch") == 0
    assert "/user/alice/" in await hub.proxy.get_all_routes()


async def test_a_job_of_an_earlier_release_without_a_server_is_shown_and_not_cancelled(
    hub: JupyterHub, slurm: FakeSlurm
) -> None:
    """It may be that of another hub: one of the earlier release, from whose state this one was made."""
    registry = hub.tornado_settings[SETTINGS_KEY]
    job_id = slurm.add_job("alice", comment=f"{registry.comment_part}:0123456789abcdef:alice/")
    await registry.watcher("summit").refresh_anew()
    await registry.orphans.search("summit", set)
    assert [each.job_id for each in registry.orphans.left_alone] == [job_id]
    assert slurm.jobs[job_id].state == "PENDING"


async def test_reports_of_an_earlier_release_are_still_shown(hub: JupyterHub) -> None:
    [report] = spawner(hub, "bob").reports
    assert (report.kind, report.job_id, report.requested_memory_mib) == ("out_of_memory", 3, 4096)
    assert report.log[-1] == "<b>last line</b>"
    assert "opt-memory=8G" in report.query
    [other] = spawner(hub, "bob", "other").reports
    assert (other.kind, other.was_up) == ("time_limit", True)
