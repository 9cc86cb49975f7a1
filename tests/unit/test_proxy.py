"""A proxy that was restarted gets its routes back; one that is well, or away, is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.proxy import ConfigurableHTTPProxy

from flatirons.hub.proxy import WatchedProxy

HUB = "/jupyter/"


class PlayedProxy(WatchedProxy):
    """Has these routes; `compared` counts comparisons of all of them."""

    compared = 0
    routes: dict[str, Any] | Exception = {}

    async def get_all_routes(self) -> dict[str, Any]:
        if isinstance(self.routes, Exception):
            raise self.routes
        return self.routes


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> PlayedProxy:
    async def compare(self: PlayedProxy, users: Any, services: Any, routes: Any = None) -> None:
        assert (users, services) == ({"u": 1}, {"s": 2})
        self.compared += 1

    monkeypatch.setattr(ConfigurableHTTPProxy, "check_routes", compare)
    made = PlayedProxy(hub=SimpleNamespace(routespec=HUB), auth_token="t0ken", should_start=False)
    return made


@pytest.mark.parametrize(
    ("routes", "times"),
    [({HUB: {}, "/jupyter/user/alice/": {}}, 0), (TimeoutError(), 0), ({}, 1), ({"/other/": {}}, 1)],
    ids=["well", "away", "lost all", "lost the hub"],
)
async def test_only_a_proxy_that_lost_its_routes_is_given_them_again(
    proxy: PlayedProxy, routes: dict[str, Any] | Exception, times: int
) -> None:
    proxy.routes = routes
    await proxy.glance({"u": 1}, {"s": 2})
    assert proxy.compared == times


async def test_the_first_comparison_of_routes_begins_the_glances(proxy: PlayedProxy) -> None:
    for _ in range(2):
        await proxy.check_routes({"u": 1}, {"s": 2})
    assert proxy._glances is not None
    assert proxy._glances.is_running()
    proxy._glances.stop()
