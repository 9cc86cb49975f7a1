"""Process 1 of a node: sets its name and address, starts its daemons in order, reaps, answers requests.

Reads a JSON file: hostname, address (with prefix), network, directories [[path, uid, gid]], daemons. A daemon
has name, argv, env, needs (conditions, see `is_met`), and `once` (a command that runs to its end).
`scripts/cluster` sends requests over /run/flatirons/control, which only root can reach: one JSON object per
line, {"do": "status" | "signal" | "start"}. A daemon that ended isn't restarted: a fault stays until it is
mended. Standard library only.
"""

import glob
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any

SHARED = "/run/flatirons"
POLL_S = 0.02


def is_listening(port: int) -> bool:
    """Whether a process in this node listens on the TCP port, by the kernel's tables."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def is_reachable(host: str, port: int) -> bool:
    """Whether a TCP connection to another node succeeds now."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def is_met(need: str) -> bool:
    """Whether `path:PATTERN` matches a file, `port:N` has a listener, `host:NAME:N` accepts connections."""
    kind, _, rest = need.partition(":")
    if kind == "path":
        return bool(glob.glob(rest))
    if kind == "port":
        return is_listening(int(rest))
    host, _, port = rest.rpartition(":")
    return is_reachable(host, int(port))


class Daemon:
    """One daemon, or command that runs once, of the node."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.pid = 0
        self.is_wanted = True
        self.ended: int | None = None

    def start(self) -> None:
        """Starts it in a new session, with its output in its log."""
        self.is_wanted, self.ended = False, None
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            log = os.open(f"{SHARED}/log/{self.plan['name']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execvpe(self.plan["argv"][0], self.plan["argv"], {**os.environ, **self.plan["env"]})
        except OSError as error:
            os.write(2, f"{self.plan['argv'][0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def status(self) -> dict[str, Any]:
        """The daemon's part of the answer to a request."""
        return {
            "pid": self.pid,
            "wanted": self.is_wanted,
            "ended": self.ended,
            "once": self.plan.get("once", False),
        }


class Init:
    """The node's daemons, and the socket for requests."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.daemons = {each["name"]: Daemon(each) for each in plan["daemons"]}
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(f"{SHARED}/control")
        self.control.listen(16)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.control, selectors.EVENT_READ)
        # The end of a child wakes the selector.
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.woken = reading
        self.selector.register(reading, selectors.EVENT_READ)

    def reap(self) -> None:
        """Collects every child that has ended, including orphans of other processes."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for daemon in self.daemons.values():
                if daemon.pid == pid:
                    daemon.pid, daemon.ended = 0, os.waitstatus_to_exitcode(status)

    def is_ready(self, daemon: Daemon) -> bool:
        """Whether all its conditions hold; `once:NAME` means that this command of the node succeeded."""
        for need in daemon.plan["needs"]:
            kind, _, name = need.partition(":")
            if self.daemons[name].ended != 0 if kind == "once" else not is_met(need):
                return False
        return True

    def start_wanted(self) -> bool:
        """Starts the daemons that are wanted and ready; returns whether others still wait."""
        for daemon in self.daemons.values():
            if daemon.is_wanted and self.is_ready(daemon):
                daemon.start()
        return any(daemon.is_wanted for daemon in self.daemons.values())

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handles a request; the answer always has the state of every daemon."""
        daemon = self.daemons.get(request.get("daemon", ""))
        if request["do"] == "signal" and daemon and daemon.pid:
            os.kill(daemon.pid, request["signal"])
        if request["do"] == "start" and daemon and not daemon.pid:
            daemon.is_wanted = True
        return {name: each.status() for name, each in self.daemons.items()}

    def answer(self) -> None:
        """Reads one request from the socket and answers it."""
        connection, _ = self.control.accept()
        with connection:
            connection.settimeout(10)
            try:
                request = json.loads(connection.makefile().readline())
                connection.sendall(json.dumps(self.handle(request)).encode() + b"\n")
            except (OSError, ValueError) as error:
                print(f"a request failed: {error}", flush=True)

    def run(self) -> None:
        """Runs until it is killed, which ends the node."""
        while True:
            is_waiting = self.start_wanted()
            for key, _ in self.selector.select(POLL_S if is_waiting else None):
                if key.fd == self.woken:
                    os.read(self.woken, 4096)
                else:
                    self.answer()
            self.reap()


def configure_network(plan: dict[str, Any]) -> None:
    """Configures lo and eth0, once eth0 has been put into this node's namespace."""
    until = time.monotonic() + 10
    while not os.path.exists("/sys/class/net/eth0"):
        if time.monotonic() > until:
            sys.exit("eth0 did not appear within 10 s")
        time.sleep(0.005)
    address, network = plan["address"].partition("/")[0], plan["network"]
    # Slurm 22.05 writes each message in two parts: with delayed acknowledgements, each would take 40 ms.
    commands = f"""\
link set lo up
address add {plan["address"]} dev eth0
link set eth0 up
route replace local {address} dev eth0 table local proto kernel scope host src {address} quickack 1
route replace {network} dev eth0 proto kernel scope link src {address} quickack 1
"""
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)


def make_directories(plan: dict[str, Any]) -> None:
    """Creates the directories that the daemons need, mostly in /run, which is empty at every start."""
    for path, uid, gid in plan["directories"]:
        os.makedirs(path, exist_ok=True)
        os.chown(path, uid, gid)


def main() -> None:
    """Sets the node up and runs its init."""
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    os.umask(0o022)
    socket.sethostname(plan["hostname"])
    make_directories(plan)
    configure_network(plan)
    Init(plan).run()


if __name__ == "__main__":
    main()
