"""What somebody sees who logs in with an account of the system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import pytest_asyncio

from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.runner import AsSudo, Completed
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Judging(FakeSlurm):
    """A Slurm in memory, behind the judgement of a real runner."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """As the fake, for those as whom sudo would be asked."""
        AsSudo().launch(argv, user, env or {})
        return await super().run(argv, user=user, stdin=stdin, env=env, deadline=deadline)


@pytest.fixture(scope="module")
def slurm() -> Judging:
    return Judging()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(slurm: Judging) -> AsyncIterator[JupyterHub]:
    config = configuration(spawner_class=SlurmSpawner)
    config.JupyterHub.extra_handlers = list(handlers)
    config.JupyterHub.template_paths = [str(TEMPLATES)]
    config.SlurmSpawner.clusters = {"summit": {}}
    config.SlurmSpawner.environments = {"python": {}}
    async with running(config) as hub:
        client = SlurmClient(Cluster("summit"), slurm)
        registry: Registry[ServerRun] = Registry("hub", {"summit": client}, hub.log)
        hub.users.settings[SETTINGS_KEY] = registry
        yield hub
        registry.stop_rounds()
        await registry.watcher("summit").stop()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("root", "it has the rights of root (uid 0)"),
        ("daemon", "it is an account of the system (uid 1, below UID_MIN"),
        ("0", "it isn't the name of an account"),
    ],
)
async def test_an_account_of_the_system_starts_nothing_and_is_told_why(
    hub: JupyterHub, slurm: Judging, name: str, why: str
) -> None:
    someone = await Visitor(hub, name).log_in()
    answer = await someone.rest({})
    assert answer.status_code in (400, 500)
    assert why in answer.json()["message"]
    assert "operator" not in answer.json()["message"]
    assert not slurm.jobs
    assert someone.has_started_nothing()
    await someone.http.aclose()
