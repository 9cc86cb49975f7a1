"""What goes through the local port of `flatirons connect`, over real sockets to a hub that is played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from flatirons.connect.command import Diagnosis
from flatirons.connect.forward import LocalPort
from flatirons.connect.hub import Hub
from tests.unit.connect.fake_hub import PENDING, STOPPED, TOKEN, FakeHub


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub().running() as hub:
        yield hub


@pytest_asyncio.fixture
async def local(hub: FakeHub) -> AsyncIterator[LocalPort]:
    """A local port that leads to the server gpu."""
    client = Hub(hub.url, TOKEN)
    [server] = await asyncio.to_thread(client.servers)
    port = LocalPort(server.url, TOKEN, Diagnosis(client, server).ask)
    async with port.listening(0):
        yield port


@pytest_asyncio.fixture
async def http(local: LocalPort) -> AsyncIterator[httpx.AsyncClient]:
    """A program with the password as its token, and the server's URL on this machine as its base."""
    headers = {"Authorization": f"token {local.password.text}"}
    async with httpx.AsyncClient(base_url=base(local), headers=headers, timeout=20) as http:
        yield http


@pytest_asyncio.fixture
async def stranger(local: LocalPort) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on this machine without the password."""
    async with httpx.AsyncClient(base_url=base(local), timeout=20) as http:
        yield http


def base(local: LocalPort) -> str:
    return local.url.partition("?")[0]


def root(local: LocalPort) -> str:
    return f"http://127.0.0.1:{local.password.port}"


# -- what is passed on


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_and_its_answer_pass_with_the_token(
    http: httpx.AsyncClient, hub: FakeHub, method: str
) -> None:
    answer = await http.request(method, "api/x?a=%20b&c", content=b"\0body\r\n\r\n")
    assert (answer.status_code, answer.content) == (200, b"\0body\r\n\r\n")
    assert answer.headers["x-method"] == method
    assert answer.headers["x-path"] == "/user/alice/gpu/api/x?a=%20b&c"
    [request] = hub.requests
    assert request.request.headers["Authorization"] == f"token {TOKEN}"
    assert request.request.headers["Host"] == f"127.0.0.1:{hub.port}"


async def test_bodies_of_many_megabytes_pass_in_both_directions(http: httpx.AsyncClient) -> None:
    body = bytes(range(256)) * 4096 * 20
    assert (await http.post("files", content=body)).content == body


async def test_bodies_in_chunks_pass_in_both_directions(http: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number]) * 3000

    answer = await http.post("files", content=parts())
    assert answer.content == b"".join([bytes([number]) * 3000 for number in range(50)])
    answer = await http.get("chunks?count=30")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.text == "".join(f"{number}\n" * 100 for number in range(30))


async def test_answers_without_a_body_dont_hold_up_the_next(http: httpx.AsyncClient, hub: FakeHub) -> None:
    assert (await http.head("api")).status_code == 200
    assert (await http.get("empty")).status_code == 204
    assert (await http.get("api")).status_code == 200
    assert len(hub.requests) == 3


async def test_one_connection_serves_many_requests(http: httpx.AsyncClient, hub: FakeHub) -> None:
    for _ in range(10):
        assert (await http.get("api")).status_code == 200
    assert len(hub.connections) == 1


async def test_fifty_requests_at_once_get_their_own_answers(
    local: LocalPort, http: httpx.AsyncClient
) -> None:
    answers = await asyncio.gather(*(http.post("api", content=str(number)) for number in range(50)))
    assert [answer.text for answer in answers] == [str(number) for number in range(50)]


async def test_a_program_that_knows_no_prefix_reaches_the_server_and_only_it(
    local: LocalPort, http: httpx.AsyncClient
) -> None:
    for path, there in {
        "/api/kernels": "api/kernels",
        "/": "",
        "/user/alice/gpu": "",
        "/user/alice/gpu/lab": "lab",
        "/user/bob/": "user/bob/",
        "/hub/api/users": "hub/api/users",
    }.items():
        answer = await http.get(f"{root(local)}{path}")
        assert answer.headers["x-path"] == f"/user/alice/gpu/{there}"


@pytest.mark.parametrize(
    "path", ["/user/alice/gpu/../../../hub/api", "/%2e%2e/x", "/user/alice/gpu/%2E./x", "/a\\b"]
)
async def test_a_path_that_leads_upwards_is_refused(local: LocalPort, hub: FakeHub, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {local.password.text}\r\n\r\n"
    assert (await raw(local, head.encode())).startswith(b"HTTP/1.1 400 ")
    assert hub.requests == []


async def test_redirects_stay_on_the_local_port(http: httpx.AsyncClient, hub: FakeHub) -> None:
    for to in ("/user/alice/gpu/lab", f"{hub.url}user/alice/gpu/lab"):
        assert (await http.get("away", params={"to": to})).headers["location"] == "/user/alice/gpu/lab"
    assert (await http.get("away?to=lab")).headers["location"] == "lab"


async def test_cookies_and_rules_of_the_hub_dont_reach_the_local_browser(http: httpx.AsyncClient) -> None:
    answer = await http.get("api")
    assert not {"set-cookie", "strict-transport-security"} & set(answer.headers)


async def test_what_the_local_browser_says_of_itself_doesnt_reach_the_server(
    local: LocalPort, http: httpx.AsyncClient, hub: FakeHub
) -> None:
    headers = {"Cookie": "a=b", "Origin": root(local), "Referer": local.url, "X-Own": "1"}
    await http.get(f"api?token={local.password.text}&x=1", headers=headers)
    [request] = hub.requests
    assert not {"Cookie", "Origin", "Referer"} & set(request.request.headers)
    assert request.request.headers["X-Own"] == "1"
    assert request.request.uri == "/user/alice/gpu/api?x=1"
    assert local.password.text not in str(request.request.headers)


async def test_an_answer_that_is_cut_is_cut_for_the_local_program_too(http: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get("cut")
    assert (await http.get("api")).status_code == 200


# -- websockets


async def test_a_websocket_passes_text_bytes_and_its_end(local: LocalPort, hub: FakeHub) -> None:
    url = f"{base(local)}channels?session_id=1".replace("http", "ws", 1)
    headers = {"Authorization": f"token {local.password.text}", "Origin": root(local)}
    socket = await websocket_connect(
        HTTPRequest(url, headers=headers), compression_options={}, max_message_size=50_000_000
    )
    first = json.loads(str(await socket.read_message()))
    assert first["uri"] == "/user/alice/gpu/channels?session_id=1"
    assert "Sec-Websocket-Extensions" in first["headers"] and "Origin" not in first["headers"]
    for message in ("text", "خادم", b"\0\xff", "x" * 5_000_000):
        await socket.write_message(message, binary=isinstance(message, bytes))
        assert await socket.read_message() == message
    await socket.write_message("close")
    assert await socket.read_message() is None
    assert (socket.close_code, socket.close_reason) == (4001, "as asked")
    socket.close()


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
)


async def test_a_websocket_without_the_password_is_refused(local: LocalPort, hub: FakeHub) -> None:
    answer = await raw(local, f"GET /channels HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_a_websocket_to_the_server_ends_when_the_local_program_is_gone(
    local: LocalPort, hub: FakeHub
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", local.password.port)
    writer.write(f"GET /channels?token={local.password.text} HTTP/1.1\r\n{UPGRADE}\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
    writer.transport.abort()
    async with asyncio.timeout(20):
        await hub.socket_closed.wait()


# -- who may use the port


@pytest.mark.parametrize("token", ["", "token x", "token é", f"token {TOKEN}", "Basic x", "token"])
async def test_somebody_without_the_password_gets_nothing(
    stranger: httpx.AsyncClient, hub: FakeHub, token: str
) -> None:
    answer = await stranger.get("api?token=x", headers={"Authorization": token.encode()} if token else {})
    assert answer.status_code == 403 and "printed" in answer.text
    assert hub.requests == []


@pytest.mark.parametrize("scheme", ["token", "Token", "bearer", "Bearer"])
async def test_the_password_is_accepted_as_jupyters_clients_send_a_token(
    local: LocalPort, stranger: httpx.AsyncClient, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} {local.password.text}"}
    assert (await stranger.get("api", headers=headers)).status_code == 200


async def test_a_browser_that_opened_the_url_needs_it_no_more(
    local: LocalPort, stranger: httpx.AsyncClient
) -> None:
    answer = await stranger.get(local.url)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert (await stranger.get("lab")).status_code == 200
    own = {"Origin": root(local), "Sec-Fetch-Site": "same-origin"}
    assert (await stranger.post("api/kernels", headers=own)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_page_of_another_address_cant_use_the_browsers_cookie(
    local: LocalPort, stranger: httpx.AsyncClient, hub: FakeHub, headers: dict[str, str]
) -> None:
    await stranger.get(local.url)
    hub.requests.clear()
    assert (await stranger.post("api/kernels", headers=headers)).status_code == 403
    assert hub.requests == []


async def test_only_this_machine_reaches_the_port(local: LocalPort) -> None:
    assert urlsplit(local.url).hostname == "127.0.0.1"
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.2", local.password.port)


# -- what isn't HTTP


async def raw(local: LocalPort, data: bytes) -> bytes:
    """All that the port answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", local.password.port)
    writer.write(data)
    writer.write_eof()
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01hello tls\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno field\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_what_isnt_plain_http_is_refused_and_not_passed_on(
    local: LocalPort, hub: FakeHub, data: bytes
) -> None:
    with_password = data.replace(b"\r\n", f"\r\nAuthorization: token {local.password.text}\r\n".encode(), 1)
    answer = await raw(local, with_password)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
    assert hub.requests == []


