"""The engines of one node, in one container: `python -m flatirons.parallel.ipp.node ARGUMENT...`.

What all engines have in common is imported once; then each is forked from here, and shares that memory with
the others. This process stays as the nanny of them all, where ipyparallel starts another Python for each: it
passes signals on to single engines, and tells the controller at once when one has ended.

$FLATIRONS_ENGINES is how many engines each node of the step has, as Slurm writes it: `4(x2),3`. Without it
this process is an engine itself, with ipyparallel's own nanny: one task of an MPI program.
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
from typing import IO, Any

from ipykernel.zmqshell import ZMQInteractiveShell  # noqa: F401  so that no engine has to import it
from ipyparallel.engine.app import IPEngine
from ipyparallel.engine.nanny import KernelNanny

from flatirons.parallel.ipp.engine_registry import MARK
from flatirons.parallel.ipp.engines import PER_NODE, counts

MESSAGE = 1 << 16  # bytes; what an engine asks its nanny for takes less than two thousand


def share(cores: Sequence[int], number: int, count: int, allocated: int) -> list[int]:
    """The cores of engine `number` of `count`; [] when this step isn't bound to those that Slurm gave it.

    Slurm binds a task to its cores, and there is but one task here. Where it doesn't bind, all cores of the
    node are seen, those of others' jobs too: then nothing is known about which are ours.
    """
    each = len(cores) // count
    if len(cores) != allocated or not each:
        return []
    return list(cores[number * each : (number + 1) * each])


class Engine(IPEngine):
    """An engine whose nanny is the process that it was forked from."""

    to_nanny: socket.socket
    is_stopping = False

    def start(self) -> None:
        """Serves until it is told to stop, which is no error."""
        try:
            super().start()
        except RuntimeError:  # of the event loop, which ipyparallel stops under its own feet
            if not self.is_stopping:
                raise

    def _signal_stop(self, sig: int, frame: Any) -> None:
        self.is_stopping = True
        super()._signal_stop(sig, frame)

    def start_nanny(self, control_url: str) -> tuple[str, socket.socket]:
        """The address at which the nanny listens for us."""
        asked = {
            "pid": os.getpid(),
            "engine_id": self.id,
            "identity": self.bident,
            "control_url": control_url,
            "registration_url": self.registration_url,
            "curve_serverkey": self.curve_serverkey,
            "curve_secretkey": self.curve_secretkey,
            "curve_publickey": self.curve_publickey,
            "config": type(self.config)(Session=self.config.Session),
        }
        self.to_nanny.send(pickle.dumps(asked))
        address = self.to_nanny.recv(MESSAGE).decode().strip()
        if not address:
            raise RuntimeError("This node's engines have lost their parent.")
        return address, self.to_nanny


class Nanny(KernelNanny):
    """The nanny of one engine, one of many in this process."""

    def wait_for_parent_thread(self) -> None:
        """The node itself waits for its engines."""

    def pipe_handler(self, fd: IO[str], events: int) -> None:
        """The engine has closed its end: whether it has ended is the node's to say."""
        self.loop.remove_handler(fd)

    def finish(self) -> None:
        """Tells the controller that the engine has ended, and lets go of what belonged to it."""
        self.notify_exit()
        self.loop.remove_handler(self.pipe)
        for stream in (self.control_stream, self.parent_stream):
            stream.close(linger=0)
        self.pipe.close()


class Node:
    """All engines of a node, from the fork to the end of the last."""

    def __init__(self) -> None:
        self.engines: dict[int, socket.socket] = {}  # by process id: our end of what an engine speaks over
        self.nannies: dict[int, Nanny] = {}
        self.worst = 0

    def fork(self, count: int) -> socket.socket | None:
        """Forks engines. None in this process; in an engine its way to the nanny."""
        gc.freeze()  # what the collector doesn't touch stays shared
        cores, allocated = sorted(os.sched_getaffinity(0)), int(os.environ.get("SLURM_CPUS_ON_NODE") or 0)
        for number in range(count):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                ours.close()
                for other in self.engines.values():
                    other.close()
                if mine := share(cores, number, count, allocated):
                    os.sched_setaffinity(0, mine)
                return theirs
            theirs.close()
            self.engines[pid] = ours
        return None

    async def serve(self) -> int:
        """Is there for the engines until the last has ended; gives the worst of their exit codes."""
        loop = asyncio.get_running_loop()
        self.all_ended = loop.create_future()
        for pid, end in self.engines.items():
            loop.add_reader(end, self._engine_asks, pid)
        if not self.engines:
            return 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the engines, which get it from Slurm
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._pass_on, number)
        threading.Thread(target=self._wait, args=[loop, len(self.engines)], daemon=True).start()
        await self.all_ended
        return self.worst

    def _engine_asks(self, pid: int) -> None:
        end = self.engines[pid]
        loop = asyncio.get_running_loop()
        loop.remove_reader(end)
        if asked := end.recv(MESSAGE):
            pipe = end.makefile("w")
            pipe.reconfigure(line_buffering=True)
            self.nannies[pid] = Nanny(**pickle.loads(asked), pipe=pipe)
            self.starting = loop.create_task(self.nannies[pid].start())

    def _wait(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        for _ in range(count):
            pid, status = os.wait()
            loop.call_soon_threadsafe(self._ended, pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        self.worst = max(self.worst, code if code >= 0 else 128 - code)
        self.engines.pop(pid).close()
        if nanny := self.nannies.pop(pid, None):
            print(f"Engine {nanny.engine_id} (process {pid}) has ended: {_told(code)}.", file=sys.stderr)
            nanny.finish()
        if not self.engines:
            self.all_ended.set_result(None)

    def _pass_on(self, number: int) -> None:
        for pid in self.engines:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _told(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def speak_to_slurm(environ: Mapping[str, str]) -> dict[str, str]:
    """What MPI must be told in a container: Slurm may offer munge, for which the image has no plugin."""
    offered = environ.get("PMIX_SECURITY_MODE", "").split(",")
    return {"PMIX_SECURITY_MODE": "native"} if "native" in offered else {}


def name(environ: Mapping[str, str]) -> str:
    """An engine's own name for the controller, which ends with that of its node (parallel.roll)."""
    return f"{uuid.uuid4().hex}{MARK}{environ.get('SLURMD_NODENAME') or socket.gethostname()}"


def run_engine(kind: type[IPEngine], arguments: Sequence[str]) -> None:
    """Is an engine, to its end."""
    app = kind.instance()
    app.initialize([f"--Session.session={name(os.environ)}", *arguments])
    app.start()


def main(arguments: Sequence[str]) -> int:
    """Is a node, or one of the engines that are forked from it; gives the exit code."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # as the notebook has it: cores fill a home
    per_node = os.environ.pop(PER_NODE, "")
    if not per_node:
        os.environ.update(speak_to_slurm(os.environ))
        run_engine(IPEngine, arguments)
        return 0
    node = Node()
    to_nanny = node.fork(counts(per_node)[int(os.environ.get("SLURM_NODEID") or 0)])
    if to_nanny is None:
        return asyncio.run(node.serve())
    Engine.to_nanny = to_nanny
    run_engine(Engine, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
