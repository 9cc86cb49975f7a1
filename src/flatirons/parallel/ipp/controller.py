"""ipyparallel's controller, with which the engines end: `python -m flatirons.parallel.ipp.controller`.

It listens on one more port, the liveness port (parallel.liveness), to which the engines' job holds a
connection: the job ends when the controller ends, for whatever reason. A last command of the controller would
not be enough: at the end of a notebook's job Slurm kills all of its processes, even the one that serves the
container's files. Where the controller can still run a command, it cancels engines that wait in the queue.
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
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]
import zmq

from flatirons.errors import SlurmError
from flatirons.parallel.ipp.compat import HookedController
from flatirons.parallel.job_context import OWNER_PID, slurm_client
from flatirons.parallel.liveness import LivenessPort

ENABLE_CURVE = "IPP_ENABLE_CURVE"
"""ipyparallel's variable: the default of `IPController.enable_curve`."""


class FlatironsController(HookedController):
    """A controller that ends when its owner ends, and with which its engines end."""

    liveness: LivenessPort

    def before_hub(self) -> None:
        """Opens the liveness port. Checks engines each second: a new one counts from its first beat.

        Messages stay signed: with CURVE ipyparallel would not sign them, and then print a warning into cells.
        """
        self.config.Session.setdefault("key", self.session.key)
        hearts = self.config.HeartMonitor
        if "period" not in hearts:
            hearts.period = 1000  # milliseconds; ipyparallel's default is 3000
            hearts.setdefault("max_heartmonitor_misses", 30)
        self.liveness = LivenessPort(self._host(), self.next_port("engine"))
        self.liveness.write_key(self.liveness_key)
        self.when_serving(self.liveness.start)  # after the forks of the schedulers

    def is_free(self, port: int) -> bool:
        """Whether nobody on this node uses the port."""
        with contextlib.suppress(OSError), socket.create_server((self._host(), port)):
            return True
        return False

    def _host(self) -> str:
        return "" if self.engine_ip == "*" else str(self.engine_ip)

    def engine_connection_items(self) -> dict[str, Any]:
        """The liveness port, by which the engines' job watches this process, and the file with its key."""
        return {"liveness": self.liveness.port, "liveness_key": str(self.liveness_key)}

    @property
    def liveness_key(self) -> Path:
        """The file with the key to the liveness port, beside the connection files."""
        return self.connection_file("liveness.key")

    def remove_connection_files(self) -> None:
        """Removes the connection files, and the key to the liveness port."""
        super().remove_connection_files()
        if self.profile_dir:
            self.liveness_key.unlink(missing_ok=True)

    def start(self) -> None:
        """Serves until a signal, a client or the end of its owner stops it, then cancels its engines."""
        self._end_with_owner(os.environ.get(OWNER_PID, ""))
        try:
            super().start()
        finally:
            asyncio.run(cancel(read_job_ids(self.cluster_file())))

    def _end_with_owner(self, owner: str) -> None:
        if not owner:
            return
        try:
            descriptor = os.pidfd_open(int(owner))
        except ProcessLookupError:
            sys.exit(1)
        except OSError:
            self.log.warning("This kernel can't watch a process: the controller may outlive its notebook.")
        else:
            self.end_when_readable(descriptor)


def read_job_ids(cluster_file: Path) -> list[int]:
    """The ids of the engines' jobs in a cluster's file; none when that file is gone or can't be read."""
    try:
        sets = json.loads(cluster_file.read_text())["engines"]["sets"]
        return [job for job in (state.get("job_id", 0) for state in sets.values()) if job]
    except (OSError, ValueError, KeyError, TypeError):
        return []


async def cancel(job_ids: list[int]) -> None:
    """Cancels the jobs, if Slurm answers."""
    slurm = slurm_client(os.environ)
    for job_id in job_ids:
        try:
            await slurm.cancel(job_id, user=None)
        except SlurmError as error:
            print(f"The engines (job {job_id}) can't be cancelled: {error.detail or error}", flush=True)


def end(controller: FlatironsController, status: int) -> NoReturn:
    """Ends this process at once, with all children and without connection files left behind.

    An ordinary exit joins the children and waits for the sockets; it may wait for ever when a signal came
    while they were being set up.
    """
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=1)
    controller.remove_connection_files()
    logging.shutdown()
    os._exit(status)


def encrypt_by_default(environ: MutableMapping[str, str]) -> None:
    """Makes ipyparallel encrypt with CURVE, unless somebody set $IPP_ENABLE_CURVE or the library can't.

    Without it, everybody who can reach a node may subscribe to what engines print and compute.
    """
    if zmq.has("curve"):
        environ.setdefault(ENABLE_CURVE, "1")


def main() -> None:
    """Runs a controller to its end."""
    encrypt_by_default(os.environ)
    controller = FlatironsController.instance()
    # In this process until ipyparallel handles the signal; not in its children.
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
