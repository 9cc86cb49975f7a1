"""ipyparallel's controller; the engines end with it: `python -m flatirons.parallel.ipp.controller`.

It listens on one port more, the lifeline, where it never says anything. The job of the engines keeps a
connection to it, which the operating system ends when the controller ends, however that happens. At the end
of a notebook's job Slurm signals every process, that which serves the container's files included, so nothing
may be left to run a last command with; where something is, engines that still wait are cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]
from ipyparallel.controller.app import IPController
from tornado.ioloop import IOLoop

from flatirons.errors import SlurmError
from flatirons.parallel.job_context import OWNER, slurm_of

BACKLOG = 128  # connections, one from each job of engines; none is ever accepted, the kernel keeps them


class Controller(IPController):
    """A controller that ends when its owner does, and with which its engines end."""

    lifeline: socket.socket

    def init_hub(self) -> None:
        """Sets up the hub; an engine counts as there when its heart was heard, so that beats each second."""
        hearts = self.config.HeartMonitor
        if "period" not in hearts:
            hearts.period = 1000  # milliseconds; ipyparallel's default is 3000
            hearts.setdefault("max_heartmonitor_misses", 30)
        self.lifeline = self._listen()
        super().init_hub()

    def next_port(self, pool_name: str = "common") -> int:
        """A port of the site's pools that nobody on this node uses, a random one if none is left."""
        while True:
            port: int = super().next_port(pool_name)
            with contextlib.suppress(OSError), socket.create_server((self._host(), port)):
                return port

    def _host(self) -> str:
        return "" if self.engine_ip == "*" else str(self.engine_ip)

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self._host(), self.next_port("engine")), backlog=BACKLOG)
        os.register_at_fork(after_in_child=listener.close)  # a child that lives on must not keep it open
        return listener

    def save_connection_dict(self, fname: str, cdict: dict[str, Any]) -> None:
        """Writes a connection file; that of the engines tells of the lifeline."""
        if fname == self.engine_json_file:
            cdict["lifeline"] = self.lifeline.getsockname()[1]
        super().save_connection_dict(fname, cdict)

    def start(self) -> None:
        """Serves until a signal, a client or the owner's end makes it stop."""
        self._end_with_owner(os.environ.get(OWNER, ""))
        try:
            super().start()
        finally:
            cluster = f"cluster-{self.cluster_id}.json"
            asyncio.run(cancel(jobs_of(Path(self.profile_dir.security_dir, cluster))))

    def remove_connection_files(self) -> None:
        """Removes them if they are there and weren't meant to be used again."""
        if self.profile_dir and not self.reuse_files:
            for name in (self.client_json_file, self.engine_json_file):
                Path(self.profile_dir.security_dir, name).unlink(missing_ok=True)

    def _end_with_owner(self, owner: str) -> None:
        if not owner:
            return
        try:
            watched = os.pidfd_open(int(owner))
        except ProcessLookupError:
            sys.exit(1)
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
    """Cancels the jobs as far as Slurm answers."""
    slurm = slurm_of(os.environ)
    for job_id in job_ids:
        try:
            await slurm.cancel(job_id, user=None)
        except SlurmError as error:
            print(f"The engines (job {job_id}) can't be cancelled: {error.detail or error}", flush=True)


def end(controller: Controller, status: int) -> NoReturn:
    """Ends at once, with every child and without the connection files, wherever the controller had got to.

    An ordinary exit joins the children and waits for the sockets, and may wait for ever when a signal came
    while it was being set up.
    """
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=1)
    controller.remove_connection_files()
    logging.shutdown()
    os._exit(status)


def main() -> None:
    """Runs a controller to its end."""
    controller = Controller.instance()
    # until ipyparallel handles it, and not in the children
    signal.signal(signal.SIGTERM, lambda number, _: end(controller, 128 + number))
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    status = 1
    try:
        controller.initialize()
        controller.start()
        status = 0
    except SystemExit as wanted:
        status = int(wanted.code or 0)
    except Exception:
        controller.log.exception("The controller failed.")
    end(controller, status)


if __name__ == "__main__":
    main()
