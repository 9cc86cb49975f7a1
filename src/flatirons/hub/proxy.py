"""The proxy as the hub uses it: it gets its routes back within half a minute of a restart.

JupyterHub compares the proxy's routes with its servers when it also asks the proxy who was active. That is
seldom, because it costs database queries for each server. The comparison alone is cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.ioloop import PeriodicCallback

SECONDS_BETWEEN_COMPARISONS = 20
SECONDS_BEFORE_REMINDER = 1


class WatchedProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, whose routes are compared often, from the hub's first comparison on."""

    _comparisons: PeriodicCallback | None = None

    async def get_all_routes(self) -> Any:
        """The proxy's routes. If it doesn't answer soon, the log says how to start it.

        JupyterHub asks for them first when it starts. Without a proxy it would only log that it retries, and
        end with a traceback.
        """
        loop = asyncio.get_running_loop()
        reminder = loop.call_later(SECONDS_BEFORE_REMINDER, self._log_how_to_start)
        try:
            return await super().get_all_routes()
        finally:
            reminder.cancel()

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compares all routes with all servers and services, and corrects those that differ."""
        await super().check_routes(user_dict, service_dict, routes)
        if self._comparisons is None:
            compare = partial(self.compare, user_dict, service_dict)
            self._comparisons = PeriodicCallback(compare, 1000 * SECONDS_BETWEEN_COMPARISONS)
            self._comparisons.start()

    async def compare(self, user_dict: Any, service_dict: Any) -> None:
        """Calls `check_routes`, and ignores a proxy that doesn't answer: the next comparison is soon."""
        with contextlib.suppress(TimeoutError):
            await self.check_routes(user_dict, service_dict)

    def _log_how_to_start(self) -> None:
        if not self.should_start:  # else the hub starts it, and says so
            command = "`systemctl start flatirons-proxy` or `flatirons proxy`"
            self.log.error(
                "The proxy doesn't answer at %s. If it isn't running, start it: %s", self.api_url, command
            )
