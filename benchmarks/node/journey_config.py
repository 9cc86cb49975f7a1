"""A peer's hub for `journey`: the peer as in its README, with a form. PEER is its name, IMAGE a file.

The peers' wrapper of the server, batchspawner-singleuser, is bound into the container.
"""

import os
from pathlib import Path

import batchspawner  # adds its handler

IMAGE = os.environ["IMAGE"]
STATE = Path("/var/lib/peer")
PARTITION, RUNTIME, MEMORY = "shas", "1:00:00", "1500M"
BINDS = (
    *("/run/munge", "/etc/slurm:/etc/slurm:ro", "/etc/passwd:/etc/passwd:ro", "/etc/group:/etc/group:ro"),
    f"{Path(batchspawner.__file__).parent}:/opt/batchspawner/batchspawner",
    "/opt/batchspawner-singleuser:/usr/local/bin/batchspawner-singleuser",
)
EXEC = ["/usr/bin/apptainer", "-s", "exec", *(word for bind in BINDS for word in ("--bind", bind))]
FORM = (
    '<label for="partition">Partition</label> <select id="partition" name="partition"><option>shas</select>'
)

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.bind_url = "http://0.0.0.0:8000"
c.JupyterHub.hub_bind_url = c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Spawner.default_url = "/lab"
c.ConfigurableHTTPProxy.command = ["/opt/peers/bin/configurable-http-proxy"]
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")
exec(Path("/etc/flatirons/hub_config.py").read_text())  # the service whose token the benchmark uses

if os.environ["PEER"] == "batchspawner":
    c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
    c.SlurmSpawner.options_form = FORM
    c.SlurmSpawner.options_from_form = lambda data: {"partition": data["partition"][0]}
    c.SlurmSpawner.req_partition, c.SlurmSpawner.req_runtime = PARTITION, RUNTIME
    c.SlurmSpawner.req_memory = MEMORY
    c.SlurmSpawner.batchspawner_singleuser_cmd = " ".join([*EXEC, IMAGE, "batchspawner-singleuser"])
else:
    import jupyterhub_moss

    jupyterhub_moss.set_config(c)
    environments = {"python": {"description": "Python", "path": IMAGE, "add_to_path": False}}
    c.MOSlurmSpawner.partitions = {PARTITION: {"jupyter_environments": environments}}
    c.MOSlurmSpawner.singularity_cmd = EXEC
