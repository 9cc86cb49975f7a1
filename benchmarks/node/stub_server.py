#!/usr/bin/python3 -IS
"""The stub of a notebook server: answers anything with 200, so that what starts it is measured, and not it.

Runs on the nodes, as batchspawner's wrapper and as everybody's server; standard library, few imports. With a
port in JUPYTERHUB_SERVICE_URL it listens there; without one, as batchspawner and the benchmark's own loop
have it, it takes a free port and posts it to JUPYTERHUB_API_URL/batchspawner. Its answer says when the job's
script (under srun: the step) began, in seconds since the machine's boot.
"""

import os
import socket


def status(pid):
    """The name, the parent and the start in clock ticks of a process; see proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat") as file:
        name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
    fields = fields.split()
    return name, int(fields[1]), int(fields[19])


def began():
    """When the process began that Slurm started and that we are, or come from."""
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
    """Tells the hub the port, as batchspawner's wrapper does."""
    url, token = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]
    host, _, path = url.split("://", 1)[1].partition("/")
    name, _, at = host.partition(":")
    body = f'{{"port": {port}}}'
    head = f"POST /{path}/batchspawner HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((name, int(at or 80)), 60) as hub:
        hub.sendall((head + body).encode())
        hub.recv(64)


def main():
    """Listens, reports where that is asked for, answers for ever."""
    netloc = os.environ.get("JUPYTERHUB_SERVICE_URL", "://:0").split("://", 1)[1].partition("/")[0]
    port = int(netloc.rpartition(":")[2] or 0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(1024)  # the floor has one stub for all
    if not port:
        report(listener.getsockname()[1])
    body = f'{{"began": {began()}}}'
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    while True:
        peer, _ = listener.accept()
        peer.settimeout(5)
        try:
            if peer.recv(65536):
                peer.sendall(answer)
        except OSError:
            pass
        peer.close()


main()
