#!/usr/bin/python3 -IS
"""A stub in place of a notebook server: answers every request with 200 and takes almost no time to start.

Runs on the nodes, as every subject's server and in place of batchspawner's wrapper. It imports little, from
the standard library only. If JUPYTERHUB_SERVICE_URL has a port, it listens there. If not, as with
batchspawner and the benchmark's own loop, it takes a free port and posts it to
JUPYTERHUB_API_URL/batchspawner. Its answer says when the job's script (under srun: the step) began, in
seconds since the machine's boot.
"""

import os
import select
import socket


def status(pid):
    """(name, parent, start in clock ticks) of a process; see proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat") as file:
        name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
    fields = fields.split()
    return name, int(fields[1]), int(fields[19])


def began():
    """When the process that Slurm started began: this process or an ancestor."""
    pid = os.getpid()
    while True:
        _, parent, ticks = status(pid)
        try:
            is_first = not parent or status(parent)[0].startswith("slurmstepd")
        except OSError:
            is_first = True
        if is_first:
            return ticks / os.sysconf("SC_CLK_TCK")
        pid = parent


def report(port):
    """Posts the port to the hub, as batchspawner's wrapper does."""
    url, token = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]
    host, _, path = url.split("://", 1)[1].partition("/")
    name, _, at = host.partition(":")
    body = f'{{"port": {port}}}'
    head = f"POST /{path}/batchspawner HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((name, int(at or 80)), 60) as hub:
        hub.sendall((head + body).encode())
        hub.recv(64)


def serve(peer, answer):
    """Answers a request, or the end of the connection."""
    try:
        if peer.recv(65536):
            peer.sendall(answer)
    except OSError:
        pass
    peer.close()


def main():
    """Listens, reports the port where none was given, and answers until it is killed."""
    netloc = os.environ.get("JUPYTERHUB_SERVICE_URL", "://:0").split("://", 1)[1].partition("/")[0]
    port = int(netloc.rpartition(":")[2] or 0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(1024)  # on the floor, one stub is every server
    if not port:
        report(listener.getsockname()[1])
    body = f'{{"began": {began()}}}'
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    # One that asks nothing, such as the hub's connection to each server, must not hold up the others.
    watched = select.poll()
    watched.register(listener, select.POLLIN)
    peers = {}
    while True:
        for descriptor, _ in watched.poll():
            if descriptor == listener.fileno():
                peer, _ = listener.accept()
                peers[peer.fileno()] = peer
                watched.register(peer, select.POLLIN)
            else:
                watched.unregister(descriptor)
                serve(peers.pop(descriptor), answer)


main()
