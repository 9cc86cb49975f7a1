"""Which engines a cluster has on which node, and which nodes it has lost, long before Slurm knows.

The controller gives up an engine after half a minute (ipp.controller) and tells all clients. The names by
which it knows engines end with the name of their node (ipp.node). When the last engine of a node has gone,
the registry probes that node: if it still answers, the engines ended for another reason.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from flatirons.parallel import messages
from flatirons.parallel.ipp import compat
from flatirons.parallel.node_health import falls_silent

SEPARATOR = "@"
"""The text between an engine's own name and the name of its node."""


class EngineRegistry:
    """The engines of a cluster by their nodes.

    `on_lost` is called once for each lost node, in a thread, with the node's name, how many engines went with
    it and how many are left. Any number of clients may report the same engines.
    """

    def __init__(self, on_lost: Callable[[str, int, int], None]) -> None:
        self._on_lost = on_lost
        self._nodes: dict[str, str] = {}
        self._gone: Counter[str] = Counter()
        self._reported: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, cluster: Any) -> EngineRegistry:
        """The registry of an ipyparallel cluster: it listens to the cluster's clients and logs lost nodes."""
        registry: EngineRegistry | None = vars(cluster).get("engine_registry")
        if registry is None:
            registry = cls(lambda *lost: cluster.log.warning(messages.engines_lost(*lost)))
            cluster.engine_registry = registry
            compat.call_with_clients(cluster, registry.listen_to)
        return registry

    def listen_to(self, client: Any) -> None:
        """Follows what a client of the cluster learns about engines."""
        compat.on_engine_event(client, self.note)
        for name in compat.engine_names(client):
            self.note({"event": "register", "uuid": name})

    def note(self, event: dict[str, Any]) -> None:
        """Records that an engine came or went."""
        name = str(event.get("uuid", ""))
        node = name.rpartition(SEPARATOR)[2] if SEPARATOR in name else ""
        if not node:
            return
        with self._lock:
            if event["event"] == "register":
                self._nodes[name] = node
                self._reported.discard(node)
            elif self._nodes.pop(name, ""):
                self._gone[node] += 1
                if node not in self._nodes.values():
                    self._probe(node, self._gone.pop(node))

    def claim_report(self, node: str) -> bool:
        """Whether the caller is the first to report the node as lost."""
        with self._lock:
            is_first = node not in self._reported
            self._reported.add(node)
            return is_first

    def _probe(self, node: str, gone: int) -> None:
        def probe() -> None:
            if falls_silent(node) and self.claim_report(node):
                with self._lock:
                    left = len(self._nodes)
                self._on_lost(node, gone, left)

        threading.Thread(target=probe, name=f"probe of {node}", daemon=True).start()
