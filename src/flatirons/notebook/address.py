"""How a user's own machine reaches a server, and whether it can be reached only as it should be."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass

from flatirons.notebook.record import Record
from flatirons.servers.causes import Cause

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A server that listens: its node, as Slurm names it, and its port; `local` is the tunnel's other end."""

    host: str
    port: int
    local: int

    def ssh_line(self, user: str, login_node: str) -> str:
        """What to type on one's own machine."""
        return f"ssh -L {self.local}:{self.host}:{self.port} {user}@{login_node}"

    def url(self, record: Record) -> str:
        """What to open there in a browser; it holds the token."""
        return f"http://localhost:{self.local}{record.page}?token={record.token}"


def login_node(said: str | None) -> str:
    """The name by which others reach this machine: the site's, or its own."""
    return said or socket.getfqdn()


def trouble(place: Place) -> Cause | None:
    """What is wrong with a server that strangers may use, or that can't be reached from here.

    A server whose user's own configuration turns its token off would be open to everybody on the cluster.
    """
    connection = http.client.HTTPConnection(place.host, place.port, timeout=SECONDS)
    try:
        connection.request("GET", "/api/status")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Cause(
            "unreachable",
            f"This machine can't reach {place.host}:{place.port} ({error}), so the tunnel may not work.",
            "Please tell the operator.",
        )
    finally:
        connection.close()
    return OPEN_TO_ALL if status == 200 else None


OPEN_TO_ALL = Cause(
    "open_to_all",
    "The server asks nobody for its token, so everybody on the cluster could use it as you: it is ended.",
    "Look for `token` in the files in ~/.jupyter, and take it out.",
)
