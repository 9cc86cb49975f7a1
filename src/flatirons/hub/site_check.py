"""`flatirons check`: finds all mistakes in a site file in one go."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from flatirons.errors import SiteError
from flatirons.hub import machine_check
from flatirons.hub.configure import compile_extra_config
from flatirons.site.load import Mistake, besides, inspect, read
from flatirons.site.schema import Site


@dataclass
class Findings:
    """What `check` found. With a mistake the hub doesn't start; a warning is about this machine only."""

    mistakes: list[Mistake]
    warnings: list[Mistake] = field(default_factory=list)
    site: Site | None = None


def check(path: str) -> Findings:
    """Everything that is wrong with a site file, and what this machine lacks of what it names.

    Raises SiteError for a file that can't be read or isn't TOML.
    """
    site, mistakes = inspect(read(path), path)
    found = Findings(mistakes, site=site)
    if site is not None:
        found.mistakes += besides(mistakes, check_extra_config(site))
        if importlib.util.find_spec("jupyterhub"):
            found.mistakes += besides(mistakes, check_authenticator(site.login.authenticator))
        else:
            found.warnings.append(
                ("login.authenticator", "not checked, because JupyterHub isn't installed here")
            )
        found.warnings = besides(found.mistakes, [*found.warnings, *machine_check.check_machine(site)])
    return found


def check_extra_config(site: Site) -> list[Mistake]:
    """Why the operator's own configuration file can't be read; nothing when it can."""
    try:
        compile_extra_config(site)
    except SiteError as error:
        return error.problems
    return []


def check_authenticator(name: str) -> list[Mistake]:
    """Why JupyterHub can't use the authenticator of this name; nothing when it can. Needs JupyterHub."""
    from jupyterhub.app import JupyterHub
    from traitlets import TraitError

    key = "login.authenticator"
    try:
        JupyterHub(authenticator_class=name)
    except TraitError as error:
        if not isinstance(error.__context__, ImportError):
            return [(key, f"{name!r} is not an authenticator of JupyterHub")]
        known = ", ".join(sorted(each.name for each in entry_points(group="jupyterhub.authenticators")))
        return [(key, f"{name!r} can't be imported: {error.__context__}. Installed are: {known}")]
    except Exception as error:  # noqa: BLE001  importing somebody else's module may raise anything
        return [(key, f"{name!r} can't be imported: {type(error).__name__}: {error}")]
    return []
