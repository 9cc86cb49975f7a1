"""The proxy's routes are compared often, and the log says so when there is no proxy."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.httpclient import JupyterHubHTTPClient
from jupyterhub.proxy import ConfigurableHTTPProxy

from flatirons.hub import proxy as hubs
from flatirons.hub.proxy import WatchedProxy
from tests.waiting import LIMIT_S, until


async def test_routes_are_compared_periodically_also_after_the_proxy_did_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[Any, Any]] = []
    repeated = asyncio.Event()

    async def compare(self: WatchedProxy, users: Any, services: Any, routes: Any = None) -> None:
        compared.append((users, services))
        if len(compared) == 2:
            raise TimeoutError
        if len(compared) == 4:
            repeated.set()

    monkeypatch.setattr(ConfigurableHTTPProxy, "check_routes", compare)
    monkeypatch.setattr(hubs, "SECONDS_BETWEEN_COMPARISONS", 0.01)
    made = WatchedProxy(hub=SimpleNamespace(routespec="/"), auth_token="t0ken", should_start=False)
    await made.check_routes({}, {"s": 2})
    await asyncio.wait_for(repeated.wait(), LIMIT_S)
    assert made._comparisons
    made._comparisons.stop()
    assert compared == [({}, {"s": 2})] * len(compared)


async def test_a_proxy_that_does_not_answer_is_named_with_the_command_that_starts_it_unless_the_hub_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def named() -> list[str]:
        return [record.getMessage() for record in caplog.records if "systemctl" in record.getMessage()]

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(hubs, "SECONDS_BEFORE_REMINDER", 0.05)
    log = logging.getLogger("test-proxy")
    starts = [
        asyncio.ensure_future(
            WatchedProxy(auth_token="t0ken", should_start=by_hub, api_url=address, log=log).get_all_routes()
        )
        for by_hub in (True, False)
    ]
    await until(named)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    await JupyterHubHTTPClient.loop_instance().close()
    assert named() == [
        f"The proxy doesn't answer at {address}. If it isn't running, start it: "
        "`systemctl start flatirons-proxy` or `flatirons proxy`"
    ]


@pytest.mark.parametrize(
    "target", ["https://shas0101:4321", "https://10.0.0.1:4321", "https://[fd00::1]:4321"]
)
def test_a_route_by_the_name_of_a_certificate_is_the_same_route_for_jupyterhub(target: str) -> None:
    """Else each comparison would correct it."""
    shown, data = hubs.by_certificate(target, {"user": "alice"}, "abc.server.internal")
    assert shown == "https://abc.server.internal:4321" and data["user"] == "alice"
    assert hubs.by_host({"target": shown, "data": data})["target"] == target


@pytest.mark.parametrize(("target", "name"), [("http://n1:1", "abc.server.internal"), ("https://n1:1", "")])
def test_a_server_without_a_certificate_of_its_own_keeps_its_host(target: str, name: str) -> None:
    route = {"target": target, "data": {"user": "alice"}}
    assert hubs.by_certificate(target, {"user": "alice"}, name) == (target, {"user": "alice"})
    assert hubs.by_host(route) == route


async def test_a_proxy_that_answers_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(self: WatchedProxy) -> dict[str, Any]:
        return {"/": {}}

    monkeypatch.setattr(ConfigurableHTTPProxy, "get_all_routes", answer)
    monkeypatch.setattr(hubs, "SECONDS_BEFORE_REMINDER", 0)
    made = WatchedProxy(auth_token="t0ken", should_start=False)
    assert await made.get_all_routes() == {"/": {}}
    await asyncio.sleep(0)
    assert caplog.records == []
