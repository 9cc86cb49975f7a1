"""Calls of the panel's routes, and the schemas of their bodies."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
import jsonschema
from jupyter_server.serverapp import ServerApp

from tests.repository import REPO

TOKEN = "token-of-alice"
SCHEMAS = REPO / "schema"


class Panel:
    """A running server with the panel's routes."""

    def __init__(self, app: ServerApp) -> None:
        self.app = app
        self.url = f"http://127.0.0.1:{app.port}{app.base_url}"

    async def call(
        self, path: str, body: Any = None, *, token: str = TOKEN, method: str = ""
    ) -> httpx.Response:
        """The answer to a request below flatirons/; with a body it is a POST."""
        headers = {"Authorization": f"token {token}"} if token else {}
        verb = method or ("GET" if body is None else "POST")
        async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
            content = None if body is None else json.dumps(body)
            return await client.request(verb, f"{self.url}flatirons/{path}", content=content)

    @property
    def routes(self) -> list[tuple[str, type]]:
        """The path and the handler of each of our routes in the server."""
        rules = [leaf for rule in self.app.web_app.default_router.rules for leaf in _leaves(rule)]
        found = {
            (rule.matcher.regex.pattern, rule.target) for rule in rules if hasattr(rule.matcher, "regex")
        }
        return sorted((each for each in found if "/flatirons/" in each[0]), key=lambda each: each[0])


def _leaves(rule: Any) -> list[Any]:
    inner = getattr(rule.target, "rules", None)
    return [rule] if inner is None else [leaf for each in inner for leaf in _leaves(each)]


@cache
def schema(name: str) -> Any:
    """The JSON Schema with this name."""
    found = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft7Validator.check_schema(found)
    return found


def assert_matches(name: str, body: Any) -> None:
    """Fails unless the body is as its schema says."""
    jsonschema.validate(body, schema(name), cls=jsonschema.Draft7Validator)
