"""The three calls of a starter, to the hub or, without a hub, to a file in the user's home.

boot   {job_id, code, key} -> {environment, prefix, tls}. The code works once. `key` is a secret that the
       starter makes; it proves its identity in later calls. A boot that is repeated with the same key is the
       same use of the code, so a lost answer does no harm.
ready  {port}, once the server listens on that port.
end    {exit_code, signal, kind, values, message, log}, when the server has ended. `kind` and `values` are of
       kinds.py; `message` is for people who read the raw call; `log` holds the last lines of the output.

A call is repeated while the hub can't be reached, as it may be restarting. A refusal is final. Status 404 is
not a refusal: a proxy that was just restarted answers so until it has its route to the hub.
"""

import http.client
import json
import os
import time
from typing import Any, Dict, Tuple  # the node's Python may be 3.6

REFUSALS = (400, 401, 403, 409, 413)
NOT_WANTED = 77  # exit code of a job whose boot was refused (EX_NOPERM); the job has no other way to say so


class Refused(Exception):
    """The hub refused a call: it doesn't expect this job, or no longer does."""


class Unreachable(Exception):
    """The hub didn't answer in time."""


class HubApi:
    """The calls to the hub at `address`, the URL of its API."""

    def __init__(self, url: str, key: str) -> None:
        self.address = url.rstrip("/")
        self.key = key
        scheme, _, rest = self.address.partition("://")
        self.place, slash, path = rest.partition("/")
        self.path = slash + path
        self.connection = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection

    def post(self, name: str, body: Dict[str, Any], deadline: float) -> Any:
        """The hub's answer to POST flatirons/NAME.

        `deadline` is in seconds and includes repeats. Raises Refused, or Unreachable at the deadline.
        """
        last, pause = time.monotonic() + deadline, 0.1
        while True:
            try:
                status, text = self.send(name, json.dumps(body).encode())
                if status in REFUSALS:
                    raise Refused(f"the hub refused {name}: {status}")
                if status < 300:
                    return json.loads(text.decode() or "null")
                problem = f"it answered {status}"  # a proxy's page, or a hub that is still starting
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = str(error)  # the hub is down, or was killed in the middle of its answer
            if time.monotonic() + pause > last:
                raise Unreachable(f"the hub at {self.address} can't be reached: {problem}")
            time.sleep(pause)  # there is no event to wait for: the hub is down
            pause = min(pause * 2, 5)

    def send(self, name: str, body: bytes) -> Tuple[int, bytes]:
        """(status, text) of one attempt. It ignores the proxy that the job's environment may name."""
        connection = self.connection(self.place, timeout=30)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + self.key}
        try:
            connection.request("POST", f"{self.path}/flatirons/{name}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class RecordFile:
    """The same calls without a hub, to the file at `address` (notebook/record.py), which may begin with ~.

    The first line of the file holds the answer to boot. Each call adds a line. The server is wanted as long
    as the file exists.
    """

    def __init__(self, path: str, key: str) -> None:
        self.address = os.path.expanduser(path)
        self.key = key

    def post(self, name: str, body: Dict[str, Any], _deadline: float) -> Any:
        """The answer to boot, None for other calls; raises Refused, or Unreachable for a full home."""
        line = json.dumps({"call": name, **body}) + "\n"
        try:
            with open(self.address) as record:
                lines = record.readlines()
            if name == "boot" and len(lines) > 1:
                raise Refused("this job was started once before, and its server is gone")
            # without O_CREAT: a record that was removed must stay removed
            with open(os.open(self.address, os.O_WRONLY | os.O_APPEND), "w") as record:
                record.write(line)
            return json.loads(lines[0])["answer"] if name == "boot" else None
        except FileNotFoundError:
            raise Refused(f"{self.address} doesn't exist: the server isn't wanted any more") from None
        except (OSError, ValueError, LookupError) as error:
            raise Unreachable(f"{self.address} can't be used: {error}") from None
