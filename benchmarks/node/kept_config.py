"""The least that also stores the job's id and keeps the server's environment out of the job script.

It makes one database commit and takes one call more than least_config.py, which is read before it. It checks
nothing. The rest of what Flatirons takes is Flatirons' own cost.
"""

import asyncio
import subprocess

ASK_THEN_LISTEN = """#!/usr/bin/python3 -IS
import os, socket
with socket.create_connection(("hub", 8081)) as hub:
    hub.sendall(b"POST /hub/api/NAME/boot HTTP/1.1\\r\\nHost: hub\\r\\nConnection: close\\r\\n")
    hub.sendall(b"Content-Length: 0\\r\\n\\r\\n")
    while hub.recv(65536):
        pass
os.environ.update(JUPYTERHUB_API_URL="http://hub:8081/hub/api/NAME", JUPYTERHUB_API_TOKEN="none")
os.execv("/etc/flatirons/bin/stub", ["stub"])
"""
STARTING: dict[str, "KeptSpawner"] = {}


class BootHandler(LeastHandler):  # type: ignore[name-defined]  # noqa: F821
    """Returns the environment to any caller, once the job's id is stored."""

    async def post(self, name: str) -> None:
        """The server's environment."""
        spawner = STARTING.pop(name)
        await spawner.known.wait()
        self.finish({"environment": spawner.get_env()})


class KeptSpawner(LeastSpawner):  # type: ignore[name-defined]  # noqa: F821
    """Submits one job, stores its id and waits for its two calls."""

    def get_state(self) -> dict[str, str]:
        """The job's id."""
        return {**super().get_state(), "job_id": getattr(self, "job_id", "")}

    async def start(self) -> str:
        """Returns the URL of the server once the job has called."""
        STARTING[self.user.name], self.known = self, asyncio.Event()
        up = UP[self.user.name] = asyncio.get_running_loop().create_future()  # type: ignore[name-defined]  # noqa: F821
        argv = ["sudo", "-n", "-u", self.user.name, *SBATCH]  # type: ignore[name-defined]  # noqa: F821
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        sbatch = await asyncio.create_subprocess_exec(*argv, **pipes)
        out, _ = await sbatch.communicate(ASK_THEN_LISTEN.replace("NAME", self.user.name).encode())
        self.job_id = out.decode().strip()
        self.orm_spawner.state = self.get_state()
        self.db.commit()
        self.known.set()
        return await up


c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.spawner_class = KeptSpawner
c.JupyterHub.extra_handlers = [*c.JupyterHub.extra_handlers, ("/api/([a-z0-9]+)/boot", BootHandler)]
