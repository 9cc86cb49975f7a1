"""A simulated user of the hub, over HTTP: logs in, posts the form as it is shown, runs cells in a kernel.

Needs httpx and tornado, so it runs in the tools' environment.
"""

import asyncio
import base64
import json
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

CELL_DEADLINE_S = 180.0


class SmokeFailure(Exception):
    """A step of a simulated user failed; the text is one sentence."""


class _Fields(HTMLParser):
    """The fields of the last form of a page, with the values that a browser would send."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self.values.clear()
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and ("selected" in given or self.select not in self.values):
            self.values[self.select] = given.get("value", "")
        elif tag == "input" and name:
            is_choice = given.get("type") in ("radio", "checkbox")
            if not is_choice or "checked" in given:
                self.values[name] = given.get("value", "on" if is_choice else "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""


class Visitor:
    """One user, with the cookies of a browser."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=30)

    def log_in(self) -> None:
        """Logs in by the page. In the demo, passwords are the user names."""
        page = self.http.get("/hub/login")
        body = {**self._fields(page), "username": self.name, "password": self.name}
        answer = self.http.post("/hub/login", data=body)
        if answer.status_code != 200 or answer.url.path.endswith("/login"):
            raise SmokeFailure(f"{self.name} could not log in: the hub answered {answer.status_code}")

    def submit_form(self, **options: str) -> None:
        """Posts the options form as it is shown, with these options changed."""
        path = f"/hub/spawn/{self.name}"
        fields = self._fields(self.http.get(path))
        unknown = options.keys() - fields.keys()
        if unknown:
            raise SmokeFailure(f"the form has no field {', '.join(sorted(unknown))}")
        answer = self.http.post(path, data={**fields, **options}, follow_redirects=False)
        if answer.status_code != 302:
            found = re.findall(r'role="alert"[^>]*>(.*?)</div>', answer.text, re.DOTALL)
            said = " ".join(re.sub(r"<[^>]+>", " ", " ".join(found)).split())
            raise SmokeFailure(
                f"the form was answered with {answer.status_code}: {said or answer.reason_phrase}"
            )

    def progress(self) -> Iterator[dict[str, Any]]:
        """The events of the start as they come, until it is ready. Raises SmokeFailure if it fails."""
        path = f"/hub/api/users/{self.name}/server/progress"
        with self.http.stream("GET", path, timeout=300) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: "):
                    continue
                event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                yield event
                if event.get("failed"):
                    raise SmokeFailure(f"the server did not start: {event['message']}")
                if event.get("ready"):
                    return
        raise SmokeFailure("the progress of the start ended without an outcome")

    def stop(self) -> None:
        """Stops the server, and returns when the hub reports that it is gone."""
        headers = {"X-XSRFToken": self._xsrf()}
        path = f"/hub/api/users/{self.name}/server"
        answer = self.http.delete(path, headers=headers)
        if answer.status_code not in (202, 204):
            raise SmokeFailure(f"stopping the server was answered with {answer.status_code}: {answer.text}")
        deadline = time.monotonic() + 60
        while self.has_server():
            if time.monotonic() > deadline:
                raise SmokeFailure("the server was still there a minute after it was stopped")
            time.sleep(0.1)

    def shut_down(self) -> None:
        """Asks the server itself to end, as "Shut Down" in JupyterLab's menu does."""
        self.http.get(f"/user/{self.name}/lab").raise_for_status()
        headers = {"X-XSRFToken": self._xsrf(f"/user/{self.name}")}
        self.http.post(f"/user/{self.name}/api/shutdown", headers=headers).raise_for_status()

    def has_server(self) -> bool:
        """Whether a server of this user runs, or is starting or stopping."""
        user = self.http.get(f"/hub/api/users/{self.name}").raise_for_status().json()
        return any(server["ready"] or server["pending"] for server in user["servers"].values())

    def kernel(self, name: str = "") -> "Kernel":
        """A new kernel in the running server, of this kernelspec or the default one."""
        headers = {"X-XSRFToken": self._xsrf()}
        made = self.http.post(f"/hub/api/users/{self.name}/tokens", headers=headers, json={"note": "kernel"})
        return Kernel(f"{self.url}/user/{self.name}", made.raise_for_status().json()["token"], name)

    def _xsrf(self, path: str = "/hub") -> str:
        cookies = [c for c in self.http.cookies.jar if c.name == "_xsrf" and c.path.startswith(path)]
        return cookies[-1].value or "" if cookies else ""

    def _fields(self, page: httpx.Response) -> dict[str, str]:
        page.raise_for_status()
        fields = _Fields()
        fields.feed(page.text)
        return {**fields.values, "_xsrf": self._xsrf()}


