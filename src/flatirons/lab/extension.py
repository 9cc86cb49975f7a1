"""Adds the routes of the panel to a Jupyter server."""

from __future__ import annotations

from typing import Any

from jupyter_server.utils import url_path_join

from flatirons.lab import jobs, offer, script_test
from flatirons.lab.handlers import SLURM_KEY
from flatirons.lab.slurm import UserSlurm

ROUTES = [*jobs.routes, *offer.routes, *script_test.routes]
"""Pairs of a path below `{server}/flatirons/` and its handler."""


def load(server: Any) -> None:
    """Adds ROUTES to this ServerApp."""
    server.web_app.settings[SLURM_KEY] = UserSlurm()
    base = server.web_app.settings["base_url"]
    routes = [(url_path_join(base, "flatirons", path), handler) for path, handler in ROUTES]
    server.web_app.add_handlers(".*$", routes)
