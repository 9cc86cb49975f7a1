"""The starter's HTTP requests: whatever stands between it and the hub may answer in its own way."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flatirons.job.node import http
from flatirons.job.node.json_text import as_json, read_json


@contextmanager
def server(
    answer: bytes, *, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[list[bytes]]:
    """Answers one request and closes the connection. Yields a list: HOST:PORT, and then the request."""
    listener = socket.create_server(
        (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
    )
    place = f"[{address}]" if ":" in address else address
    seen = [f"{place}:{listener.getsockname()[1]}".encode()]

    def take() -> None:
        peer, _ = listener.accept()
        try:
            peer = tls.wrap_socket(peer, server_side=True) if tls else peer
            while not seen[-1].endswith(b"BODY"):
                seen.append((seen[1] if len(seen) > 1 else b"") + peer.recv(65536))
                seen[1:] = seen[-1:]
            for number in range(len(answer)):
                peer.sendall(answer[number : number + 1])
        except OSError:
            pass  # the other end didn't want our certificate
        finally:
            peer.close()

    thread = threading.Thread(target=take)
    thread.start()
    with listener:
        yield seen
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 4\r\n\r\n\r\n{}",
        OK + b"content-length:4\r\nConnection: keep-alive\r\n\r\n\r\n{} and what doesn't belong to it",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\r\n{\r\n01;name=value\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n\r\n{}",
    ],
    ids=["length", "kept alive", "chunks", "up to the end"],
)
def test_an_answer_is_read_however_its_end_is_marked(answer: bytes) -> None:
    with server(answer) as seen:
        url = f"http://{seen[0].decode()}/hub/api/flatirons/boot"
        assert http.post(url, {"Authorization": "Bearer k"}, b"BODY") == (200, b"\r\n{}")
    head, _, body = seen[1].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /hub/api/flatirons/boot HTTP/1.1",
        b"Host: " + seen[0],
        b"Connection: close",
        b"Authorization: Bearer k",
        b"Content-Length: 4",
    ]
    assert body == b"BODY"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        OK[:-3],
        OK + b"Content-Length: 3\r\n\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxy\r\n{}\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example.org\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_off_or_not_http_is_an_error(answer: bytes) -> None:
    with server(answer) as seen, pytest.raises((ValueError, LookupError)):
        http.post(f"http://{seen[0].decode()}/", {}, b"BODY")


def test_a_hub_may_have_an_ipv6_address() -> None:
    with server(OK + b"Content-Length: 0\r\n\r\n", address="::1") as seen:
        assert http.post(f"http://{seen[0].decode()}/", {}, b"BODY") == (200, b"")


def test_where_nobody_listens_there_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ConnectionRefusedError):
        http.post(f"http://{place}/", {}, b"BODY")


@pytest.mark.parametrize(
    "url", ["http://hub.invalid/", "http://hübe.invalid/", "http://hub:x/", "http://[::1/"]
)
def test_a_place_that_cannot_be_found_is_an_error(url: str) -> None:
    with pytest.raises((OSError, ValueError)):
        http.post(url, {}, b"BODY")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, with its key."""
    file = tmp_path / "hub.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(tmp_path / "cert")]
    subprocess.run(argv, check=True, capture_output=True)
    file.write_text(file.read_text() + (tmp_path / "cert").read_text())
    return file


def test_with_https_only_a_hub_with_a_valid_certificate_gets_a_request(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    for trusted in (True, False):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate) if trusted else "/dev/null")
        with server(OK + b"Content-Length: 2\r\n\r\n{}", tls=tls) as seen:
            url = f"https://localhost:{seen[0].decode().rpartition(':')[2]}/"
            if trusted:
                assert http.post(url, {}, b"BODY") == (200, b"{}")
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    http.post(url, {}, b"BODY")
        assert (len(seen) > 1) is trusted


# -- JSON

VALUE = {"a": [1, -2, None, 'é"\\\n\x00🙂'], "b": {"c": "", "d": []}}


def test_json_is_written_and_read_as_by_the_module() -> None:
    assert json.loads(as_json(VALUE)) == VALUE
    for text in (
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False, indent=2),
        "null",
        " [true, 1.5e3]\n",
    ):
        assert read_json(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "<html>", "{", '{"a" 1}', "[1,]", '"\x01"', "nul"])
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)