@pytest.mark.parametrize(
    "rest", ["", "Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"]
)
async def test_a_request_that_is_cut_ends_at_the_server_too(
    local: LocalPort, http: httpx.AsyncClient, hub: FakeHub, rest: str
) -> None:
    head = f"POST /slow HTTP/1.1\r\nAuthorization: token {local.password.text}\r\n"
    assert await raw(local, f"{head}{rest}".encode()) == b""
    assert hub.requests == []
    assert (await http.get("api")).status_code == 200


async def test_a_body_with_bad_chunks_is_refused(local: LocalPort, hub: FakeHub) -> None:
    head = (
        f"POST / HTTP/1.1\r\nAuthorization: token {local.password.text}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for body in ("z\r\n", "-1\r\n", "\r\n", "0x1\r\n", "1" * 70_000):
        assert (await raw(local, f"{head}{body}".encode())).startswith(b"HTTP/1.1 400 "), body[:9]
    assert hub.requests == []


# -- when the server can't be used


async def test_a_server_that_stopped_is_named_with_the_page_that_starts_it(
    http: httpx.AsyncClient, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.servers["gpu"] = dict(STOPPED)
    for _ in range(2):
        answer = await http.get("api")
        assert answer.status_code == 503
        assert (
            answer.text == f'Server "gpu" of alice isn\'t running. Start it: {hub.url}hub/spawn/alice/gpu\n'
        )
    assert capsys.readouterr().err.count("isn't running") == 1, "it is said once"


async def test_a_server_that_starts_again_can_be_used_again(
    http: httpx.AsyncClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatirons.connect.command.SECONDS_BETWEEN_QUESTIONS", 0)
    ready = hub.servers["gpu"]
    hub.servers["gpu"] = dict(PENDING)
    assert "is starting" in (await http.get("api")).text
    hub.servers["gpu"] = ready
    assert (await http.get("api")).status_code == 200


async def test_a_token_that_expires_meanwhile_is_named(
    http: httpx.AsyncClient, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.token = "another"
    assert (await http.get("api")).status_code == 403
    assert "it has expired, was revoked" in capsys.readouterr().err


async def test_an_answer_that_leads_to_the_log_in_becomes_a_sentence(
    http: httpx.AsyncClient, hub: FakeHub
) -> None:
    for to in ("/hub/login", f"{hub.url}hub/api/oauth2/authorize", "https://elsewhere.example.org/", "//x/"):
        answer = await http.get("away", params={"to": to})
        assert answer.status_code == 503 and "location" not in answer.headers
        assert "log-in" in answer.text


async def test_a_hub_that_is_away_is_named_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatirons.connect.command.SECONDS_BETWEEN_QUESTIONS", 0)
    hub = FakeHub()
    async with hub.running():
        client = Hub(hub.url, TOKEN)
        [server] = await asyncio.to_thread(client.servers)
        port = LocalPort(server.url, TOKEN, Diagnosis(client, server).ask)
        listening = port.listening(0)
    async with listening, httpx.AsyncClient(timeout=20) as http:
        http.base_url = httpx.URL(base(port))
        headers = {"Authorization": f"token {port.password.text}"}
        answer = await http.get("api", headers=headers)
        assert answer.status_code == 502 and "The hub doesn't answer" in answer.text
        async with hub.running(hub.port):
            assert (await http.get("api", headers=headers)).status_code == 200
