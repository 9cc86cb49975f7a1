"""A hub in this process with the whole Slurm form, whose spawner records what it would have started."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from tornado.web import HTTPError
from traitlets.config import Config

from flatirons.forms import Form
from flatirons.hub.announcements import Announcements
from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.hub.pages.home import HomePage
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.estimate import Estimator
from flatirons.slurm.model import Cluster
from flatirons.slurm_form.offers import SlurmOffers
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.presets import Preset, Presets
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes import summit
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, configuration

STARTED = 418
"""The hub's answer when a spawner should have started a server."""


class Pretending(SlurmSpawner):
    """A SlurmSpawner that starts nothing; its facts are those of tests/fakes/summit.py."""

    started: ClassVar[list[dict[str, Any]]] = []

    async def facts(self, fresh: bool) -> SlurmOffers:
        """What the user may use."""
        return summit.facts(self.user.name)

    def load_state(self, state: dict[str, Any]) -> None:
        """Does nothing: there is no Slurm."""

    async def start(self) -> str:
        """Records the options of the start."""
        self.started.append(dict(self.user_options))
        raise HTTPError(STARTED, "Nothing real is started here")


def pretending(
    form: Form,
    folder: Path,
    *,
    environments: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    site_presets: Mapping[str, Preset] | None = None,
    **settings: Any,
) -> Config:
    """The hub's configuration; saved choices go below `folder`."""
    config = configuration(spawner_class=Pretending, allow_named_servers=True, **settings)
    config.JupyterHub.extra_handlers = list(handlers)
    config.JupyterHub.template_paths = [str(TEMPLATES)]
    config.JupyterHub.template_vars.update({"flatirons_home": HomePage.of})
    config.SlurmSpawner.clusters = {"summit": {}, "blanca": {}}
    config.SlurmSpawner.environments = dict(environments)
    config.SlurmSpawner.own_fields = dict(own or {})
    presets = Presets(site_presets or {}, folder / "presets")
    hooks = FormHooks(form, lambda spawner, fresh: spawner.facts(fresh), presets=presets, estimates=True)
    hooks.attach(config.SlurmSpawner)
    Announcements(folder / "announcements.json").attach(config)
    return config


def with_slurm(hub: JupyterHub, slurm: FakeSlurm) -> None:
    """Lets this Slurm give the estimates, without a limit: a minute seems to pass between requests."""
    client = SlurmClient(Cluster("summit"), slurm)
    clock = count(step=60).__next__
    estimators = {"summit": Estimator(client, clock, clock)}
    registry = Registry("hub", {"summit": client, "blanca": client}, hub.log, estimators=estimators)
    hub.users.settings[SETTINGS_KEY] = registry
