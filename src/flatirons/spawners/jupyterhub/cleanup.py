"""Tells JupyterHub about servers that ended by themselves, and removes those that it still shows."""

from __future__ import annotations

import asyncio
import functools
import time
from logging import Logger
from typing import Any, Protocol

SECONDS_SHOWN = 15.0
"""How long JupyterHub may show a server that is over."""


class Cleanable(Protocol):
    """A spawner whose server can be cleaned up, in the words of JupyterHub's Spawner."""

    ready: bool
    pending: Any

    async def poll_and_notify(self) -> Any:
        """Tells JupyterHub that the server has ended."""

    async def clean_up(self) -> None:
        """Removes a server that JupyterHub has left half stopped."""

    def correct_address(self) -> None:
        """Tells JupyterHub where the server listens, if it has that wrong."""


class Cleanup:
    """Keeps JupyterHub from showing one server that is over."""

    def __init__(self, spawner: Cleanable, log: Logger) -> None:
        self._spawner = spawner
        self._log = log
        self._task: asyncio.Task[Any] | None = None
        self._shown_since = 0.0  # when it was first seen to be over and shown; 0 for never

    def tell(self) -> None:
        """Makes JupyterHub poll at once a server that has ended by itself.

        This needs a separate task: JupyterHub stops the server in it, which cancels the task that follows the
        job. If that were the caller, the stop would never be finished.
        """
        # Before a server is ready, a poll would notify nobody and still end JupyterHub's polling.
        if self._spawner.ready or self._spawner.pending == "stop":
            self._task = asyncio.ensure_future(self._spawner.poll_and_notify())

    def remind(self, job_id: int, *, has_ended: bool) -> None:
        """Cleans up a server that ended a while ago and is still shown.

        JupyterHub leaves a server in this state if its database fails during a stop, and no longer polls it.
        """
        now = time.monotonic()
        is_shown = self._spawner.ready or self._spawner.pending == "stop"
        if not has_ended or not is_shown:
            self._shown_since = 0.0
        elif not self._shown_since:
            self._shown_since = now
        elif now - self._shown_since >= SECONDS_SHOWN and (self._task is None or self._task.done()):
            self._log.warning("Job %s is over, but its server is still shown", job_id)
            self._task = asyncio.ensure_future(self._spawner.clean_up())
            self._task.add_done_callback(functools.partial(self._cleaned_up, job_id))

    def _cleaned_up(self, job_id: int, cleaning: asyncio.Task[Any]) -> None:
        """Logs a failure; the next reminder tries again."""
        if not cleaning.cancelled() and (error := cleaning.exception()):
            self._log.error("The server of job %s can't be cleaned up yet: %s", job_id, error)
