"""Whether nodes still answer. Slurm itself gives up a silent node only after minutes.

slurmctld marks a node as down after SlurmdTimeout, five minutes by default. A node that lost its power or its
network is known here within seconds: nothing answers on the port of its slurmd, not even with a refusal.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable

from flatirons.parallel.background import BackgroundWork

SLURMD_PORT = 6818  # the slurmds must reach each other, so no firewall between the nodes blocks it
CONNECT_TIMEOUT = 3.0  # seconds
SHUTDOWN_TIME = 9.0  # seconds in which a node that goes down falls silent
PROBE_PAUSE = 1.0  # seconds between two probes of a node that may be going down
CHECK_PAUSE = 10.0  # seconds between two checks of all nodes
_SILENT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)


def is_silent(host: str) -> bool:
    """Whether nothing at all answers at a node; False where that can't be known.

    Takes up to CONNECT_TIMEOUT.
    """
    try:
        socket.create_connection((host, SLURMD_PORT), CONNECT_TIMEOUT).close()
    except TimeoutError:
        return True
    except OSError as error:  # a running node refuses the connection; a name may be unknown
        return error.errno in _SILENT
    return False


def falls_silent(host: str) -> bool:
    """Whether a node is silent, or becomes so while it shuts down.

    Takes up to SHUTDOWN_TIME + CONNECT_TIMEOUT.
    """
    last = time.monotonic() + SHUTDOWN_TIME
    while not is_silent(host):
        if time.monotonic() > last:
            return False
        time.sleep(PROBE_PAUSE)
    return True


class NodeHealth(BackgroundWork):
    """Calls `on_lost` once with each node that answered before and then was silent in two checks.

    It runs in a separate thread. A node that never answered is never reported as lost: a site may block the
    port.
    """

    def __init__(self, nodes: Iterable[str], on_lost: Callable[[str], None]) -> None:
        super().__init__("health of nodes")
        self._silent_checks = dict.fromkeys(nodes, 0)
        self._answered: set[str] = set()
        self._on_lost = on_lost

    def run(self) -> None:
        """Checks the nodes until all are lost."""
        while self._silent_checks and not self.wait(CHECK_PAUSE):
            for node in list(self._silent_checks):
                self._check(node)

    def _check(self, node: str) -> None:
        if not is_silent(node):
            self._answered.add(node)
            self._silent_checks[node] = 0
        elif node in self._answered:
            self._silent_checks[node] += 1
        if self._silent_checks[node] == 2 and not self.is_stopping:
            del self._silent_checks[node]
            self._on_lost(node)
