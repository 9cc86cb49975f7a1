"""Waits for conditions instead of a number of seconds. The limits only end a wait that would not succeed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LIMIT_S = 60.0


def eventually(
    condition: Callable[[], Any], seconds: float = LIMIT_S, every: float = 0.25, what: str = ""
) -> Any:
    """What `condition` returns once that is true; fails after `seconds`, and says `what` did not happen.

    Most conditions start a process in a node, so looking `every` tenth of a second would fill a core.
    """
    last = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < last, f"not within {seconds:.0f} s: {what or condition}"
        time.sleep(every)


async def until(condition: Callable[[], Any], seconds: float = LIMIT_S) -> None:
    """Returns once `condition` returns something true; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
