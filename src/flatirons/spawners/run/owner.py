"""What a run needs from the spawner that it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable
from logging import Logger
from typing import Any, Protocol

from flatirons.servers.causes import Cause
from flatirons.servers.report import Report
from flatirons.spawners.jupyterhub.cleanup import Cleanable


class Owner(Cleanable, Protocol):
    """A spawner, as a run sees it, with the names of JupyterHub's Spawner."""

    log: Logger
    user: Any
    name: str
    job_name: str
    check_address: bool

    def save(self) -> Awaitable[None]:
        """Stores the run's attempt soon; done once it is stored."""

    async def boot(self) -> dict[str, Any]:
        """What the starter gets as answer when it boots."""

    def keep(self, report: Report) -> None:
        """Keeps a report of how the run ended, in the place of an earlier one of the same job."""

    async def withdraw(self) -> None:
        """Takes the server, which has ended, out of the proxy."""

    async def reports_stored(self) -> None:
        """Returns once the reports that were kept so far are stored, or can't be for now."""

    async def with_suggested_fix(self, cause: Cause) -> Cause:
        """The cause with a fix that the form would take."""
