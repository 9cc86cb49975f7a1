"""Turns this process into the hub, or into the proxy, of a site."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flatirons.errors import CommandMissing
from flatirons.hub import state_directory
from flatirons.hub.certificates import proxy_options
from flatirons.hub.configure import extra_code, proxy_command
from flatirons.site.schema import Site

CONFIG_FILE = Path(__file__).with_name("jupyterhub_config.py")


def run_hub(site: Site, site_file: str, arguments: Sequence[str]) -> None:
    """Runs JupyterHub in this process until it is told to stop; `arguments` are JupyterHub's own.

    The site goes by a configuration file that is part of the package, so that JupyterHub's subcommands
    (`token`, `upgrade-db`) and its `--show-config` see the same configuration; nothing is written for that.
    """
    # what is wrong here is a sentence, and inside JupyterHub a traceback
    folder = state_directory.prepare(site.hub.state_dir)
    extra_code(site)
    from jupyterhub.app import JupyterHub

    # What is imported stays. Looking at all of it whenever many objects were made, as in reading a long
    # queue, the garbage collector would hold the event loop up for a tenth of a second.
    gc.freeze()
    os.environ["FLATIRONS_SITE"] = str(Path(site_file).absolute())
    if site.hub.internal_tls:
        proxy_options(folder, CONFIG_FILE)
    JupyterHub.launch_instance([*arguments, "--config", str(CONFIG_FILE)])


def run_proxy(site: Site, site_file: str) -> None:
    """Replaces this process by the site's proxy; raises CommandMissing when there is none."""
    folder = state_directory.prepare(site.hub.state_dir)
    token = state_directory.secret(folder / "proxy_token")
    argv = proxy_argv(site)
    if site.hub.internal_tls:
        os.environ["FLATIRONS_SITE"] = str(Path(site_file).absolute())
        argv += proxy_options(folder, CONFIG_FILE)
    try:
        os.execvpe(argv[0], argv, {**os.environ, "CONFIGPROXY_AUTH_TOKEN": token})
    except OSError as error:
        sentence = f"{argv[0]} can't be run: {error.strerror}. Install it with npm, or set proxy.command."
        raise CommandMissing(sentence, argv) from error


def proxy_argv(site: Site) -> list[str]:
    """The proxy's command line; its token goes by the environment."""
    public, api = urlsplit(site.proxy.public), urlsplit(site.proxy.api)
    return [
        *proxy_command(site),
        f"--ip={public.hostname}",
        f"--port={public.port}",
        f"--api-ip={api.hostname}",
        f"--api-port={api.port}",
        f"--default-target={site.hub.address}",  # until the hub gives it routes, and again after a restart
        f"--error-target={site.hub.address}{site.hub.base_url}hub/error",
        f"--log-level={'warn' if site.hub.log_level == 'warning' else site.hub.log_level}",
    ]
