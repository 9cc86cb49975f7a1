"""The real proxy with internal TLS: whose certificate it accepts for the route of a server."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from certipy import Certipy

from cluster.demo.service import free_port
from cluster.demo.software import proxy as build_proxy
from flatirons.hub.configure import PROXY_ROUTES
from flatirons.hub.proxy import by_certificate
from tests.waiting import until

pytestmark = pytest.mark.cluster  # it needs no cluster, but the proxy of the virtual cluster's hub

ALICE, BOB = "aa11.server.internal", "bb22.server.internal"
HOSTS = ["127.0.0.1", "jupyter.example.org", "localhost", ALICE, BOB, f"{ALICE}:443"]
"""Host headers as browsers and attackers send them."""

PROGRAM = "node_modules/configurable-http-proxy/bin/configurable-http-proxy"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one CA: alice's and bob's servers on the node `localhost`, one of an older version, the proxy."""
    store = tmp_path_factory.mktemp("certificates")
    authority = Certipy(store_dir=str(store))
    authority.create_ca("ca")
    names = {
        "alice": [ALICE, "localhost"],
        "bob": [BOB, "localhost"],
        "old": ["localhost"],
        "proxy": ["proxy"],
    }
    for owner, found in names.items():
        authority.create_signed_pair(owner, "ca", alt_names=[f"DNS:{name}" for name in found])
    return store


@dataclass
class Running:
    """The proxy, with its API."""

    url: str
    api: str

    async def add(self, path: str, target: str, name: str) -> None:
        url, data = by_certificate(target, {"user": path}, name)
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{self.api}/user/{path}", json={"target": url, **data}, headers=TOKEN)
        assert answer.status_code == 201

    async def routes(self) -> dict[str, Any]:
        async with httpx.AsyncClient() as http:
            found: dict[str, Any] = (await http.get(self.api, headers=TOKEN)).json()
            return found

    async def get(self, path: str, host: str = "jupyter.example.org") -> httpx.Response:
        async with httpx.AsyncClient() as http:
            return await http.get(f"{self.url}/user/{path}", headers={"Host": host, "Cookie": "secret"})

    async def upgrade(self, path: str) -> bytes:
        """The status line of the answer to a websocket's request."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = [f"GET /user/{path} HTTP/1.1", "Host: jupyter.example.org", "Cookie: secret"]
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eHh4", "", ""]
        writer.write("\r\n".join(lines).encode())
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line


TOKEN = {"Authorization": "token t0ken"}


@pytest.fixture
def proxy(certificates: Path, tmp_path: Path) -> Iterator[Running]:
    place, port, api = build_proxy(), free_port(), free_port()
    files = {"key": "proxy/proxy.key", "cert": "proxy/proxy.crt", "ca": "ca/ca.crt"}
    argv = [str(place / "node"), str(place / PROGRAM), f"--storage-backend={PROXY_ROUTES}"]
    argv += [f"--client-ssl-{part}={certificates / file}" for part, file in files.items()]
    argv += ["--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1", f"--api-port={api}"]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(argv, env={"CONFIGPROXY_AUTH_TOKEN": "t0ken"}, stdout=log, stderr=log)
    try:
        yield Running(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{api}/api/routes")
    finally:
        running.terminate()
        running.wait()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answers with the owner's name, or takes a websocket."""
        self.server.heard.append(self.path)
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.end_headers()
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.owner)))
        self.end_headers()
        self.wfile.write(self.server.owner.encode())

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class Server(ThreadingHTTPServer):
    """A notebook server, or a neighbour who took its port; `heard` are the paths that it was asked for."""

    def __init__(self, certificates: Path, owner: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.owner = owner
        self.heard: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*(certificates / owner / f"{owner}.{end}" for end in ("crt", "key")))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_port}"

    def get_request(self) -> Any:
        """A connection, whose handshake is left to its thread."""
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a proxy that doesn't like the certificate."""


@contextmanager
def serving(certificates: Path, owner: str, port: int = 0) -> Iterator[Server]:
    with Server(certificates, owner, port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def ready(proxy: Running) -> Running:
    """The proxy, which answers."""

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(proxy.api.split(":")[2].split("/")[0]))) == 0

    await until(is_up, 30)
    return proxy


@pytest.mark.parametrize("host", HOSTS)
async def test_a_server_with_its_own_certificate_is_reached_whatever_the_browser_calls_the_hub(
    ready: Running, certificates: Path, host: str
) -> None:
    with serving(certificates, "alice") as alice:
        await ready.add("alice", alice.url, ALICE)
        answer = await ready.get("alice/lab", host)
        assert (answer.status_code, answer.text) == (200, "alice")
        assert b" 101 " in await ready.upgrade("alice/api/kernels")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("thief", ["bob", "old"])
async def test_a_neighbour_who_takes_the_port_gets_nothing_with_a_valid_certificate_for_the_same_node(
    ready: Running, certificates: Path, host: str, thief: str
) -> None:
    with serving(certificates, thief) as neighbour:
        await ready.add("alice", neighbour.url, ALICE)  # which was alice's
        assert (await ready.get("alice/lab", host)).status_code == 503
        assert b" 101 " not in await ready.upgrade("alice/api/kernels")
        assert neighbour.heard == []


async def test_a_connection_that_is_kept_for_the_neighbours_own_route_is_not_used_for_another(
    ready: Running, certificates: Path
) -> None:
    with serving(certificates, "bob") as bob:
        await ready.add("bob", bob.url, BOB)
        await ready.add("alice", bob.url, ALICE)  # of alice's server, which had this port
        assert (await ready.get("bob/lab")).text == "bob"
        assert (await ready.get("alice/lab")).status_code == 503
        assert len(bob.heard) == 1


async def test_a_server_of_an_older_version_is_still_reached_by_the_name_of_its_node(
    ready: Running, certificates: Path
) -> None:
    with serving(certificates, "old") as old:
        await ready.add("old", old.url, "")
        assert (await ready.get("old/lab")).text == "old"


async def test_routes_are_found_by_the_longest_prefix_of_whole_parts_and_removed(ready: Running) -> None:
    for path, port in (("alice", 1), ("alice/gpu", 2), ("alice b", 3), ("__proto__", 4)):
        await ready.add(path, f"https://localhost:{port}", "")
    found = await ready.routes()
    assert {path: route["target"][-1] for path, route in found.items()} == {
        **{"/user/alice": "1", "/user/alice/gpu": "2", "/user/alice b": "3", "/user/__proto__": "4"},
    }
    async with httpx.AsyncClient() as http:
        removed = await http.delete(f"{ready.api}/user/alice/gpu", headers=TOKEN)
        assert removed.status_code == 204
        assert (await http.delete(f"{ready.api}/user/alice/gpu", headers=TOKEN)).status_code == 404
        assert (await http.get(f"{ready.url}/elsewhere")).status_code == 404
    assert json.dumps(await ready.routes()).count("target") == 3
