"""The peer MOSS as in its README, with its form, on the same Slurm. JupyterHub reads this on the hub node."""

import json
from pathlib import Path

import jupyterhub_moss

STATE = Path("/var/lib/moss")

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.bind_url = "http://0.0.0.0:8000"
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.command = ["/opt/peers/bin/configurable-http-proxy"]
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")

jupyterhub_moss.set_config(c)
# MOSS offers the partitions that its configuration names; it gets their sizes and free resources from Slurm.
environments = {"python": {"description": "Python", "path": "/opt/python/bin"}}
partitions = json.loads(Path(__file__).with_name("partitions.json").read_text())
c.MOSlurmSpawner.partitions = {name: {"jupyter_environments": environments} for name in partitions}
