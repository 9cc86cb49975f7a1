"""The least that starts a server as a Slurm job: one sbatch, one call of the job, nothing kept or checked.

No spawner that submits as the user and is told when the server listens can do with less, so what this one
takes can't be had by any. It isn't fit for use: it holds no state and believes whoever calls.
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
    """Takes the port that the stub of a job posts; the host is whoever posts it."""

    def check_xsrf_cookie(self) -> None:
        """A job has no cookies."""

    def post(self, name: str) -> None:
        """The server of that person listens."""
        UP.pop(name).set_result(f"http://{self.request.remote_ip}:{json.loads(self.request.body)['port']}")
        self.set_status(201)


class LeastSpawner(Spawner):
    """Submits one job and waits for its call."""

    async def start(self) -> str:
        """Returns where the job said that its server listens."""
        up = UP[self.user.name] = asyncio.get_running_loop().create_future()
        argv = ["sudo", "-n", "-u", self.user.name, *SBATCH]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        sbatch = await asyncio.create_subprocess_exec(*argv, **pipes)
        await sbatch.communicate(JOB.format(name=self.user.name).encode())
        return await up

    async def poll(self) -> None:
        """It lives."""

    async def stop(self, now: bool = False) -> None:
        """The benchmark ends the jobs."""


c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.spawner_class = LeastSpawner
c.JupyterHub.extra_handlers = [("/api/([a-z0-9]+)/batchspawner", LeastHandler)]
