"""Which engines a cluster has on which node, and that a node is lost, long before Slurm knows.

Slurm gives a node up when it was silent for SlurmdTimeout, five minutes by default; the controller gives an
engine up after half a minute (parallel.controller). It tells all clients, and the names by which it knows
engines end with their node's (parallel.node). So when a node's last engine goes, that node is asked for a
sign of life: whoever ended the engines in good order left the node as it was.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from flatirons.parallel.messages import node_lost

MARK = "@"
SLURMD_PORT = 6818  # slurmds must reach each other, so nothing between the nodes keeps us from it
PATIENCE = 3.0  # seconds
WINDOW = 9.0  # seconds in which a node that goes down falls silent
PAUSE = 1.0  # seconds between two questions
_SILENT = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)


class Roll:
    """The engines of a cluster by their nodes.

    `tell` is called for each node that is lost, in a thread of its own, with its name, how many engines went
    and how many stay. Any number of clients may tell of the same engines.
    """

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        self._tell = tell
        self._here: dict[str, str] = {}
        self._left: Counter[str] = Counter()
        self._told: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, cluster: Any) -> Roll:
        """The roll of an ipyparallel cluster, which logs what it loses, and whose clients it hears."""
        if "engine_roll" not in vars(cluster):
            roll, connect = cls(lambda *lost: cluster.log.warning(node_lost(*lost))), cluster.connect_client

            async def connect_client(**kwargs: Any) -> Any:
                client = await connect(**kwargs)
                roll.join(client)
                return client

            cluster.engine_roll, cluster.connect_client = roll, connect_client
        return cast(Roll, cluster.engine_roll)

    def join(self, client: Any) -> None:
        """Listens to what a client of the cluster hears of engines."""
        client._registration_callbacks.append(self.hear)
        for name in list(client._engines.values()):
            self.hear({"event": "register", "uuid": name})

    def hear(self, event: dict[str, Any]) -> None:
        """Takes note of an engine that came or went."""
        name = str(event.get("uuid", ""))
        host = name.rpartition(MARK)[2] if MARK in name else ""
        if not host:
            return
        with self._lock:
            if event["event"] == "register":
                self._here[name] = host
                self._told.discard(host)
            elif self._here.pop(name, ""):
                self._left[host] += 1
                if host not in self._here.values():
                    self._ask(host, self._left.pop(host))

    def is_news(self, host: str) -> bool:
        """Whether nobody has been told yet that the node is lost; from now on somebody has."""
        with self._lock:
            is_new = host not in self._told
            self._told.add(host)
            return is_new

    def _ask(self, host: str, gone: int) -> None:
        def ask() -> None:
            if falls_silent(host) and self.is_news(host):
                with self._lock:
                    stay = len(self._here)
                self._tell(host, gone, stay)

        threading.Thread(target=ask, name=f"engines of {host}", daemon=True).start()


def falls_silent(host: str) -> bool:
    """Whether a node is silent, or falls so while it goes down. Takes up to WINDOW, and a PATIENCE more."""
    last = time.monotonic() + WINDOW
    while not is_silent(host):
        if time.monotonic() > last:
            return False
        time.sleep(PAUSE)
    return True


def is_silent(host: str) -> bool:
    """Whether nothing at all answers at a node; False where that can't be told. Takes up to PATIENCE."""
    try:
        socket.create_connection((host, SLURMD_PORT), PATIENCE).close()
    except TimeoutError:
        return True
    except OSError as error:  # refused by a node that lives, or a name that nobody knows
        return error.errno in _SILENT
    return False
