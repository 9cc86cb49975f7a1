"""How a user's own machine reaches a server, and whether others can reach it without its token."""

from __future__ import annotations

import http.client
import socket
import urllib.parse
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from flatirons.job.script import quote
from flatirons.notebook.record import Record
from flatirons.servers.causes import Cause

SECONDS = 5.0
URL_CHARACTERS = "/?#[]@!$&'()*+,;=:%~"
"""Characters that a page's URL keeps as they are; the site may have encoded others already."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens: its node by Slurm's name, and its port; `local` is the tunnel's other end."""

    host: str
    port: int
    local: int

    def ssh_line(self, user: str, login_node: str) -> str:
        """The command that users type on their own machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return quote(["ssh", "-L", f"{self.local}:{host}:{self.port}", f"{user}@{login_node}"])

    def url(self, record: Record) -> str:
        """The URL to open there in a browser, which includes the token."""
        page = urlsplit(urllib.parse.quote(record.page, safe=URL_CHARACTERS))
        query = f"{page.query}&token={record.token}" if page.query else f"token={record.token}"
        return urlunsplit(("http", f"localhost:{self.local}", page.path, query, page.fragment))


def login_node(configured: str | None) -> str:
    """The name by which others reach this machine: the one in the site file, or its own."""
    return configured or socket.getfqdn()


def problem(server: ServerAddress) -> Cause | None:
    """What is wrong with a server that strangers can use, or that this machine can't reach.

    A user's own configuration may turn off the token, which opens the server to everybody on the cluster.
    """
    connection = http.client.HTTPConnection(server.host, server.port, timeout=SECONDS)
    try:
        connection.request("GET", "/api/status")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Cause(
            "unreachable",
            f"This machine can't reach {server.host}:{server.port} ({error}), so the tunnel may not work.",
            "Please tell the operator.",
        )
    finally:
        connection.close()
    return OPEN_TO_ALL if status == 200 else None


OPEN_TO_ALL = Cause(
    "open_to_all",
    "The server didn't require its token, so everybody on the cluster could use it as you. It was stopped.",
    "Look for `token` in the files in ~/.jupyter, and remove the setting.",
)
