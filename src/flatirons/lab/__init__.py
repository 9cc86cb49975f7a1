"""The server side of the JupyterLab panel: a Jupyter Server extension that runs as the user. No jupyterhub.

=============  ============================================================================================
extension      adds the routes to a server
handlers       the base of all routes: authenticated, bodies and errors as JSON
slurm          the user's Slurm, asked once for all tabs of a server
jobs           the queue: routes and bodies
offer          what the user may ask for in a job script
script_test    what Slurm says of a script before it is submitted
=============  ============================================================================================

The bodies are described by the JSON Schemas in schema/, from which the types of labextension/ are made.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """What Jupyter Server asks an extension for."""
    return [{"module": "flatirons.lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Called by Jupyter Server as it starts. Imports nothing heavy: every start waits for it."""
    from flatirons.lab.extension import load

    load(server)
