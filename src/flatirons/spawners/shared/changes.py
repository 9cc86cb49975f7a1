"""Wakes the pages that show a user's servers when something about one of them has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Changes:
    """One event for each user whose servers somebody looks at."""

    def __init__(self) -> None:
        self._waited_for: dict[str, asyncio.Event] = {}

    def ring(self, user: str) -> None:
        """Something about a server of this user has changed, or may have."""
        if event := self._waited_for.pop(user, None):
            event.set()

    def next(self, user: str) -> Coroutine[Any, Any, bool]:
        """Returns, when awaited, at the next change after this call, even if it is awaited later."""
        return self._waited_for.setdefault(user, asyncio.Event()).wait()
