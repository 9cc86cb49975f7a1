"""ipyparallel's controller, with whose end the engines end too: `python -m flatirons.parallel.controller`.

It is a process of the notebook's job, and at that job's end Slurm sends every process a SIGTERM. The
notebook's kernel dies of it without a word; the controller has just enough time to cancel the engines' jobs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from ipyparallel.controller.app import IPController
from tornado.ioloop import IOLoop

from flatirons.errors import SlurmError
from flatirons.parallel.own import OWNER, slurm_of


class Controller(IPController):
    """A controller that ends when its owner does, and cancels the engines when it ends itself."""

    def init_hub(self) -> None:
        """Sets up the hub; an engine counts as there when its heart was heard, so that beats each second."""
        hearts = self.config.HeartMonitor
        if "period" not in hearts:
            hearts.period = 1000  # milliseconds; ipyparallel's default is 3000
            hearts.setdefault("max_heartmonitor_misses", 30)
        super().init_hub()

    def start(self) -> None:
        """Serves until a signal, a client or the owner's end makes it stop."""
        self._end_with_owner(os.environ.get(OWNER, ""))
        try:
            super().start()
        finally:
            cluster = f"cluster-{self.cluster_id}.json"
            asyncio.run(cancel(jobs_of(Path(self.profile_dir.security_dir, cluster))))

    def _end_with_owner(self, owner: str) -> None:
        if not owner:
            return
        try:
            watched = os.pidfd_open(int(owner))
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGTERM)
        except OSError:
            self.log.warning("This kernel can't watch a process: the controller may outlive its notebook.")
        else:
            self.loop.add_handler(watched, lambda *_: self.handle_signal(signal.SIGTERM, None), IOLoop.READ)


def jobs_of(cluster_file: Path) -> list[int]:
    """The jobs of a cluster's engines as its file tells them; none when there is no such file any more."""
    try:
        sets = json.loads(cluster_file.read_text())["engines"]["sets"]
        return [job for job in (state.get("job_id", 0) for state in sets.values()) if job]
    except (OSError, ValueError, KeyError, TypeError):
        return []


async def cancel(job_ids: list[int]) -> None:
    """Cancels the jobs as far as Slurm answers; the engines end by themselves a little later."""
    slurm = slurm_of(os.environ)
    for job_id in job_ids:
        try:
            await slurm.cancel(job_id, user=None)
        except SlurmError as error:
            print(f"The engines (job {job_id}) can't be cancelled: {error.user}", flush=True)


if __name__ == "__main__":
    Controller.launch_instance()
