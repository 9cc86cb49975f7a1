"""A real Jupyter server with the panel's extension, in this process, on a Slurm in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from flatirons.lab.handlers import SLURM_KEY
from flatirons.lab.slurm import UserSlurm
from tests.fakes.slurm import FakeSlurm
from tests.unit.lab.panel import TOKEN, Panel


@pytest.fixture
def slurm() -> FakeSlurm:
    """The Slurm that the panel asks."""
    return FakeSlurm()


class FakeUserSlurm(UserSlurm):
    """The user's Slurm on a machine that has the commands."""

    is_there = True
    user = "alice"


@pytest_asyncio.fixture
async def panel(slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Panel]:
    """The running server."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    ServerApp.clear_instance()
    config = Config()
    config.IdentityProvider.token = TOKEN
    config.ServerApp.update(port=0, open_browser=False, root_dir=str(tmp_path), allow_root=True)
    config.ServerApp.update(
        jpserver_extensions={"flatirons.lab": True}, reraise_server_extension_failures=True
    )
    app = ServerApp(config=config, log_level="ERROR")
    app.initialize(argv=[], find_extensions=False, new_httpserver=True)
    app.web_app.settings[SLURM_KEY] = FakeUserSlurm({"FLATIRONS_CLUSTER": "summit"}, lambda: slurm)
    app.http_server.start()
    yield Panel(app)
    await app._cleanup()
    ServerApp.clear_instance()
