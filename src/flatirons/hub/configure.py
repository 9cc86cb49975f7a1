"""Turns a site into JupyterHub's configuration: small functions, each for one concern.

A jupyterhub_config.py of your own can use them too::

    from flatirons.hub.configure import configure
    from flatirons.site.load import load

    configure(c, load("/etc/flatirons/site.toml"))
"""

from __future__ import annotations

import hashlib
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
from flatirons.hub.announcements import Announcements
from flatirons.site.load import options_form
from flatirons.site.schema import Site

TEMPLATES = Path(__file__).parent / "templates"
PAGES_STATIC = Path(__file__).parent / "static"
PROXY_ROUTES = Path(__file__).with_name("proxy_routes.cjs")

# A start that takes longer than this shows the progress page; one that fails sooner shows the form again.
SECONDS_BEFORE_PROGRESS_PAGE = 2.0
# How often JupyterHub polls the spawner of a running server. A poll runs no command but takes CPU time: every
# 30 seconds, 1,000 servers took a third of a percent of a core more. The watcher reports the end of a job
# anyway, and the registry makes sure that JupyterHub learns of it.
SECONDS_BETWEEN_POLLS = 120
# How often JupyterHub asks the proxy who was active, which takes database queries for each server. Servers
# also report it themselves, every five minutes.
SECONDS_BETWEEN_ACTIVITIES = 900
# How often JupyterHub measures the delay of its event loop. Its default, every 50 milliseconds, takes a good
# part of the CPU time of a hub whose servers just run.
SECONDS_BETWEEN_TICKS = 0.1


def configure(c: Any, site: Site) -> None:
    """Sets all that the site says in the configuration `c`, then runs its `extra_config`.

    Makes the state directory and its files. Raises SiteError when that fails, or `extra_config` isn't Python.
    """
    state_directory.prepare(site.hub.state_dir)
    for update in (
        *(update_addresses, update_state, update_limits, update_proxy, update_internal_tls),
        *(update_login, update_pages, update_connect, update_servers, update_spawner, update_form),
    ):
        update(c, site)
    run_extra_config(c, site)
    add_announcements(c, site)


def update_addresses(c: Any, site: Site) -> None:
    """Sets where the hub listens, and where proxy and nodes reach it."""
    c.JupyterHub.base_url = site.hub.base_url
    c.JupyterHub.hub_bind_url = site.hub.listen or site.hub.address
    c.JupyterHub.hub_connect_url = site.hub.address


def update_state(c: Any, site: Site) -> None:
    """Sets what the hub stores, and that servers keep running without it."""
    folder, hub = Path(site.hub.state_dir), c.JupyterHub
    hub.cookie_secret_file = str(folder / "cookie_secret")
    own = folder / "jupyterhub.sqlite"
    named = site.hub.database
    hub.db_url = state_directory.tighten_database(named) if named else state_directory.prepare_database(own)
    hub.upgrade_db = not site.hub.database  # a SQLite file is copied before it is upgraded
    hub.internal_certs_location = str(folder / "internal-ssl")
    hub.cleanup_servers = False
    hub.init_spawners_timeout = 1
    hub.log_level = site.hub.log_level.upper()


def update_limits(c: Any, site: Site) -> None:
    """Sets how many servers there may be, and how often JupyterHub does what costs CPU time."""
    hub = c.JupyterHub
    hub.concurrent_spawn_limit = 0  # servers in the queue count as starting, and Slurm limits those
    limit = site.hub.named_servers
    hub.allow_named_servers = limit is True or limit > 0
    hub.named_server_limit_per_user = 0 if isinstance(limit, bool) else limit
    hub.tornado_settings = {"slow_spawn_timeout": SECONDS_BEFORE_PROGRESS_PAGE}
    hub.last_activity_interval = SECONDS_BETWEEN_ACTIVITIES
    c.PeriodicMetricsCollector.event_loop_interval_resolution = SECONDS_BETWEEN_TICKS
    c.Spawner.poll_interval = SECONDS_BETWEEN_POLLS


def update_proxy(c: Any, site: Site) -> None:
    """Sets whether the proxy is a separate service, which keeps its routes while the hub is down."""
    from flatirons.hub.proxy import WatchedProxy

    folder, apart = Path(site.hub.state_dir), site.proxy.run == "apart"
    c.JupyterHub.bind_url = site.proxy.public + site.hub.base_url
    if site.proxy.public_url:
        c.JupyterHub.public_url = site.proxy.public_url + site.hub.base_url
    c.JupyterHub.cleanup_proxy = not apart
    c.JupyterHub.proxy_class = WatchedProxy
    c.ConfigurableHTTPProxy.should_start = not apart
    c.ConfigurableHTTPProxy.api_url = site.proxy.api
    c.ConfigurableHTTPProxy.auth_token = state_directory.ensure_secret(folder / "proxy_token")
    c.ConfigurableHTTPProxy.command = find_proxy_command(site)
    c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")


