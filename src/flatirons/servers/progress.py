"""The events of a start, as its user sees them: each once, in the order in which they happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

Event = dict[str, Any]
"""{"progress": percent, "message": sentence, "at": seconds since 1970}, as JupyterHub's API sends it."""


def _ignore(event: Event) -> None:
    """Does nothing with an event."""


class StartProgress:
    """The events so far. It wakes everyone who waits for a change, also for one without an event."""

    def __init__(
        self, on_event: Callable[[Event], None] = _ignore, on_ring: Callable[[], None] = lambda: None
    ) -> None:
        """`on_event` is called with each event at once, `on_ring` at each change."""
        self.events: list[Event] = []
        self.waited: float | None = None  # seconds in the queue, once the job has left it
        self._on_event = on_event
        self._on_ring = on_ring
        self._changed = asyncio.Event()

    def tell(self, progress: int, message: str) -> None:
        """Adds an event, unless the last one has the same message; `progress` is in percent."""
        if not self.events or self.events[-1]["message"] != message:
            self.events.append({"progress": progress, "message": message, "at": time.time()})
            self._on_event(self.events[-1])
            self.ring()

    def ring(self) -> None:
        """Wakes everyone who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_ring()

    def changed(self) -> Coroutine[Any, Any, bool]:
        """Returns, when awaited, at the next change after this call, even if it is awaited later."""
        return self._changed.wait()

    async def follow(self) -> AsyncIterator[Event]:
        """All events from the first one on; it never ends by itself."""
        sent = 0
        while True:
            for event in self.events[sent:]:
                sent += 1
                yield event
            if sent == len(self.events):
                await self.changed()
