"""A running server is reached from outside the hub with what the page "Connect" says, as it is pasted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import websocket

from tests.person import Person
from tests.servers import SHAS
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

DAY_S = 24 * 3600
NEWEST = "v1.kernel.websocket.jupyter.org"
"""How messages are written on a kernel's websocket, as clients of today prefer it."""
TUNNEL = """
mkdir -p -m 700 ~/.ssh && [ -f ~/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
printf 'StrictHostKeyChecking accept-new\\n' > ~/.ssh/config && chmod 600 ~/.ssh/config
{tunnel} &
trap "kill $!" EXIT
curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-connrefused \\
  --header "Authorization: token $1" '{url}api/kernelspecs'
"""


@pytest.fixture
def gpu(alice: Person) -> Person:
    """Alice, whose named server `gpu` runs."""
    alice.start("gpu", **SHAS)
    alice.wait_ready("gpu")
    return alice


def page(who: Person, server: str = "alice/gpu") -> str:
    return who.http.get(f"/hub/flatirons/connect/{server}").raise_for_status().text


def make(who: Person, server: str = "alice/gpu", **fields: str) -> str:
    """The page after a token was made there."""
    body = {"seconds": str(DAY_S), "note": "", "_xsrf": who._xsrf({})["_xsrf"], **fields}
    return who.http.post(f"/hub/flatirons/connect-token/{server}", data=body).raise_for_status().text


def pasted(html: str, what: str) -> str:
    """What one of the page's blocks shows, as it is copied; "" if it isn't there."""
    found = re.search(rf'<pre[^>]* id="paste-{what}"[^>]*>(.*?)</pre>', html, re.DOTALL)
    return unescape(found[1]) if found else ""


def status(url: str, token: str) -> int:
    """What a program outside gets for a request with the token."""
    return httpx.get(url, headers={"Authorization": f"token {token}"}, timeout=60).status_code


