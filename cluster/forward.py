"""Forwards TCP from the host into a cluster: listens in the host's network, connects in the cluster's.

It runs as a separate process with a listening socket as standard input, and moves into the cluster's network
namespace. A socket stays in the namespace where it was created, so the listening socket keeps working.
"""

import asyncio
import ctypes
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .layout import Site
from .processes import Process

CHUNK = 65536
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Listener:
    """An open socket of the host, and the node and port for its connections."""

    socket: socket.socket
    node: str
    port: int


def parse(text: str) -> tuple[str, int, str, int]:
    """(host address, host port, node, port) of `[ADDRESS:]PORT=NODE:PORT`; loopback by default."""
    match = re.fullmatch(r"(?:([0-9.]+):)?(\d{1,5})=([a-z0-9-]+):(\d{1,5})", text)
    if match is None or max(int(match[2]), int(match[4])) > 65535:
        raise ClusterError(f"{text!r} is not of the form [ADDRESS:]PORT=NODE:PORT")
    return match[1] or "127.0.0.1", int(match[2]), match[3], int(match[4])


def listen(text: str) -> Listener:
    """Opens the host's port now, so that a port in use is an error before anything starts."""
    address, port, node, target = parse(text)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(1024)
    except OSError as error:
        raise ClusterError(f"can't publish {node}:{target} on {address}:{port}: {error.strerror}") from error
    return Listener(listening, node, target)


def start(listener: Listener, namespace: Path, site: Site, records: Path) -> None:
    """Starts the forwarding process and records its identity."""
    node = site.node(listener.node)
    if node is None:
        raise ClusterError(f"can't publish a port of {listener.node}: there is no such node")
    argv = [sys.executable, "-m", "cluster.forward", str(namespace), node.address, str(listener.port)]
    log = records.parent / f"forwarder-{listener.node}-{listener.port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=Path(__file__).parent.parent,
            stdin=listener.socket.fileno(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    known = Process.of(process.pid)
    if known is None:
        raise ClusterError(f"the forwarder to {listener.node}:{listener.port} ended at once")
    (records / str(listener.socket.getsockname()[1])).write_text(str(known))
    listener.socket.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies one direction to its end, and then passes the end on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _serve(
    near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter, address: str, port: int
) -> None:
    """Connects one client to the node until both directions have ended or one is broken."""
    writers = [near_writer]
    try:
        far_reader, far_writer = await asyncio.open_connection(address, port)
        writers.append(far_writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(near_reader, far_writer))
            group.create_task(_copy(far_reader, near_writer))
    except* OSError:
        # Broken or refused: the other side gets a reset instead of a clean end.
        for writer in writers:
            writer.transport.abort()
    finally:
        for writer in writers:
            writer.close()


async def _forward(listening: socket.socket, address: str, port: int) -> None:
    # asyncio keeps no reference to a connection that has ended in one direction, nor to its task.
    serving: set[asyncio.Task[None]] = set()

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(reader, writer, address, port))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(on_connection, sock=listening, backlog=1024)
    await server.serve_forever()


def enter_network(namespace: str) -> None:
    """Moves this process into a network namespace; os.setns exists only since Python 3.12."""
    descriptor = os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"entering {namespace}")
    os.close(descriptor)


def main() -> None:
    """`python -m cluster.forward NAMESPACE ADDRESS PORT`, with the listening socket as standard input."""
    namespace, address, port = sys.argv[1:4]
    enter_network(namespace)
    asyncio.run(_forward(socket.socket(fileno=0), address, int(port)))


if __name__ == "__main__":
    main()
