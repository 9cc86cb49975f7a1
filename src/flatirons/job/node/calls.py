"""The calls of a starter: to the hub, or where there is none, to a file of the user's.

boot   {job_id, code, key} -> {environment, prefix, tls}; the code works once. `key` is a secret made by the
       starter, with which it proves itself afterwards. Repeating boot with the same key is the same use of
       the code, so an answer lost on the way does no harm.
ready  {port}, once the server that was started listens there;
end    {exit_code, signal, message, log}, when it ended. `log` holds the last lines of its output.

All of them are repeated while the hub can't be reached (it may be restarting); a refusal is final. A
404 is none: it is what a proxy says that was restarted and doesn't know the way to the hub yet.
"""

import http.client
import json
import os
import time
from typing import Any, Dict, Tuple  # the node's Python may be 3.6

REFUSALS = (400, 401, 403, 409, 413)
NOT_WANTED = 77  # the exit code of a job whose boot was refused (EX_NOPERM): all that can be said of it


class Refused(Exception):
    """The hub said no: this job is not, or no longer, wanted."""


class Unreachable(Exception):
    """The hub didn't answer in time."""


class Hub:
    """The three calls to the hub; `deadline` is in seconds for one call, repeats included."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key
        scheme, _, rest = self.url.partition("://")
        self.place, slash, path = rest.partition("/")
        self.path = slash + path
        self.connection = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection

    def post(self, name: str, body: Dict[str, Any], deadline: float) -> Any:
        """The hub's answer to POST flatirons/NAME; raises Refused, or Unreachable at the deadline."""
        last, pause = time.monotonic() + deadline, 0.1
        while True:
            try:
                status, text = self.send(name, json.dumps(body).encode())
                if status in REFUSALS:
                    raise Refused(f"the hub refused {name}: {status}")
                if status < 300:
                    return json.loads(text.decode() or "null")
                problem = f"it answered {status}"  # a proxy's page, or a hub that isn't itself yet
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = str(error)  # away, or killed in the middle of its answer
            if time.monotonic() + pause > last:
                raise Unreachable(f"the hub at {self.url} can't be reached: {problem}")
            time.sleep(pause)  # between attempts at a hub that is away; there is nothing to wait on
            pause = min(pause * 2, 5)

    def send(self, name: str, body: bytes) -> Tuple[int, bytes]:
        """(status, text) of one attempt; straight to the hub, whatever proxy the job's environment names."""
        connection = self.connection(self.place, timeout=30)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + self.key}
        try:
            connection.request("POST", f"{self.path}/flatirons/{name}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Record:
    """The same three calls where there is no hub, only a file of the user's (notebook/record.py).

    Its first line holds the answer to boot; each call is added to it as a line. As long as it is there the
    server is wanted. `path` may begin with ~.
    """

    def __init__(self, path: str, key: str) -> None:
        self.path = os.path.expanduser(path)
        self.key = key

    def post(self, name: str, body: Dict[str, Any], _deadline: float) -> Any:
        """The answer to boot, None to another call; raises Refused, or Unreachable for a full home."""
        line = json.dumps({"call": name, **body}) + "\n"
        try:
            with open(self.path) as record:
                lines = record.readlines()
            if name == "boot" and len(lines) > 1:
                raise Refused("this job was started once before, and its server is gone")
            with open(os.open(self.path, os.O_WRONLY | os.O_APPEND), "w") as record:  # never makes the file
                record.write(line)
            return json.loads(lines[0])["answer"] if name == "boot" else None
        except FileNotFoundError:
            raise Refused(f"there is no {self.path} here: the server isn't wanted any more") from None
        except (OSError, ValueError, LookupError) as error:
            raise Unreachable(f"{self.path} can't be used: {error}") from None
