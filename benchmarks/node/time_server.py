"""Starts one notebook server in a container, as the starter does, and times it.

Runs as the user on a compute node, with the hub's Python. Reads a JSON object from stdin: `image`, `binds`,
`user`, `hub` (URL of its API), `token` (of the user), `has_own_directory` (whether Jupyter gets a runtime
directory on the node, as from the starter). Prints one line of JSON: the seconds from just before `apptainer`
starts to the server's first answer (`first_answer`), to JupyterLab's page (`first_page`) and to a kernel's
first result (`first_kernel`); and what the server offers (`offers`).
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any
from urllib.request import Request, urlopen

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

DEADLINE_S = 120.0
POLL_S = 0.005
LAST_LINES = 15
# Jupyter Server, JupyterLab, language servers, Clusters tab, jupyter-server-proxy.
PARTS = (
    *("/api/status", "/api/contents", "/api/me", "/api/sessions", "/lab/api/settings", "/lab/api/workspaces"),
    *("/lsp/status", "/ipyparallel/clusters", "/server-proxy/servers-info"),
)
LOADED = re.compile(r"(\S+) \| extension was successfully loaded")
CONFIG = re.compile(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', re.DOTALL)


def environment(settings: dict[str, Any], port: int) -> dict[str, str]:
    """The environment of a single-user server: the job's own and what a spawner adds."""
    user, prefix = settings["user"], f"/user/{settings['user']}/"
    scopes = json.dumps([f"access:servers!server={user}/", f"access:servers!user={user}"])
    return {
        **os.environ,
        "JUPYTERHUB_API_TOKEN": settings["token"],
        "JUPYTERHUB_API_URL": settings["hub"],
        "JUPYTERHUB_ACTIVITY_URL": f"{settings['hub']}/users/{user}/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{user}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": scopes,
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
        "JUPYTERHUB_USER": user,
    }


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server that is starting or running."""

    def __init__(self, settings: dict[str, Any]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/user/{settings['user']}"
        self.headers = {"Authorization": f"token {settings['token']}"}
        words = ["apptainer", "-s", "exec"]
        for bind in settings["binds"]:
            words += ["--bind", bind]
        argv = [*words, settings["image"], "jupyterhub-singleuser"]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the program ends
        self.directory = tempfile.TemporaryDirectory(prefix="time-server-")
        own = {"JUPYTER_RUNTIME_DIR": self.directory.name} if settings["has_own_directory"] else {}
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            env={**environment(settings, port), **own},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def elapsed(self) -> float:
        """Seconds since the server was started."""
        return round(time.monotonic() - self.began, 4)

    def wait(self) -> None:
        """Returns once the server answers; ends the program if it ended, or doesn't answer in time."""
        while True:
            try:
                with urlopen(f"{self.url}/api", timeout=DEADLINE_S):
                    return
            except OSError as error:
                if self.process.poll() is not None or self.elapsed() > DEADLINE_S:
                    sys.exit(f"the server didn't answer ({error}); its log ends with:\n{self.last_lines()}")
            time.sleep(POLL_S)  # no event says that a process listens

    def last_lines(self) -> str:
        """The end of the server's log."""
        return "\n".join(self.read_log().splitlines()[-LAST_LINES:])

    def read_log(self) -> str:
        """The server's log."""
        self.log.seek(0)
        return self.log.read()

    def request(self, path: str, body: object = None) -> bytes:
        """The answer to GET, or to POST if there is a body; an error ends the program."""
        text = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.url + path, text, self.headers), timeout=DEADLINE_S) as answer:
                return bytes(answer.read())
        except OSError as error:
            sys.exit(f"{path} was not answered ({error}); the server's log ends with:\n{self.last_lines()}")

    async def run_code(self) -> None:
        """Returns once a new kernel has printed a number."""
        kernel = json.loads(self.request("/api/kernels", {"name": "python3"}))["id"]
        url = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
        channels = await websocket_connect(HTTPRequest(url, headers=self.headers))
        request = execute_request("print(6 * 7)")
        await channels.write_message(json.dumps(request))
        while True:
            text = await channels.read_message()
            if text is None:
                sys.exit("the kernel's websocket was closed")
            answer = json.loads(text)
            is_ours = answer["parent_header"].get("msg_id") == request["header"]["msg_id"]
            if is_ours and answer["content"].get("text") == "42\n":
                channels.close()
                return

    def stop(self) -> None:
        """Stops the server and returns when it has ended."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.directory.cleanup()


def execute_request(code: str) -> dict[str, Any]:
    """The message that runs code, by Jupyter's protocol 5.4."""
    header = {"msg_id": uuid.uuid4().hex, "session": uuid.uuid4().hex, "msg_type": "execute_request"}
    header |= {"username": "", "date": "2000-01-01T00:00:00Z", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    rest = {"parent_header": {}, "metadata": {}, "buffers": [], "channel": "shell"}
    return {"header": header, "content": content, **rest}


def offers(server: Server, page: str) -> dict[str, Any]:
    """The kernels and extensions of the server; an answer is required of each of its parts."""
    for path in PARTS:
        server.request(path)
    server.request("/api/terminals", {})
    config = json.loads(CONFIG.findall(page)[0])
    return {
        "kernels": sorted(json.loads(server.request("/api/kernelspecs"))["kernelspecs"]),
        "extensions of JupyterLab": sorted(each["name"] for each in config["federated_extensions"]),
        "extensions of the server": sorted(LOADED.findall(server.read_log())),
    }


def main() -> None:
    server = Server(json.load(sys.stdin))
    try:
        server.wait()
        found: dict[str, Any] = {"first_answer": server.elapsed()}
        page = server.request("/lab")
        found["first_page"] = server.elapsed()
        asyncio.run(server.run_code())
        found["first_kernel"] = server.elapsed()
        found["offers"] = offers(server, page.decode())
        print(json.dumps(found))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
