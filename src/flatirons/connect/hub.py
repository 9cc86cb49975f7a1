"""What a hub says about the servers that a token reaches, by JupyterHub's REST API."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from flatirons.connect.address import server_path
from flatirons.errors import ConnectError, quoted

SECONDS_TO_ANSWER = 20
READY, PENDING, STOPPED, UNKNOWN = "running", "starting or stopping", "stopped", "unknown"
"""What a server is doing; UNKNOWN where the token may not see it."""


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: the token would go wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """None: the redirect becomes an HTTPError."""


@dataclass(frozen=True, slots=True)
class ReachableServer:
    """A server that the token reaches. `url` ends with a slash."""

    owner: str
    name: str
    url: str
    state: str

    @property
    def title(self) -> str:
        """The server in a sentence."""
        return (
            f"server {quoted(self.name)} of {self.owner}"
            if self.name
            else f"the default server of {self.owner}"
        )


class Hub:
    """A hub, asked with a token. `base` ends with a slash."""

    def __init__(self, base: str, token: str) -> None:
        self.base = base
        self.token = token
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

    def servers(self) -> list[ReachableServer]:
        """The servers that the token reaches, sorted; raises ConnectError, which says what to do."""
        me = self._ask("user")
        if not isinstance(me, dict) or not isinstance(me.get("name"), str):
            raise ConnectError(f"There is no JupyterHub at {self.base}.")
        scopes = [str(scope) for scope in me.get("scopes", ())]
        found = {}
        for owner in sorted(_owners(scopes, "read:servers", me["name"])):
            model = self._ask(f"users/{quote(owner, safe='')}?include_stopped_servers=true")
            for name, server in (model.get("servers") or {}).items():
                if _is_in(scopes, "access:servers", owner, name):
                    found[owner, name] = self._server(owner, name, server)
        for owner, name in _named(scopes, "access:servers"):
            found.setdefault((owner, name), self._server(owner, name, {}))
        return [found[key] for key in sorted(found)]

    def start_page(self, server: ReachableServer) -> str:
        """The page on which the server can be started."""
        return f"{self.base}hub/spawn/{quote(server.owner, safe='')}/{quote(server.name, safe='')}".rstrip(
            "/"
        )

    def problem_of(self, server: ReachableServer) -> str:
        """A sentence that says why the server can't be used; "" if it runs, or the token can't tell."""
        try:
            now = next((each for each in self.servers() if each.url == server.url), None)
        except ConnectError as error:
            return error.user
        if now is None:
            return f"The token no longer reaches {server.title}."
        if now.state == STOPPED:
            return f"{_capital(now.title)} isn't running. Start it: {self.start_page(now)}"
        if now.state == PENDING:
            return f"{_capital(now.title)} is starting or stopping: {self.start_page(now)}"
        return ""

    def _server(self, owner: str, name: str, model: dict[str, Any]) -> ReachableServer:
        url = model.get("full_url") or model.get("url") or server_path(owner, name)
        state = UNKNOWN
        if model:
            state = READY if model.get("ready") else PENDING if model.get("pending") else STOPPED
        return ReachableServer(owner, name, urljoin(self.base, url), state)

    def _ask(self, path: str) -> Any:
        url = f"{self.base}hub/api/{path}"
        request = Request(url, headers={"Authorization": f"token {self.token}", "Accept": "application/json"})
        try:
            with self._opener.open(request, timeout=SECONDS_TO_ANSWER) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise ConnectError(self._sentence(error)) from None
        except URLError as error:
            raise ConnectError(self._sentence_of_connection(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise ConnectError(self._sentence_of_connection(error)) from None
        except ValueError:
            raise ConnectError(f"There is no JupyterHub at {self.base}.") from None

    def _sentence(self, error: HTTPError) -> str:
        if error.code in (401, 403):
            return (
                "The hub refuses the token: it has expired, was revoked, or is another hub's. "
                f"Make a new one on the page Connect of your server: {self.base}hub/home"
            )
        if 300 <= error.code < 400:
            where = str(error.headers.get("Location", ""))
            return f"{self.base} leads to another address: {quoted(where)}. Use the hub's own."
        if error.code >= 500:
            return f"The hub is away or restarts (it answered {error.code}). Try again in a minute."
        return f"There is no JupyterHub at {self.base} (it answered {error.code})."

    def _sentence_of_connection(self, reason: object) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"This machine doesn't trust the certificate of {self.base}: {reason.verify_message}. "
                "Set SSL_CERT_FILE to a file with the certificate of the site's authority."
            )
        return f"The hub doesn't answer at {self.base}: {reason}. Are you connected to its network?"


def _filters(scopes: Sequence[str], wanted: str) -> Iterator[str]:
    """What follows `!` in the scopes of this kind; "" for one without a limit."""
    for scope in scopes:
        kind, _, limit = scope.partition("!")
        if kind == wanted:
            yield limit


def _named(scopes: Sequence[str], wanted: str) -> Iterator[tuple[str, str]]:
    """The owners and names of the servers that scopes of this kind name."""
    for limit in _filters(scopes, wanted):
        if limit.startswith("server="):
            owner, _, name = limit.removeprefix("server=").partition("/")
            yield owner, name


def _owners(scopes: Sequence[str], wanted: str, caller: str) -> set[str]:
    """The owners of servers that scopes of this kind cover; of all users only the caller."""
    users = {limit.removeprefix("user=") for limit in _filters(scopes, wanted) if limit.startswith("user=")}
    everybody = {caller for limit in _filters(scopes, wanted) if not limit}
    return users | everybody | {owner for owner, _ in _named(scopes, wanted)}


def _is_in(scopes: Sequence[str], wanted: str, owner: str, name: str) -> bool:
    """Does a scope of this kind cover the server?"""
    return bool({"", f"user={owner}", f"server={owner}/{name}"} & set(_filters(scopes, wanted)))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
