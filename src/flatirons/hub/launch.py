"""Turns this process into the hub, or the proxy, of a site."""

from __future__ import annotations

import gc
import importlib.util
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flatirons.errors import CommandMissing, FlatironsError, SiteError
from flatirons.hub import state_directory
from flatirons.hub.configure import compile_extra_config, find_proxy_command
from flatirons.job.script import quote
from flatirons.site.path import VARIABLE
from flatirons.site.schema import HubSection, Site

CONFIG_FILE = Path(__file__).with_name("jupyterhub_config.py")

SWITCH_SECONDS = 0.0005
"""How long a thread that reads a long answer of Slurm may keep the interpreter from the event loop.

Each request gives the interpreter away several times, at its queries of the database and when it writes. With
Python's own 5 ms, each time cost 5 ms while 2,000 nodes were read.
"""


def run_hub(site: Site, site_file: str, arguments: Sequence[str]) -> None:
    """Runs JupyterHub in this process until it ends; `arguments` are JupyterHub's own.

    JupyterHub reads the site through a configuration file that is part of the package. So its subcommands
    (`token`, `upgrade-db`) and `--show-config` see the same configuration, and no file is generated.
    Raises FlatironsError, before anything is written, when the hub can't run here.
    """
    require_jupyterhub("The hub")
    require_account(site.hub, "hub", site_file)
    folder = state_directory.prepare(site.hub.state_dir)
    compile_extra_config(site)  # a mistake is a sentence here, and a traceback once JupyterHub reads the file
    from jupyterhub.app import JupyterHub

    # Imported modules are never freed. Without this the garbage collector would look at them each time that
    # many objects are made, for example when a long queue is read, and block the event loop for 0.1 s.
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    os.environ[VARIABLE] = str(Path(site_file).absolute())
    if site.hub.internal_tls:
        from flatirons.hub.certificates import make_proxy_options

        make_proxy_options(folder, CONFIG_FILE)
    JupyterHub.launch_instance([*arguments, "--config", str(CONFIG_FILE)])


def run_proxy(site: Site, site_file: str) -> None:
    """Replaces this process by the site's proxy.

    Raises CommandMissing when its program isn't there, and FlatironsError, before anything is written, when
    the proxy can't run here for another reason.
    """
    if site.hub.internal_tls:
        require_jupyterhub("With hub.internal_tls the proxy")
    require_account(site.hub, "proxy", site_file)
    folder = state_directory.prepare(site.hub.state_dir)
    token = state_directory.ensure_secret(folder / "proxy_token")
    argv = build_proxy_argv(site)
    if site.hub.internal_tls:
        from flatirons.hub.certificates import make_proxy_options

        os.environ[VARIABLE] = str(Path(site_file).absolute())
        argv += make_proxy_options(folder, CONFIG_FILE)
    try:
        os.execvpe(argv[0], argv, {**os.environ, "CONFIGPROXY_AUTH_TOKEN": token})
    except OSError as error:
        sentence = f"{argv[0]} can't be run: {error.strerror}. Install it with npm, or set proxy.command."
        raise CommandMissing(sentence, argv) from error


def require_jupyterhub(what: str) -> None:
    """Raises FlatironsError with what to install unless JupyterHub is there; `what` begins the sentence."""
    if importlib.util.find_spec("jupyterhub") is None:
        command = f"{sys.executable} -m pip install 'flatirons[hub]'"
        raise FlatironsError(f"{what} needs JupyterHub, which isn't installed here. Install it: {command}")


def require_account(hub: HubSection, command: str, site_file: str) -> None:
    """Raises SiteError if this is root and the hub's account is another one.

    Root's files in the state directory would keep the hub from starting under its own account.
    """
    if os.getuid() != 0 or hub.run_as == "root" or _is_root(hub.account):
        return
    start = ["sudo", "-u", hub.account, "flatirons", command, "--site", str(Path(site_file).absolute())]
    sentence = f"the {command} of this site runs as {hub.account!r}, not as root. "
    sentence += f"Start it with `systemctl start flatirons-{command}` or `{quote(start)}`"
    raise SiteError([("hub.account", sentence)])


def _is_root(account: str) -> bool:
    try:
        return pwd.getpwnam(account).pw_uid == 0
    except KeyError:
        return False


def build_proxy_argv(site: Site) -> list[str]:
    """The proxy's command line; its token is passed in the environment."""
    public, api = urlsplit(site.proxy.public), urlsplit(site.proxy.api)
    return [
        *find_proxy_command(site),
        f"--ip={public.hostname}",
        f"--port={public.port}",
        f"--api-ip={api.hostname}",
        f"--api-port={api.port}",
        f"--default-target={site.hub.address}",  # until the hub adds its routes, also after a restart
        f"--error-target={site.hub.address}{site.hub.base_url}hub/error",
        f"--log-level={'warn' if site.hub.log_level == 'warning' else site.hub.log_level}",
    ]
