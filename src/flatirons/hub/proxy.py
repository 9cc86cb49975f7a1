"""The proxy as the hub sees it: one that was restarted gets its routes back within half a minute.

JupyterHub compares the proxy's routes with its servers while it notes from them who was active: seldom, since
that takes some queries of the database for each server. The comparison alone costs little.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.ioloop import PeriodicCallback

SECONDS_BETWEEN_COMPARISONS = 20


class WatchedProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, whose routes are compared often, from the hub's first comparison on."""

    _comparisons: PeriodicCallback | None = None

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compares all routes with all servers and services, and mends what differs."""
        await super().check_routes(user_dict, service_dict, routes)
        if self._comparisons is None:
            compare = partial(self.compare, user_dict, service_dict)
            self._comparisons = PeriodicCallback(compare, 1000 * SECONDS_BETWEEN_COMPARISONS)
            self._comparisons.start()

    async def compare(self, user_dict: Any, service_dict: Any) -> None:
        """The same, from time to time; a proxy that is away is compared later."""
        with contextlib.suppress(TimeoutError):
            await self.check_routes(user_dict, service_dict)
