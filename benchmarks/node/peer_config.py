"""A peer's hub: JupyterHub as Flatirons configures it, the peer as in its README. PEER is its name."""

import json
import os
from pathlib import Path

ETC = Path("/etc/flatirons")
STATE = Path("/var/lib/peer")
PEER = os.environ["PEER"]

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.bind_url = "http://0.0.0.0:8000"
c.JupyterHub.hub_bind_url = c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.JupyterHub.cleanup_servers = False
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.command = ["/opt/peers/bin/configurable-http-proxy"]
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")
exec((ETC / "demo_config.py").read_text())  # the service whose token the benchmark uses

if PEER == "batchspawner":
    import batchspawner  # noqa: F401  adds its handler

    c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
    c.BatchSpawnerBase.batchspawner_singleuser_cmd = "/etc/flatirons/bin/stub"
else:
    import jupyterhub_moss

    jupyterhub_moss.set_config(c)
    environments = {"stub": {"description": "Stub", "path": "/etc/flatirons/bin"}}
    c.MOSlurmSpawner.partitions = {"shas": {"jupyter_environments": environments}}
exec((ETC / "common_config.py").read_text())
settings = json.loads(os.environ.get("PEER_SETTINGS", "{}"))
for trait, value in settings.items():
    setattr(c.BatchSpawnerBase, trait, value)
