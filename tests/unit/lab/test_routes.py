"""Every route of the panel demands the server's authentication and its protection against XSRF."""

from __future__ import annotations

import httpx
import pytest

from flatirons.lab.handlers import PanelHandler
from tests.unit.lab.panel import Panel

EXAMPLES = {"jobs": ("GET",), "offer": ("GET",), "test": ("POST",)}
"""Each path below flatirons/, as an example without its variable parts, and the verbs that it answers."""


async def test_the_list_of_routes_is_complete(panel: Panel) -> None:
    assert len(panel.routes) == len(EXAMPLES)
    assert all(issubclass(handler, PanelHandler) for _, handler in panel.routes)


@pytest.mark.parametrize("path", EXAMPLES)
@pytest.mark.parametrize("token", ["", "token-of-bob"])
async def test_a_stranger_gets_nothing(panel: Panel, path: str, token: str) -> None:
    for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        answer = await panel.call(path, {} if verb != "GET" else None, token=token, method=verb)
        assert answer.status_code == (403 if verb in EXAMPLES[path] else answer.status_code)
        assert answer.status_code in (403, 405)


@pytest.mark.parametrize("path", [path for path, verbs in EXAMPLES.items() if set(verbs) - {"GET"}])
async def test_a_page_of_somebody_else_can_change_nothing(panel: Panel, path: str) -> None:
    """A browser sends the log-in cookie along with a form on another page, but not the XSRF token."""
    async with httpx.AsyncClient(trust_env=False) as client:
        logged_in = await client.get(f"{panel.url}login?token=token-of-alice")
        assert logged_in.cookies or client.cookies
        answer = await client.post(f"{panel.url}flatirons/{path}", content="{}")
    assert answer.status_code == 403
