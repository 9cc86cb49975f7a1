"""From a site to JupyterHub's configuration: small functions, each for one concern.

A plain jupyterhub_config.py may use them too::

    from flatirons.hub.configure import configure
    from flatirons.site.load import load

    configure(c, load("/etc/flatirons/site.toml"))
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable
from pathlib import Path
from types import CodeType
from typing import Any
from urllib.parse import urlsplit

from flatirons.errors import SiteError
from flatirons.hub import state_directory
from flatirons.site.load import options_form
from flatirons.site.schema import Site

TEMPLATES = Path(__file__).parent / "templates"

# A start that takes longer than this shows the page with its progress; one that fails sooner, the form.
SECONDS_BEFORE_PROGRESS_PAGE = 2.0
# How often JupyterHub asks a running server's spawner whether it lives. That costs no command, but some of
# the hub's time for each server: asked every 30 seconds, 1,000 servers took a third of a percent of a core
# more. An end is told by the watcher, and what JupyterHub missed of it by the registry.
SECONDS_BETWEEN_POLLS = 120
# How often JupyterHub asks the proxy who was active, with queries of the database for each server. Servers
# tell the hub of it themselves, every five minutes.
SECONDS_BETWEEN_ACTIVITIES = 900
# How often JupyterHub looks whether its event loop is late. Every 50 milliseconds, its default, is a good
# part of what a hub works whose servers simply run.
SECONDS_BETWEEN_TICKS = 0.1


def configure(c: Any, site: Site) -> None:
    """Sets everything that the site says in the configuration `c`, then what its extra_config says."""
    folder = state_directory.prepare(site.hub.state_dir)
    update_hub(c, site, folder)
    update_proxy(c, site, folder)
    update_internal_tls(c, site)
    update_login(c, site)
    update_pages(c)
    update_spawner(c, site)
    update_form(c, site, folder)
    run_extra_config(c, site)


def update_hub(c: Any, site: Site, folder: Path) -> None:
    """Addresses, files, and that servers outlive the hub."""
    hub = c.JupyterHub
    hub.base_url = site.hub.base_url
    hub.hub_bind_url = site.hub.listen or site.hub.address
    hub.hub_connect_url = site.hub.address
    hub.cookie_secret_file = str(folder / "cookie_secret")
    hub.last_activity_interval = SECONDS_BETWEEN_ACTIVITIES
    c.PeriodicMetricsCollector.event_loop_interval_resolution = SECONDS_BETWEEN_TICKS
    hub.db_url = site.hub.database or state_directory.database(folder / "jupyterhub.sqlite")
    hub.upgrade_db = not site.hub.database  # a SQLite file is copied before it is upgraded
    hub.internal_certs_location = str(folder / "internal-ssl")
    hub.log_level = site.hub.log_level.upper()
    hub.cleanup_servers = False
    hub.init_spawners_timeout = 1
    hub.concurrent_spawn_limit = (
        0  # a server that waits in the queue counts as starting; Slurm holds the limits
    )
    hub.tornado_settings = {"slow_spawn_timeout": SECONDS_BEFORE_PROGRESS_PAGE}
    limit = site.hub.named_servers
    hub.allow_named_servers = limit is True or limit > 0
    hub.named_server_limit_per_user = 0 if isinstance(limit, bool) else limit


def update_proxy(c: Any, site: Site, folder: Path) -> None:
    """A proxy that runs apart and keeps its routes when the hub is away, unless the site wants it
    otherwise."""
    from flatirons.hub.proxy import WatchedProxy

    apart = site.proxy.run == "apart"
    c.JupyterHub.bind_url = site.proxy.public + site.hub.base_url
    if site.proxy.public_url:
        c.JupyterHub.public_url = site.proxy.public_url + site.hub.base_url
    c.JupyterHub.cleanup_proxy = not apart
    c.JupyterHub.proxy_class = WatchedProxy
    c.ConfigurableHTTPProxy.should_start = not apart
    c.ConfigurableHTTPProxy.api_url = site.proxy.api
    c.ConfigurableHTTPProxy.auth_token = state_directory.secret(folder / "proxy_token")
    c.ConfigurableHTTPProxy.command = proxy_command(site)
    c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")


def proxy_command(site: Site) -> list[str]:
    """The proxy's program, as a path if it is on the PATH or beside our own Python, and its arguments."""
    name, *rest = site.proxy.command
    places = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    return [shutil.which(name, path=os.pathsep.join(places)) or name, *rest]


