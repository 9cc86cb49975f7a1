"""The engines of one node, in one container: `python -m flatirons.parallel.ipp.node ARGUMENT...`.

This process imports once what all engines need, and then forks the engines, which share that memory. It stays
as the nanny of all of them (ipyparallel's word for the process that looks after an engine), where ipyparallel
starts another Python for each engine: it passes signals on to single engines, and tells the controller at
once when an engine has ended.

$FLATIRONS_ENGINES holds the number of engines on each node of the step, as Slurm writes it: `4(x2),3`.
Without it this process is an engine itself, with ipyparallel's own nanny: one task of an MPI program.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell  # noqa: F401  so that no engine has to import it
from ipyparallel.engine.app import IPEngine

from flatirons.parallel.ipp.compat import EngineNanny, HookedEngine
from flatirons.parallel.ipp.engine_registry import SEPARATOR
from flatirons.parallel.ipp.engines import PER_NODE, parse_counts

MESSAGE_BYTES = 1 << 16  # an engine's request for a nanny takes less than two thousand


def pick_cores(cores: Sequence[int], number: int, count: int, allocated: int) -> list[int]:
    """The cores of engine `number` of `count`; [] when this step isn't bound to the `allocated` cores.

    Slurm binds a task to its cores, and there is only one task here. Where Slurm doesn't bind tasks, all
    cores of the node are visible, also those of other jobs, and nothing says which belong to this job.
    """
    each = len(cores) // count
    if len(cores) != allocated or not each:
        return []
    return list(cores[number * each : (number + 1) * each])


class ForkedEngine(HookedEngine):
    """An engine whose nanny is in the process that it was forked from."""

    to_parent: socket.socket

    def request_nanny(self, arguments: dict[str, Any]) -> tuple[str, socket.socket]:
        """The URL of the nanny that the parent process starts for this engine."""
        self.to_parent.send(pickle.dumps(arguments))
        url = self.to_parent.recv(MESSAGE_BYTES).decode().strip()
        if not url:
            raise RuntimeError("The parent process of this node's engines has ended.")
        return url, self.to_parent


class NodeEngines:
    """All engines of a node, from the fork to the end of the last."""

    def __init__(self) -> None:
        self.engines: dict[int, socket.socket] = {}  # process id -> our end of the connection to that engine
        self.nannies: dict[int, EngineNanny] = {}
        self.exit_code = 0

    def fork(self, count: int) -> socket.socket | None:
        """Forks engines. Returns None in this process, and in each engine its connection to this process."""
        gc.freeze()  # memory that the garbage collector doesn't touch stays shared
        cores, allocated = sorted(os.sched_getaffinity(0)), int(os.environ.get("SLURM_CPUS_ON_NODE") or 0)
        for number in range(count):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                ours.close()
                for other in self.engines.values():
                    other.close()
                if own_cores := pick_cores(cores, number, count, allocated):
                    os.sched_setaffinity(0, own_cores)
                return theirs
            theirs.close()
            self.engines[pid] = ours
        return None

    async def serve(self) -> int:
        """Serves the engines until the last has ended. Returns the highest of their exit codes."""
        loop = asyncio.get_running_loop()
        self.all_ended = loop.create_future()
        for pid, connection in self.engines.items():
            loop.add_reader(connection, self._start_nanny, pid)
        if not self.engines:
            return 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Slurm sends it to the engines as well, who need it
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._forward, number)
        threading.Thread(target=self._wait, args=[loop, len(self.engines)], daemon=True).start()
        await self.all_ended
        return self.exit_code

    def _start_nanny(self, pid: int) -> None:
        connection = self.engines[pid]
        loop = asyncio.get_running_loop()
        loop.remove_reader(connection)
        if request := connection.recv(MESSAGE_BYTES):
            pipe = connection.makefile("w")
            pipe.reconfigure(line_buffering=True)
            self.nannies[pid] = EngineNanny(pickle.loads(request), pipe)
            self.starting = loop.create_task(self.nannies[pid].start())

    def _wait(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        for _ in range(count):
            pid, status = os.wait()
            loop.call_soon_threadsafe(self._engine_ended, pid, os.waitstatus_to_exitcode(status))

    def _engine_ended(self, pid: int, code: int) -> None:
        self.exit_code = max(self.exit_code, code if code >= 0 else 128 - code)
        self.engines.pop(pid).close()
        if nanny := self.nannies.pop(pid, None):
            print(f"Engine {nanny.engine_id} (process {pid}) has ended: {_describe(code)}.", file=sys.stderr)
            nanny.finish()
        if not self.engines:
            self.all_ended.set_result(None)

    def _forward(self, number: int) -> None:
        for pid in self.engines:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _describe(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def choose_pmix_security(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that MPI needs in a container: Slurm may offer munge, which the image doesn't support."""
    offered = environ.get("PMIX_SECURITY_MODE", "").split(",")
    return {"PMIX_SECURITY_MODE": "native"} if "native" in offered else {}


def make_name(environ: Mapping[str, str]) -> str:
    """A new engine's name for the controller; it ends with the node's name (ipp.engine_registry)."""
    return f"{uuid.uuid4().hex}{SEPARATOR}{environ.get('SLURMD_NODENAME') or socket.gethostname()}"


def run_engine(kind: type[IPEngine], arguments: Sequence[str]) -> None:
    """Runs an engine in this process, to its end."""
    app = kind.instance()
    app.initialize([f"--Session.session={make_name(os.environ)}", *arguments])
    app.start()


def main(arguments: Sequence[str]) -> int:
    """Runs the engines of this node, or in a fork one of them. Returns the exit code."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, most)
    )  # as in the notebook: core files fill a home directory
    per_node = os.environ.pop(PER_NODE, "")
    if not per_node:
        os.environ.update(choose_pmix_security(os.environ))
        run_engine(IPEngine, arguments)
        return 0
    node = NodeEngines()
    to_parent = node.fork(parse_counts(per_node)[int(os.environ.get("SLURM_NODEID") or 0)])
    if to_parent is None:
        return asyncio.run(node.serve())
    ForkedEngine.to_parent = to_parent
    run_engine(ForkedEngine, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
