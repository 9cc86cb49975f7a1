"""The certificates of the proxy, as the installed JupyterHub makes and names them."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from flatirons.spawners.jupyterhub import compat


def test_the_proxys_certificates_are_made_and_named(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    folder = str(tmp_path / "certificates")
    config.write_text(f"c.JupyterHub.update(internal_ssl=True, internal_certs_location={folder!r})\n")
    sides = asyncio.run(compat.proxy_certificates(config))
    assert set(sides) == {"api", "client"}
    for files in sides.values():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["certfile"], files["keyfile"])
        context.load_verify_locations(files["cafile"])