def run_in_kernel(api: str, token: str, code: str, **more: Any) -> str:
    """What the code prints in a new kernel, by the calls that VS Code's extension makes."""
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=api, headers=headers, timeout=60) as http:
        [name, *_] = http.get("api/kernelspecs").raise_for_status().json()["kernelspecs"]
        body = {"path": f"{uuid.uuid4()}.ipynb", "name": "x", "type": "notebook", "kernel": {"name": name}}
        session = http.post("api/sessions", json=body).raise_for_status().json()
        kernel = session["kernel"]["id"]
        url = f"ws{api[4:]}api/kernels/{kernel}/channels?session_id=1&token={token}"
        channels = websocket.create_connection(url, timeout=60, **{"header": headers, **more})
        head = {
            "msg_id": "1",
            "msg_type": "execute_request",
            "session": "1",
            "username": "",
            "version": "5.3",
        }
        content = {"code": code, "silent": False}
        message = {
            "header": head,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        channels.send(json.dumps(message))
        printed = ""
        while True:
            answer = json.loads(channels.recv())
            if answer["parent_header"].get("msg_id") != "1":
                continue
            printed += answer["content"].get("text", "") if answer["msg_type"] == "stream" else ""
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                break
        channels.close()
        http.delete(f"api/sessions/{session['id']}").raise_for_status()
    return printed


def test_a_token_reaches_its_server_and_no_other(cluster: Any, gpu: Person, bob: Person) -> None:
    for person in (gpu, bob):
        person.start(**SHAS)
    for person in (gpu, bob):
        person.wait_ready()
    token = pasted(make(gpu), "token")
    root = cluster.hub_url
    assert status(f"{root}/user/alice/gpu/api/kernelspecs", token) == 200
    assert status(f"{root}/user/alice/api/kernelspecs", token) == 403
    assert status(f"{root}/user/bob/api/kernelspecs", token) == 403
    default = pasted(make(gpu, "alice/"), "token")
    assert status(f"{root}/user/alice/api/kernelspecs", default) == 200
    assert status(f"{root}/user/alice/gpu/api/kernelspecs", default) == 403


def test_the_page_says_where_the_server_runs_and_for_how_long(gpu: Person) -> None:
    assert re.search(r"It runs on shas\d+ \(summit\), for another \d+ minutes\.", page(gpu))
    gpu.stop("gpu")
    assert "This server isn't running" in page(gpu)


def test_a_revoked_token_and_one_that_has_expired_are_refused_by_the_server(
    cluster: Any, gpu: Person
) -> None:
    url = f"{cluster.hub_url}/user/alice/gpu/api/kernelspecs"
    html = make(gpu)
    token, [key, *_] = pasted(html, "token"), re.findall(r'data-token="([^"]*)"', html)
    body = {"key": key, "_xsrf": gpu._xsrf({})["_xsrf"]}
    gpu.http.post("/hub/flatirons/connect-revoke/alice/gpu", data=body).raise_for_status()
    assert status(url, token) == 403
    scopes = ["access:servers!server=alice/gpu"]
    made = gpu.rest("POST", "/users/alice/tokens", {"scopes": scopes, "expires_in": 1}).json()["token"]
    eventually(lambda: status(f"{cluster.hub_url}/hub/api/user", made) == 403)
    assert status(url, made) == 403


def test_what_vs_code_does_with_the_pasted_url_works_for_a_named_server(cluster: Any, gpu: Person) -> None:
    url = urlsplit(pasted(make(gpu), "vscode"))
    token = url.query.removeprefix("token=")
    api = url._replace(query="").geturl()
    assert run_in_kernel(api, token, "import os; print(os.environ['JUPYTERHUB_SERVER_NAME'])") == "gpu\n"
    headers = {"Authorization": f"token {token}"}
    kernel = httpx.post(f"{api}api/kernels", headers=headers, json={}, timeout=60).json()["id"]
    channels = websocket.create_connection(
        f"ws{api[4:]}api/kernels/{kernel}/channels", header=headers, subprotocols=[NEWEST], timeout=60
    )
    assert channels.getsubprotocol() == NEWEST, "the extension ends a connection without it"
    channels.close()


def test_a_websocket_needs_the_token_in_its_header_not_only_in_its_url(cluster: Any, gpu: Person) -> None:
    """Why VS Code's extension can't connect to JupyterHub 5 and later in versions before August 2024."""
    url = urlsplit(pasted(make(gpu), "vscode"))
    token = url.query.removeprefix("token=")
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        run_in_kernel(url._replace(query="").geturl(), token, "", header={})


def test_what_vs_codes_extension_for_hubs_asks_with_the_token_names_only_this_server(
    cluster: Any, gpu: Person
) -> None:
    token = pasted(make(gpu), "token")
    hub = httpx.Client(base_url=f"{cluster.hub_url}/hub/api", headers={"Authorization": f"token {token}"})
    with hub:
        model = hub.get("/users/alice?include_stopped_servers").raise_for_status().json()
        assert model["name"] == "alice" and list(model["servers"]) == ["gpu"]
        assert model["servers"]["gpu"]["url"] == "/user/alice/gpu/" and model["servers"]["gpu"]["ready"]
        assert hub.post("/users/alice/servers/gpu").status_code == 403


def test_the_pasted_script_and_the_commands_for_curl_run_as_they_are(gpu: Person) -> None:
    html = make(gpu)
    environment = {**os.environ, "FLATIRONS_TOKEN": pasted(html, "token")}
    script = subprocess.run(
        [sys.executable, "-c", pasted(html, "python")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (script.returncode, script.stdout) == (0, "42\n"), script.stderr
    both = f"{pasted(html, 'variable')}\n{pasted(html, 'curl')}"
    curl = subprocess.run(
        ["bash", "-ec", both], input=f"{pasted(html, 'token')}\n", capture_output=True, text=True, timeout=60
    )
    assert curl.returncode == 0, curl.stderr
    assert json.loads(curl.stdout.removeprefix("Token: ")) == [], "the script ended its kernel"


@contextmanager
def connected(html: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL that the pasted commands print, while they run."""
    download, command = pasted(html, "connect").splitlines()
    subprocess.run(["bash", "-ec", download], cwd=folder, check=True, capture_output=True, timeout=60)
    process = subprocess.Popen(
        ["bash", "-ec", f"exec {command}"],
        cwd=folder,
        env={**os.environ, "FLATIRONS_TOKEN": pasted(html, "token")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        yield process.stdout.readline().strip(), process
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_the_pasted_command_forwards_a_kernel_and_says_when_the_server_is_gone(
    cluster: Any, gpu: Person, tmp_path: Path
) -> None:
    html = make(gpu)
    with connected(html, tmp_path) as (url, process):
        parts = urlsplit(url)
        password, api = parts.query.removeprefix("token="), parts._replace(query="").geturl()
        assert parts.hostname == "127.0.0.1" and parts.port != urlsplit(cluster.hub_url).port
        assert password != pasted(html, "token")
        assert run_in_kernel(api, password, "print('forwarded ' * 100_000)") == "forwarded " * 100_000 + "\n"
        assert status(f"{api}api/kernelspecs", "no password") == 403
        assert httpx.get(f"{api}lab?token={password}", timeout=60).status_code == 200

        gpu.stop("gpu")
        answer = httpx.get(f"{api}api/kernelspecs?token={password}", timeout=60)
        assert answer.status_code == 503
        assert answer.text.endswith(f"isn't running. Start it: {cluster.hub_url}/hub/spawn/alice/gpu\n")
        assert process.stderr and process.stderr.readline().startswith(
            "flatirons: Until Ctrl-C this leads to"
        )
        assert "isn't running" in process.stderr.readline()


@pytest.fixture
def with_ssh(cluster: Any) -> Iterator[None]:
    """A site whose users reach servers through ssh to the hub's machine."""
    site = cluster.demo.etc / "site.toml"
    before = site.read_text()
    cluster.stop_hub()
    try:
        site.write_text(f'{before}\n[connect]\nssh_jump = "hub"\n')
        cluster.start_hub()
        yield
        cluster.stop_hub()
    finally:
        site.write_text(before)
        cluster.start_hub()


def test_the_pasted_tunnel_of_ssh_reaches_the_server_with_a_token(
    cluster: Any, with_ssh: None, gpu: Person
) -> None:
    html = make(gpu)
    tunnel = pasted(html, "tunnel")
    assert re.fullmatch(r"ssh -N -L 8888:shas\d+:\d+ alice@hub", tunnel)
    [url] = re.findall(r"<code[^>]*>(http://127.0.0.1:8888[^<]*)</code>", html)
    script = TUNNEL.format(tunnel=tunnel, url=url)
    done = cluster.exec("hub", ["bash", "-ec", script, "tunnel", pasted(html, "token")], "alice")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kernelspecs"]
    assert pasted(html, "shell") == ""


def test_ssh_isnt_offered_to_somebody_as_whom_the_server_doesnt_run(
    cluster: Any, with_ssh: None, gpu: Person
) -> None:
    dave = Person(cluster.hub_url, "dave").log_in()
    html = page(dave)
    dave.http.close()
    assert "Its programs run as alice" in html and pasted(html, "tunnel") == ""
