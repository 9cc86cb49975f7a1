"""The command `flatirons connect`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence

from flatirons.connect.address import Address
from flatirons.connect.forward import LocalPort
from flatirons.connect.hub import READY, UNKNOWN, Hub, ReachableServer
from flatirons.connect.token_source import VARIABLE, find_token
from flatirons.errors import ConnectError, printable, quoted

ABOUT = f"""\
Open a port of this machine that leads to a running notebook server of a hub, for editors and programs that
don't know about JupyterHub. The page "Connect" of the server shows the URL, and makes tokens. The token is
read from ${VARIABLE} or from a file, or asked for. Ctrl-C ends the connection; the server keeps running."""

SECONDS_BETWEEN_QUESTIONS = 5
"""How often the hub is asked at most what is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares all arguments."""
    parser.description, parser.formatter_class = ABOUT, argparse.RawDescriptionHelpFormatter
    about = "URL of the server, as its page shows it, or of the hub: then the only server that runs"
    parser.add_argument("url", metavar="URL", help=about)
    about = "a file with the token, which only you can read"
    parser.add_argument("--token-file", metavar="FILE", help=about)
    about = "the port of this machine (default: any free one)"
    parser.add_argument("--port", type=_port, default=0, metavar="N", help=about)
    parser.add_argument("--list", action="store_true", help="list the servers that the token reaches")


def main(argv: Sequence[str] | None = None) -> int:
    """The command by itself, without the rest of Flatirons; returns its exit code."""
    parser = argparse.ArgumentParser(prog="flatirons-connect", allow_abbrev=False)
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except ConnectError as error:
        _say(error.user)
        return 2


def run(arguments: argparse.Namespace) -> int:
    """Forwards until Ctrl-C, or lists the servers; raises ConnectError with a sentence for the user."""
    address = Address.parse(arguments.url)
    if address.is_insecure:
        _say(f"{address.base} isn't encrypted: others on the network can read the token.")
    try:
        hub = Hub(address.base, find_token(arguments.token_file, os.environ))
        servers = hub.servers()
        if arguments.list:
            print(_table(servers), end="")
            return 0
        asyncio.run(_forward(hub, _chosen(hub, address, servers), arguments.port))
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


def _chosen(hub: Hub, address: Address, servers: Sequence[ReachableServer]) -> ReachableServer:
    """The server to connect to; raises ConnectError if it isn't clear which, or it can't be used."""
    wanted = [each for each in servers if (each.owner, each.name) == (address.owner, address.name)]
    if not address.owner:
        usable = [each for each in servers if each.state in (READY, UNKNOWN)]
        wanted = usable or list(servers)
    if not servers:
        raise ConnectError("This token reaches no server.")
    if not wanted:
        raise ConnectError(f"This token doesn't reach that server. It reaches:\n{_table(servers)}".rstrip())
    if len(wanted) > 1:
        raise ConnectError(f"Give the URL of one of these servers:\n{_table(wanted)}".rstrip())
    if problem := hub.problem_of(wanted[0]):
        raise ConnectError(problem)
    return wanted[0]


def _table(servers: Sequence[ReachableServer]) -> str:
    """A line for each server: what it is doing, and its URL."""
    return "".join(f"{each.state:<20} {printable(each.url)}\n" for each in servers)


async def _forward(hub: Hub, server: ReachableServer, port: int) -> None:
    diagnosis = Diagnosis(hub, server)
    local = LocalPort(server.url, hub.token, diagnosis.ask)
    try:
        async with local.listening(port):
            _say(f"Until Ctrl-C this leads to {server.title}. Its token is a password for this port alone:")
            print(local.url, flush=True)
            await asyncio.Event().wait()
    except OSError as error:
        raise ConnectError(f"Port {port} of this machine can't be used: {error.strerror}.") from None


class Diagnosis:
    """Finds out why a server can't be used, and says on stderr when the reason changes."""

    def __init__(self, hub: Hub, server: ReachableServer) -> None:
        self._hub, self._server = hub, server
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self.reason = ""

    async def ask(self) -> str:
        """The reason as a sentence, "" for none."""
        async with self._lock:
            if time.monotonic() - self._asked_at < SECONDS_BETWEEN_QUESTIONS:
                return self.reason
            found = await asyncio.to_thread(self._hub.problem_of, self._server)
            self._asked_at = time.monotonic()
            if found != self.reason:
                _say(found or "The server can be used again.")
            self.reason = found
            return found


def _say(sentence: str) -> None:
    print(f"flatirons: {sentence}", file=sys.stderr, flush=True)


def _port(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 1024 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port from 1024 to 65535 is expected, not {quoted(text)}")
    return int(text)