def update_internal_tls(c: Any, site: Site) -> None:
    """Certificates for all that talk to each other; jobs ask for theirs through the proxy."""
    if not site.hub.internal_tls:
        return
    hosts = {str(urlsplit(url).hostname) for url in (site.hub.address, site.proxy.api)}
    c.JupyterHub.internal_ssl = True
    c.JupyterHub.trusted_alt_names = [f"DNS:{host}" for host in sorted(hosts)]
    port = urlsplit(site.proxy.public).port
    proxy = site.proxy.public_url or f"http://{urlsplit(site.hub.address).hostname}:{port}"
    c.SlurmSpawner.starter_url = f"{proxy}{site.hub.base_url}hub/api"


def update_login(c: Any, site: Site) -> None:
    """Who may come in, and how."""
    login = site.login
    c.JupyterHub.authenticator_class = login.authenticator
    c.Authenticator.allow_all = login.everybody
    c.Authenticator.allowed_users = set(login.allowed_users)
    c.Authenticator.blocked_users = set(login.blocked_users)
    c.Authenticator.admin_users = set(login.admin_users)
    if login.authenticator == "pam":
        c.PAMAuthenticator.service = login.pam_service
        c.PAMAuthenticator.admin_groups = set(login.admin_groups)
        c.LocalAuthenticator.allowed_groups = set(login.allowed_groups)


def update_pages(c: Any) -> None:
    """Our pages before JupyterHub's, and the starter's calls."""
    from flatirons.hub.handlers import handlers

    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.extra_handlers = list(handlers)


def update_spawner(c: Any, site: Site) -> None:
    """Servers are Slurm jobs."""
    from flatirons.spawners.slurm import SlurmSpawner

    servers = site.servers
    c.JupyterHub.spawner_class = SlurmSpawner
    c.Spawner.default_url = servers.default_url
    c.Spawner.poll_interval = SECONDS_BETWEEN_POLLS
    spawner = c.SlurmSpawner
    spawner.clusters = {
        name: {"slurm_conf": cluster.slurm_conf, "bin_dir": cluster.bin_dir}
        for name, cluster in site.clusters.items()
    }
    spawner.environments = site.environment_settings()
    spawner.run_as = site.hub.run_as
    spawner.ssh_host = site.hub.ssh_host
    spawner.queue_timeout = float(servers.queue_timeout)
    spawner.node_timeout = float(servers.node_timeout)
    spawner.stop_timeout = float(servers.stop_timeout)
    spawner.port_range = list(servers.ports or ())
    spawner.check_address = servers.check_address
    spawner.python = servers.python
    spawner.prologue = servers.prologue
    spawner.parallel = site.parallel.settings()
    spawner.own_fields = site.form.site_fields()


def update_form(c: Any, site: Site, folder: Path) -> None:
    """The options form: one gate for the page, a link and the REST API."""
    from flatirons.slurm_form.offers import SlurmOffers
    from flatirons.spawners.form.hooks import FormHooks
    from flatirons.spawners.form.presets import Preset, Presets
    from flatirons.spawners.slurm import SlurmSpawner

    presets = Presets(
        {
            name: Preset(said.title or name, said.options, said.description)
            for name, said in site.presets.items()
        },
        folder / "presets",
    )

    def facts(spawner: SlurmSpawner, fresh: bool) -> Awaitable[SlurmOffers]:
        return spawner.facts(fresh)

    FormHooks(options_form(site), facts, presets=presets, estimates=True).attach(c.SlurmSpawner)


def run_extra_config(c: Any, site: Site) -> None:
    """Runs the operator's own Python file, if there is one; see `extra_code` for what it raises."""
    code = extra_code(site)
    if code is not None:
        names = {"__file__": site.hub.extra_config, "c": c, "get_config": lambda: c, "site": site}
        exec(code, names)


def extra_code(site: Site) -> CodeType | None:
    """The operator's own Python file; raises SiteError when it can't be read or isn't Python."""
    path = site.hub.extra_config
    if not path:
        return None
    try:
        return compile(Path(path).read_text(encoding="utf-8"), path, "exec")
    except OSError as error:
        sentence = f"{path} can't be read: {error.strerror}"
        raise SiteError([("hub.extra_config", sentence)]) from error
    except (SyntaxError, ValueError) as error:
        raise SiteError([("hub.extra_config", f"{path} is not Python: {error}")]) from error
