"""The proxy as the hub sees it: one that was restarted gets its routes back within seconds.

JupyterHub compares all routes with all servers every few minutes; doing so often enough for a proxy that
lost them would take the hub a tenth of a core with a thousand servers. Whether the proxy still knows the way
to the hub is seen at a glance.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.ioloop import PeriodicCallback

SECONDS_BETWEEN_GLANCES = 10


class WatchedProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, glanced at from the hub's first comparison of routes on."""

    _glances: PeriodicCallback | None = None

    async def check_routes(self, user_dict: Any, service_dict: Any, routes: Any = None) -> None:
        """Compares all routes with all servers and services, as JupyterHub does."""
        await super().check_routes(user_dict, service_dict, routes)
        if self._glances is None:
            glance = partial(self.glance, user_dict, service_dict)
            self._glances = PeriodicCallback(glance, 1000 * SECONDS_BETWEEN_GLANCES)
            self._glances.start()

    async def glance(self, user_dict: Any, service_dict: Any) -> None:
        """Gives a proxy that doesn't know the hub all routes; one that is away is looked at again later."""
        try:
            routes = await self.get_all_routes()
        except TimeoutError:
            return
        if self.hub.routespec not in routes:
            self.log.warning("The proxy has lost its routes: it is given them again")
            await self.check_routes(user_dict, service_dict, routes)
