"""The command `flatirons connect`: from a pasted URL and a token to a port, or to a sentence."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from certipy import Certipy
from tornado.websocket import websocket_connect

from flatirons.cli import main as flatirons
from flatirons.connect.address import Address, server_path
from flatirons.connect.archive import NAME, archive
from flatirons.connect.command import main
from flatirons.connect.hub import Hub
from flatirons.connect.token_source import find_token
from flatirons.errors import ConnectError
from tests.repository import REPO
from tests.unit.connect.fake_hub import PENDING, READY, STOPPED, TOKEN, FakeHub

PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from flatirons.connect.command import main
sys.exit(main())
"""
ALONE = [sys.executable, "-I", "-S", "-c", PROGRAM, str(REPO / "src")]
"""The command with nothing but the standard library."""


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub().running() as hub:
        yield hub


async def sentence(*arguments: str, token: str = TOKEN) -> str:
    """What the command says when it ends at once, with exit code 2."""
    process = await started(*arguments, token=token)
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    return err.decode()


async def started(*arguments: str, token: str = TOKEN, **variables: str) -> asyncio.subprocess.Process:
    environment = {"FLATIRONS_TOKEN": token, **variables} if token else variables
    return await asyncio.create_subprocess_exec(
        *(*ALONE, *arguments),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """The exit code and what was said, after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    return process.returncode, err.decode()


# -- the URL


@pytest.mark.parametrize(
    ("text", "base", "owner", "name"),
    [
        ("https://hub.example.org", "https://hub.example.org/", "", ""),
        ("hub.example.org", "https://hub.example.org/", "", ""),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/", "", ""),
        ("https://h/jupyter", "https://h/jupyter/", "", ""),
        ("https://h/jupyter/hub/home", "https://h/jupyter/", "", ""),
        ("https://h/hub/", "https://h/", "", ""),
        ("https://h/user/alice", "https://h/", "alice", ""),
        ("https://h/user/alice/", "https://h/", "alice", ""),
        ("https://h/user/alice/gpu/", "https://h/", "alice", "gpu"),
        ("https://h/user/alice/gpu/lab/tree/x?y#z", "https://h/", "alice", "gpu"),
        ("https://h/hub/user/alice/gpu", "https://h/", "alice", "gpu"),
        ("https://me:pw@h:8/p/q/user/a%40b/x%20y/", "https://h:8/p/q/", "a@b", "x y"),
    ],
)
def test_any_url_of_a_hub_or_a_server_says_which_it_is(text: str, base: str, owner: str, name: str) -> None:
    assert Address.parse(text) == Address(base, owner, name)


@pytest.mark.parametrize(
    "text", ["", "https://", "ftp://h", "file:///etc/passwd", "a b", "http://h:x", "ü.example.org"]
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConnectError, match="The URL of a hub or a server is expected"):
        Address.parse(text)


def test_the_path_of_a_server_is_quoted_as_jupyterhub_does() -> None:
    assert server_path("a b@c~", "x/ü") == "user/a%20b@c~/x%2F%C3%BC/"
    assert server_path("alice", "") == "user/alice/"


# -- the token


def test_a_token_comes_from_a_file_that_nobody_else_can_read_before_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert find_token(str(file), {"FLATIRONS_TOKEN": "from-variable"}) == "from-file"
    assert find_token(None, {"FLATIRONS_TOKEN": " from-variable\n"}) == "from-variable"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("secret-text")
    file.chmod(mode)
    with pytest.raises(ConnectError, match="Others can read") as caught:
        find_token(str(file), {})
    assert "secret-text" not in caught.value.user


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\nInjected: yes", b"\xff", "é".encode()])
def test_what_is_no_token_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConnectError, match=r"There is no token in .*token"):
        find_token(str(file), {})


def test_a_file_that_isnt_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="No such file"):
        find_token(str(tmp_path / "none"), {})


async def test_without_a_token_and_a_terminal_it_says_where_to_put_one() -> None:
    assert "set FLATIRONS_TOKEN, or name a file" in await sentence("http://127.0.0.1:1", token="")


async def test_a_token_is_asked_for_on_a_terminal_and_not_shown(hub: FakeHub) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(*ALONE, "--list", hub.url),
        env={},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(os.read, ours, 1000)
    assert b"Token" in shown
    os.write(ours, f"{TOKEN}\n".encode())
    assert await process.wait() == 0
    shown += await asyncio.to_thread(os.read, ours, 10_000)
    os.close(ours)
    assert b"/user/alice/gpu/" in shown and TOKEN.encode() not in shown


# -- the hub's answers


async def test_the_servers_are_listed_with_what_they_are_doing(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.servers |= {"": dict(STOPPED), "slow": dict(PENDING)}
    hub.scopes = ["access:servers!user=alice", "read:servers!user=alice", "access:servers!server=bob/x"]
    monkeypatch.setenv("FLATIRONS_TOKEN", TOKEN)
    assert await asyncio.to_thread(main, ["--list", hub.url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"stopped              {hub.url}user/alice/",
        f"running              {hub.url}user/alice/gpu/",
        f"starting or stopping {hub.url}user/alice/slow/",
        f"unknown              {hub.url}user/bob/x/",
    ]


@pytest.mark.parametrize(
    ("server", "state", "said"),
    [
        ("gpu", STOPPED, "isn't running. Start it: {url}hub/spawn/alice/gpu"),
        ("gpu", PENDING, "is starting or stopping: {url}hub/spawn/alice/gpu"),
        ("other", READY, "This token doesn't reach that server. It reaches:\nrunning "),
    ],
)
async def test_a_server_that_cant_be_reached_is_named_at_once(
    hub: FakeHub, server: str, state: dict[str, object], said: str
) -> None:
    hub.servers["gpu"] = dict(state)
    assert said.format(url=hub.url) in await sentence(f"{hub.url}user/alice/{server}/")


async def test_of_several_servers_one_must_be_chosen_unless_only_one_runs(hub: FakeHub) -> None:
    hub.scopes = ["access:servers!user=alice", "read:servers!user=alice"]
    hub.servers["two"] = dict(READY)
    said = await sentence(hub.url)
    assert "Give the URL of one of these servers" in said and f"{hub.url}user/alice/two/" in said
    hub.servers["two"] = dict(STOPPED)
    process = await started(hub.url)
    assert process.stdout and b"/user/alice/gpu/?token=" in await process.stdout.readline()
    assert (await ended(process))[0] == 0


async def test_a_token_that_the_hub_refuses_is_named_and_not_repeated(hub: FakeHub) -> None:
    said = await sentence(hub.url, token="of-yesterday")
    assert "it has expired, was revoked" in said and "of-yesterday" not in said


async def test_a_token_without_servers_is_named(hub: FakeHub) -> None:
    hub.scopes = []
    assert "This token reaches no server." in await sentence(hub.url)


async def test_an_address_without_a_hub_is_named(hub: FakeHub) -> None:
    assert f"There is no JupyterHub at {hub.url}elsewhere/" in await sentence(f"{hub.url}elsewhere")


async def test_a_hub_that_is_away_is_named() -> None:
    assert "The hub doesn't answer at http://127.0.0.1:1/" in await sentence("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "another address",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "away or restarts (it answered 502)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "There is no JupyterHub"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "There is no JupyterHub"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "doesn't answer"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "doesn't answer"),
        (b"", "doesn't answer"),
    ],
)
async def test_other_answers_than_a_hubs_become_sentences(answer: bytes, said: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectError, match=r"(?s).*") as caught:
            await asyncio.to_thread(Hub(f"http://127.0.0.1:{port}/", TOKEN).servers)
    assert said in caught.value.user


# -- the whole command


async def test_the_file_that_the_hub_serves_is_the_whole_command(hub: FakeHub, tmp_path: Path) -> None:
    file = tmp_path / NAME
    file.write_bytes(archive())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(file), "--list", hub.url),
        env={"FLATIRONS_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, f"running              {hub.url}user/alice/gpu/\n")


async def test_flatirons_connect_is_the_same_command(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATIRONS_TOKEN", TOKEN)
    assert await asyncio.to_thread(flatirons, ["connect", "--list", hub.url]) == 0
    assert f"{hub.url}user/alice/gpu/" in capsys.readouterr().out
    assert await asyncio.to_thread(flatirons, ["connect", f"{hub.url}user/bob/"]) == 2
    assert "flatirons: This token doesn't reach that server." in capsys.readouterr().err


async def test_the_command_alone_forwards_until_ctrl_c(hub: FakeHub) -> None:
    process = await started(f"{hub.url}user/alice/gpu/lab")
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    assert url.startswith("http://127.0.0.1:") and "/user/alice/gpu/?token=" in url and TOKEN not in url
    command_line = await asyncio.to_thread(Path(f"/proc/{process.pid}/cmdline").read_bytes)
    assert TOKEN.encode() not in command_line and url.partition("=")[2].encode() not in command_line
    async with httpx.AsyncClient(timeout=20) as http:
        assert (await http.get(url)).headers["x-path"] == "/user/alice/gpu/"
    code, said = await ended(process)
    assert code == 0 and "Until Ctrl-C" in said and "Traceback" not in said


async def test_ctrl_c_ends_it_at_once_while_a_kernel_is_connected_and_a_request_runs(hub: FakeHub) -> None:
    process = await started(hub.url)
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    socket = await websocket_connect(url.replace("http", "ws", 1).replace("?", "channels?"))
    await socket.read_message()
    port = urlsplit(url).port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /api?{urlsplit(url).query} HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf".encode())
    await writer.drain()
    async with asyncio.timeout(20):
        code, said = await ended(process)
    assert code == 0 and "Traceback" not in said and "exception" not in said
    assert await socket.read_message() is None
    socket.close()
    writer.close()


async def test_a_port_that_is_taken_is_named(hub: FakeHub) -> None:
    first = await started("--port", "0" * 3 + "1024", hub.url)
    assert first.stdout and await first.stdout.readline()
    assert "Port 1024 of this machine can't be used" in await sentence("--port", "1024", hub.url)
    await ended(first)


@pytest.mark.parametrize("port", ["80", "65536", "x", "-1", ""])
async def test_a_port_that_cant_be_is_refused(port: str) -> None:
    process = await started("--port", port, "http://127.0.0.1:1")
    _, err = await process.communicate()
    assert process.returncode == 2 and b"a port from 1024 to 65535 is expected" in err


async def test_over_tls_the_hubs_certificate_must_be_trusted(tmp_path: Path) -> None:
    certipy = Certipy(store_dir=str(tmp_path))
    certipy.create_ca("authority")
    certipy.create_signed_pair("hub", "authority", alt_names=["IP:127.0.0.1"])
    files = certipy.store.get_record("hub")["files"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["cert"], files["key"])
    async with FakeHub().running(ssl_options=context) as hub:
        assert "doesn't trust the certificate" in await sentence(hub.url)
        authority = certipy.store.get_record("authority")["files"]["cert"]
        process = await started(hub.url, SSL_CERT_FILE=authority)
        assert process.stdout
        url = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(timeout=20) as http:
            for _ in range(2):
                assert (await http.get(url)).status_code == 200
        assert (await ended(process))[0] == 0
