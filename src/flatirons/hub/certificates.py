"""The certificates of internal TLS: JupyterHub makes them, once, for whoever comes first, hub or proxy."""

from __future__ import annotations

import asyncio
import fcntl
import json
from pathlib import Path
from typing import Any

from flatirons.files import write_atomically


def proxy_options(state_dir: Path, config_file: Path) -> list[str]:
    """The proxy's options for internal TLS; the certificates that they name exist from now on.

    `config_file` is JupyterHub's. Hub and proxy start together, and the store of certificates doesn't bear
    two writers: hence the lock, and the options are written down, so that only the first comer opens it.
    """
    written = state_dir / "internal-ssl-options.json"
    with (state_dir / "internal-ssl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            options = _options(asyncio.run(_with_certificates(config_file)))
            write_atomically(written, json.dumps(options))
        known: list[str] = json.loads(written.read_text())
        return known


def _options(app: Any) -> list[str]:
    options = []
    for side, component in (("api", "proxy-api"), ("client", "proxy-client")):
        files = app.internal_proxy_certs[component]
        options += [f"--{side}-ssl-key={files['keyfile']}", f"--{side}-ssl-cert={files['certfile']}"]
        options += [f"--{side}-ssl-ca={app.internal_trust_bundles[f'{component}-ca']}"]
        options += [f"--{side}-ssl-request-cert", f"--{side}-ssl-reject-unauthorized"]
    return options


async def _with_certificates(config_file: Path) -> Any:
    """A JupyterHub that only has its certificates; making them needs a running event loop in 6.1."""
    from jupyterhub.app import JupyterHub

    app = JupyterHub()
    app.load_config_file(str(config_file))
    app.init_internal_ssl()
    return app
