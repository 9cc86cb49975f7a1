"""The calls of a starter, to the hub or, without a hub, to a file in the user's home.

boot   {job_id, code, key} -> {environment, prefix, tls}. The code works once. `key` is a secret that the
       starter makes; it proves its identity in later calls. A boot that is repeated with the same key is the
       same use of the code, so a lost answer does no harm.
ready  {port}, once the server listens on that port.
usage  {memory_mib}, while it runs: see usage.py.
end    {exit_code, signal, kind, values, message, log}, when the server has ended. `kind` and `values` are of
       kinds.py; `message` is for people who read the raw call; `log` holds the last lines of the output.

A call is repeated while the hub can't be reached, as it may be restarting. A refusal is final. Status 404 is
not a refusal: a proxy that was just restarted answers so until it has its route to the hub.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from flatirons.job.node.http import post
from flatirons.job.node.json_text import as_json, read_json

if TYPE_CHECKING:
    from typing import Any

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
        self.headers = {"Content-Type": "application/json", "Authorization": "Bearer " + key}
        self.key = key

    def post(self, name: str, body: dict[str, Any], deadline: float) -> Any:
        """The hub's answer to POST flatirons/NAME.

        `deadline` is in seconds and includes repeats. Raises Refused, or Unreachable at the deadline.
        """
        last, pause = time.monotonic() + deadline, 0.1
        while True:
            try:
                status, text = post(f"{self.address}/flatirons/{name}", self.headers, as_json(body).encode())
                if status in REFUSALS:
                    raise Refused(f"the hub refused {name}: {status}")
                if status < 300:
                    return read_json(text.decode() or "null")
                problem = f"it answered {status}"  # a proxy's page, or a hub that is still starting
            except (OSError, ValueError, LookupError) as error:
                problem = str(error)  # the hub is down, or was killed in the middle of its answer
            if time.monotonic() + pause > last:
                raise Unreachable(f"the hub at {self.address} can't be reached: {problem}")
            time.sleep(pause)  # there is no event to wait for: the hub is down
            pause = min(pause * 2, 5)


class RecordFile:
    """The same calls without a hub, to the file at `address` (notebook/record.py), which may begin with ~.

    The first line of the file holds the answer to boot. Each call adds a line. The server is wanted as long
    as the file exists.
    """

    def __init__(self, path: str, key: str) -> None:
        self.address = os.path.expanduser(path)
        self.key = key

    def post(self, name: str, body: dict[str, Any], _deadline: float) -> Any:
        """The answer to boot, None for other calls; raises Refused, or Unreachable for a full home."""
        line = as_json({"call": name, **body}) + "\n"
        try:
            with open(self.address) as record:
                lines = record.readlines()
            if name == "boot" and len(lines) > 1:
                raise Refused("this job was started once before, and its server is gone")
            # without O_CREAT: a record that was removed must stay removed
            with open(os.open(self.address, os.O_WRONLY | os.O_APPEND), "w") as record:
                record.write(line)
            return read_json(lines[0])["answer"] if name == "boot" else None
        except FileNotFoundError:
            raise Refused(f"{self.address} doesn't exist: the server isn't wanted any more") from None
        except (OSError, ValueError, LookupError) as error:
            raise Unreachable(f"{self.address} can't be used: {error}") from None
