"""The spawner classes by which JupyterHub finds Flatirons, for a jupyterhub_config.py that names one.

A hub that uses one of them gets our handlers at its start, even if its configuration doesn't name them:
without them no server can report to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flatirons.hub.handlers import handlers
from flatirons.hub.pages.home import HomePage
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.options_form import OptionsFormSpawner
from flatirons.spawners.slurm import SlurmSpawner

JUPYTERHUB_LOGO = "jupyterhub-80.png"

__all__ = ["OptionsFormSpawner", "SlurmSpawner"]


def add_handlers(app: Any) -> None:
    """Adds our handlers to a hub that starts servers by one of our classes and doesn't have them."""
    paths = {each[0] for each in app.extra_handlers}
    if issubclass(app.spawner_class, SlurmSpawner | OptionsFormSpawner):
        app.extra_handlers = [*app.extra_handlers, *(each for each in handlers if each[0] not in paths)]


def add_variables(app: Any) -> None:
    """Gives our templates the servers of whoever has logged in, and whether the logo is JupyterHub's own.

    That one has dark letters, so it needs a filter on a dark page.
    """
    app.template_vars.setdefault("flatirons_home", HomePage.of)
    app.template_vars.setdefault("flatirons_logo", Path(app.logo_file).name == JUPYTERHUB_LOGO)


compat.at_start(add_handlers)
compat.at_start(add_variables)
