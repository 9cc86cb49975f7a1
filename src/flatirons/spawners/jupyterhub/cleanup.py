"""What is left to do when a server has ended by itself: JupyterHub learns of it, and cleans up after it."""

from __future__ import annotations

import asyncio
import functools
import time
from logging import Logger
from typing import Any, Protocol

SECONDS_SHOWN = 15.0
"""How long a server that is over may be shown until it is cleaned up."""


class Shown(Protocol):
    """A spawner as JupyterHub shows it, in the words of JupyterHub's Spawner."""

    ready: bool
    pending: Any

    async def poll_and_notify(self) -> Any:
        """Tells JupyterHub that the server has ended."""

    async def clean_up(self) -> None:
        """Stops, for JupyterHub, a server that has ended."""

    def correct_address(self) -> None:
        """Sees to it that JupyterHub knows where a server listens."""


class Cleanup:
    """Sees to it that JupyterHub doesn't go on to show a server that is over."""

    def __init__(self, spawner: Shown, log: Logger) -> None:
        self._spawner = spawner
        self._log = log
        self._task: asyncio.Task[Any] | None = None
        self._shown_since = 0.0  # since when it has been over, and shown nevertheless

    def tell(self) -> None:
        """A server that was up has ended by itself: JupyterHub needn't wait for its next poll to notice.

        In a task of its own: JupyterHub stops the server in it, which ends the run's attendant, and so would
        itself be ended half-way, with a server that is being stopped for ever.
        """
        # before a server is ready nobody is notified, and yet JupyterHub would poll no more
        if self._spawner.ready:
            self._task = asyncio.ensure_future(self._spawner.poll_and_notify())

    def remind(self, job_id: int, *, is_over: bool) -> None:
        """Has a server cleaned up that is over for long, and still shown.

        JupyterHub left it so when its database failed in the middle of a stop, and asks no more.
        """
        now = time.monotonic()
        is_shown = self._spawner.ready or self._spawner.pending == "stop"
        if not is_over or not is_shown:
            self._shown_since = 0.0
        elif not self._shown_since:
            self._shown_since = now
        elif now - self._shown_since >= SECONDS_SHOWN and (self._task is None or self._task.done()):
            self._log.warning("Job %s is over, but its server is still shown", job_id)
            self._task = asyncio.ensure_future(self._spawner.clean_up())
            self._task.add_done_callback(functools.partial(self._cleaned_up, job_id))

    def _cleaned_up(self, job_id: int, cleaning: asyncio.Task[Any]) -> None:
        """What failed is tried again at the next round."""
        if not cleaning.cancelled() and (error := cleaning.exception()):
            self._log.error("The server of job %s can't be cleaned up yet: %s", job_id, error)
