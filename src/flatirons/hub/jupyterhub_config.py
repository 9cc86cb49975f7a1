"""The configuration file that `flatirons hub` gives to JupyterHub. All of it comes from the site file."""

import os

from flatirons.hub.configure import configure
from flatirons.site.load import load

configure(get_config(), load(os.environ["FLATIRONS_SITE"]))  # type: ignore[name-defined]  # noqa: F821