def find_proxy_command(site: Site) -> list[str]:
    """The proxy's program and its arguments. The program is a path if it is on PATH or next to our Python."""
    name, *rest = site.proxy.command
    if site.hub.internal_tls:
        rest.append(f"--storage-backend={PROXY_ROUTES}")
    places = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]
    return [shutil.which(name, path=os.pathsep.join(places)) or name, *rest]


def update_internal_tls(c: Any, site: Site) -> None:
    """Sets TLS with certificates between hub, proxy and servers. Jobs get theirs through the proxy."""
    if not site.hub.internal_tls:
        return
    hosts = {str(urlsplit(url).hostname) for url in (site.hub.address, site.proxy.api)}
    c.JupyterHub.internal_ssl = True
    c.WatchedProxy.checks_servers = True
    c.JupyterHub.trusted_alt_names = [f"DNS:{host}" for host in sorted(hosts)]
    port = urlsplit(site.proxy.public).port
    proxy = site.proxy.public_url or f"http://{urlsplit(site.hub.address).hostname}:{port}"
    c.SlurmSpawner.starter_url = f"{proxy}{site.hub.base_url}hub/api"


def update_login(c: Any, site: Site) -> None:
    """Sets who may log in, and how."""
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


def update_pages(c: Any, site: Site) -> None:
    """Sets our templates, which go before JupyterHub's, and our handlers."""
    from flatirons.hub.handlers import handlers

    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.template_vars = {"flatirons_version": pages_version(), "flatirons_viewer": name_of}
    c.JupyterHub.extra_handlers = list(handlers)


def name_of(viewer: Any) -> str:
    """Who looks at a page: JupyterHub's page of a start only tells the template whose server it is."""
    return str(getattr(viewer, "name", ""))


def pages_version() -> str:
    """A text that changes with the content of the pages' scripts and stylesheet."""
    content = hashlib.sha256()
    for file in sorted(PAGES_STATIC.iterdir()):
        content.update(file.read_bytes())
    return content.hexdigest()[:12]


def update_connect(c: Any, site: Site) -> None:
    """Sets what the page about connections from elsewhere offers."""
    from flatirons.hub.handlers.connect import SETTINGS_KEY, ConnectSettings

    connect = site.connect
    settings = ConnectSettings(connect.longest_token, connect.ssh_jump, connect.ssh_to_nodes)
    c.JupyterHub.tornado_settings[SETTINGS_KEY] = settings


def update_servers(c: Any, site: Site) -> None:
    """Sets how servers are started and stopped."""
    servers, spawner = site.servers, c.SlurmSpawner
    c.Spawner.default_url = servers.default_url
    spawner.queue_timeout = float(servers.queue_timeout)
    spawner.node_timeout = float(servers.node_timeout)
    spawner.stop_timeout = float(servers.stop_timeout)
    spawner.port_range = list(servers.ports or ())
    spawner.check_address = servers.check_address
    spawner.python = servers.python
    spawner.prologue = servers.prologue
    spawner.parallel = site.parallel.settings()


def update_spawner(c: Any, site: Site) -> None:
    """Sets that servers are Slurm jobs, on which clusters, in which environments, and as whom."""
    from flatirons.hub.start import SlurmSpawner

    c.JupyterHub.spawner_class = SlurmSpawner
    c.SlurmSpawner.clusters = {
        name: cluster.model_dump(exclude={"title"}, exclude_defaults=True)
        for name, cluster in site.clusters.items()
    }
    c.SlurmSpawner.environments = site.environment_settings()
    c.SlurmSpawner.run_as = site.hub.run_as
    c.SlurmSpawner.ssh_host = site.hub.ssh_host
    c.SlurmSpawner.own_fields = site.form.site_fields()


def update_form(c: Any, site: Site) -> None:
    """Sets the options form, which also checks the options of links and of the REST API."""
    from flatirons.slurm_form.offers import SlurmOffers
    from flatirons.spawners.form.hooks import FormHooks
    from flatirons.spawners.form.presets import Preset, Presets
    from flatirons.spawners.slurm import SlurmSpawner

    site_presets = {
        name: Preset(preset.title or name, preset.options, preset.description)
        for name, preset in site.presets.items()
    }
    presets = Presets(site_presets, Path(site.hub.state_dir) / "presets")

    def offers(spawner: SlurmSpawner, fresh: bool) -> Awaitable[SlurmOffers]:
        return spawner.facts(fresh)

    FormHooks(options_form(site), offers, presets=presets, estimates=True).attach(c.SlurmSpawner)


def add_announcements(c: Any, site: Site) -> None:
    """Adds operators' announcements to the variables of pages, also to those that `extra_config` has set."""
    Announcements(Path(site.hub.state_dir) / "announcements.json").attach(c)


def run_extra_config(c: Any, site: Site) -> None:
    """Runs the operator's own Python file, if there is one. Raises what `compile_extra_config` raises."""
    code = compile_extra_config(site)
    if code is not None:
        names = {"__file__": site.hub.extra_config, "c": c, "get_config": lambda: c, "site": site}
        exec(code, names)


def compile_extra_config(site: Site) -> CodeType | None:
    """The code of the operator's own Python file, None without one. Raises SiteError if it isn't Python."""
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