@dataclass(frozen=True)
class Output:
    """What a cell printed, and the PNG images that it displayed."""

    printed: str
    pictures: Sequence[bytes]


class Kernel:
    """Runs cells through the kernel's websocket, as JupyterLab does."""

    def __init__(self, server_url: str, token: str, name: str = "") -> None:
        self.headers = {"Authorization": f"token {token}"}
        wanted = {"name": name} if name else {}
        answer = httpx.post(f"{server_url}/api/kernels", json=wanted, headers=self.headers, timeout=60)
        answer.raise_for_status()
        path = f"{server_url}/api/kernels/{answer.json()['id']}/channels"
        self.channels = re.sub("^http", "ws", path)

    def run(self, code: str, deadline_s: float = CELL_DEADLINE_S) -> str:
        """What a cell prints. Raises SmokeFailure if it raises an error, TimeoutError after the deadline."""
        return self.output(code, deadline_s).printed

    def output(self, code: str, deadline_s: float = CELL_DEADLINE_S) -> Output:
        """All that a cell shows. Raises as `run` does."""
        answers = asyncio.run(asyncio.wait_for(self._run(code), deadline_s))
        shown = [answer["content"].get("data", {}).get("image/png") for answer in answers]
        pictures = [base64.b64decode(picture) for picture in shown if picture]
        return Output("".join(map(printed_by, answers)), pictures)

    async def _run(self, code: str) -> list[dict[str, Any]]:
        socket = await websocket_connect(HTTPRequest(self.channels, headers=self.headers))
        try:
            return await converse(socket, execute_request(code))
        finally:
            socket.close()
            while socket.close_code is None and await socket.read_message() is not None:
                pass  # until the other side has closed too


async def converse(socket: WebSocketClientConnection, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The kernel's answers to a cell, when it has run. Raises SmokeFailure if the connection is closed."""
    await socket.write_message(json.dumps(request))
    answers, missing = [], {"idle", "execute_reply"}
    while missing:
        text = await socket.read_message()
        if text is None:
            raise SmokeFailure("the kernel's websocket was closed")
        answer = json.loads(text)
        if answer["parent_header"].get("msg_id") == request["header"]["msg_id"]:
            refuse_error(answer)
            answers.append(answer)
            missing -= {answer["msg_type"], answer["content"].get("execution_state")}
    return answers


def execute_request(code: str) -> dict[str, Any]:
    """The message that runs a cell, in version 5.4 of Jupyter's protocol."""
    header = {"msg_id": uuid.uuid4().hex, "session": uuid.uuid4().hex, "msg_type": "execute_request"}
    header |= {"username": "", "date": "2000-01-01T00:00:00Z", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    rest = {"parent_header": {}, "metadata": {}, "buffers": [], "channel": "shell"}
    return {"header": header, "content": content, **rest}


def refuse_error(answer: dict[str, Any]) -> None:
    """Raises SmokeFailure if a message of the kernel reports that the cell raised an error."""
    content = answer["content"]
    if answer["msg_type"] == "error":
        raise SmokeFailure(f"a cell raised {content['ename']}: {content['evalue']}")


def printed_by(answer: dict[str, Any]) -> str:
    """The text that a message of the kernel adds to a cell's stdout."""
    content = answer["content"]
    is_stdout = answer["msg_type"] == "stream" and content["name"] == "stdout"
    return str(content["text"]) if is_stdout else ""
