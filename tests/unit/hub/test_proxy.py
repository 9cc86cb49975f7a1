"""The proxy's routes are compared often, whether it is there or not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.proxy import ConfigurableHTTPProxy

from flatirons.hub import proxy as hubs
from flatirons.hub.proxy import WatchedProxy


async def test_routes_are_compared_again_and_again_also_after_the_proxy_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, Any]] = []
    often = asyncio.Event()

    async def compare(self: WatchedProxy, users: Any, services: Any, routes: Any = None) -> None:
        asked.append((users, services))
        if len(asked) == 2:
            raise TimeoutError
        if len(asked) == 4:
            often.set()

    monkeypatch.setattr(ConfigurableHTTPProxy, "check_routes", compare)
    monkeypatch.setattr(hubs, "SECONDS_BETWEEN_COMPARISONS", 0.01)
    made = WatchedProxy(hub=SimpleNamespace(routespec="/"), auth_token="t0ken", should_start=False)
    await made.check_routes({"u": 1}, {"s": 2})
    await asyncio.wait_for(often.wait(), 5)
    assert made._comparisons
    made._comparisons.stop()
    assert asked == [({"u": 1}, {"s": 2})] * len(asked)
