"""Looks after the nodes of a running job: Slurm gives a silent one up after minutes only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from flatirons.parallel.ipp.engine_registry import is_silent

PERIOD = 10.0  # seconds between two rounds


class Vigil:
    """Calls `tell` with each node that answered and is silent in two rounds, once, in a thread of its own.

    Of a node that never answered nothing is known: the site may keep its port closed.
    """

    def __init__(self, nodes: Iterable[str], tell: Callable[[str], None]) -> None:
        self._silent = dict.fromkeys(nodes, 0)
        self._heard: set[str] = set()
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="nodes of Spark", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """No more looks; one that runs tells nothing any more."""
        self._stop.set()

    def join(self, deadline: float | None = None) -> bool:
        """Whether it has ended, within `deadline` seconds."""
        self._thread.join(deadline)
        return not self._thread.is_alive()

    def _keep(self) -> None:
        while self._silent and not self._stop.wait(PERIOD):
            for node in list(self._silent):
                if not is_silent(node):
                    self._heard.add(node)
                    self._silent[node] = 0
                elif node in self._heard:
                    self._silent[node] += 1
                if self._silent[node] == 2 and not self._stop.is_set():
                    del self._silent[node]
                    self._tell(node)
