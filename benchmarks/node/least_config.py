"""The least that starts a server as a Slurm job: one sbatch, one call from the job, no state and no checks.

A spawner that submits as the user and learns from the job when the server listens needs at least this, so
none can be faster. It isn't fit for use: it keeps no state and trusts every caller.
"""

import asyncio
import json
import subprocess

from jupyterhub.spawner import Spawner
from tornado.web import RequestHandler

SBATCH = ["/usr/bin/sbatch", "--parsable", "--export=NIL", "--output=/dev/null", "--chdir=/tmp"]
JOB = """#!/bin/bash
export JUPYTERHUB_API_URL=http://hub:8081/hub/api/{name} JUPYTERHUB_API_TOKEN=none
exec /etc/flatirons/bin/stub
"""
UP: dict[str, "asyncio.Future[str]"] = {}


class LeastHandler(RequestHandler):
    """Takes the port that a job's stub posts; the host is the sender's address."""

    def check_xsrf_cookie(self) -> None:
        """Accepts requests without cookies, as a job sends them."""

    def post(self, name: str) -> None:
        """Marks this user's server as ready."""
        UP.pop(name).set_result(f"http://{self.request.remote_ip}:{json.loads(self.request.body)['port']}")
        self.set_status(201)


class LeastSpawner(Spawner):
    """Submits one job and waits for the job's call."""

    async def start(self) -> str:
        """Returns the URL of the server once the job has called."""
        up = UP[self.user.name] = asyncio.get_running_loop().create_future()
        argv = ["sudo", "-n", "-u", self.user.name, *SBATCH]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        sbatch = await asyncio.create_subprocess_exec(*argv, **pipes)
        await sbatch.communicate(JOB.format(name=self.user.name).encode())
        return await up

    async def poll(self) -> None:
        """The server always runs."""

    async def stop(self, now: bool = False) -> None:
        """Does nothing: the benchmark cancels the jobs."""


c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.spawner_class = LeastSpawner
c.JupyterHub.extra_handlers = [("/api/([a-z0-9]+)/batchspawner", LeastHandler)]
