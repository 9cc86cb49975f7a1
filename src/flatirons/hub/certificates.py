"""The certificates of internal TLS. JupyterHub makes them once, when hub or proxy starts."""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Mapping
from pathlib import Path

from flatirons.files import write_atomically
from flatirons.spawners.jupyterhub.compat import proxy_certificates


def make_proxy_options(state_dir: Path, config_file: Path) -> list[str]:
    """The proxy's options for internal TLS. The certificates that they name exist when this returns.

    `config_file` is JupyterHub's. Hub and proxy start at the same time, and the store of certificates can't
    have two writers. So the first of them takes a lock, and writes the options to a file for the other.
    """
    written = state_dir / "internal-ssl-options.json"
    with (state_dir / "internal-ssl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            options = _format_options(asyncio.run(proxy_certificates(config_file)))
            write_atomically(written, json.dumps(options))
        known: list[str] = json.loads(written.read_text())
        return known


def _format_options(certificates: Mapping[str, Mapping[str, str]]) -> list[str]:
    options = []
    for side, files in certificates.items():
        options += [f"--{side}-ssl-key={files['keyfile']}", f"--{side}-ssl-cert={files['certfile']}"]
        options += [f"--{side}-ssl-ca={files['cafile']}"]
        options += [f"--{side}-ssl-request-cert", f"--{side}-ssl-reject-unauthorized"]
    return options
