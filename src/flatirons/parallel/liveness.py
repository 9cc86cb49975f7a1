"""A port that tells jobs on other nodes whether this process still lives.

Such a job connects, sends the port's key and a line feed, reads `ok`, and then waits. The operating system
closes the connection when this process ends, for whatever reason, and then the job ends too. Whoever sends no
key is a stranger and is dropped: so nobody else can use up the connections that the port can hold.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import selectors
import socket
import threading
import time
import weakref
from pathlib import Path

from flatirons.files import write_atomically

BACKLOG = 512  # connections that the kernel keeps until this process takes them
KEY_SECONDS = 5.0  # from the connection to its key
MOST_STRANGERS = 128  # connections without a key at one time; one more, and the oldest is dropped
_ACCEPTED_AT_ONCE = 32  # before those that were accepted are looked at again
_PAUSE = 0.1  # seconds, when this process can open no more files

# For a job's script: $1 is the address, $2 the port, $3 the file with the key. Afterwards descriptor 3 is the
# connection, which ends with the process that listens. A shared file system may show the file late.
CONNECT = """\
for _ in {1..300}; do
    if ! true 2>/dev/null <>"/dev/tcp/$1/$2"; then
        echo "Nothing listens at $1 port $2: the notebook has ended, or this node can't reach it." >&2
        exit 1
    fi
    [ ! -s "$3" ] || break
    sleep 0.2
done
read -r key <"$3" || exit
trap '' PIPE
for _ in {1..5}; do # while strangers keep the port busy, it may drop this connection as one of theirs
    exec 3<>"/dev/tcp/$1/$2" || exit
    ! printf '%s\\n' "$key" 2>/dev/null >&3 || ! read -r -t 60 -u 3 answer 2>/dev/null || break
    sleep 1
done
if [ "$answer" != ok ]; then
    echo "The notebook at $1 port $2 doesn't know this job: it has ended." >&2
    exit 1
fi
trap - PIPE
unset -v key answer"""


class LivenessPort:
    """Listens when it is made, and answers from `start` on, until `close` or the end of this process.

    Raises OSError when nothing can listen there. Children that are forked keep no connection open.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        self.key = secrets.token_hex(32)
        self._listener = socket.create_server((host, port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.host, self.port = self._listener.getsockname()[:2]
        self._closing, self._close = socket.socketpair()
        self._strangers: dict[socket.socket, float] = {}  # -> when its time for a key is over, oldest first
        self._said: dict[socket.socket, bytes] = {}
        self._known: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        for each in (self._listener, self._closing):
            self._selector.register(each, selectors.EVENT_READ, each)
        self._thread = threading.Thread(target=self._serve, name=f"liveness port {self.port}", daemon=True)
        _OPEN.add(self)

    def write_key(self, file: Path) -> None:
        """Writes the key into a private file, for the jobs that may connect. Raises OSError."""
        write_atomically(file, f"{self.key}\n")

    def start(self) -> None:
        """Starts to answer, in a thread. Call it once; not before a fork whose child goes on."""
        self._thread.start()

    def close(self) -> None:
        """Closes the port and all its connections. A second call changes nothing."""
        with contextlib.suppress(OSError):
            self._close.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        self.close_files()

    def close_files(self) -> None:
        """Closes what a forked child inherits: the parent's connections stay open."""
        for each in (self._listener, self._closing, self._close, *self._strangers, *self._known):
            each.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.data is self._closing:
                    return
                if key.data is self._listener:
                    self._accept()
                else:
                    self._read(key.data)
            now = time.monotonic()
            for each in [each for each, last in self._strangers.items() if last <= now]:
                self._drop(each)

    def _patience(self) -> float | None:
        """Seconds until the first stranger's time is over."""
        first = next(iter(self._strangers.values()), None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it was closed before it was accepted
            except OSError:  # no descriptor is free
                self._make_room()
                return
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, connection)
            self._strangers[connection] = time.monotonic() + KEY_SECONDS
            if len(self._strangers) > MOST_STRANGERS:
                self._drop_unless_known(next(iter(self._strangers)))

    def _make_room(self) -> None:
        if not self._strangers:
            time.sleep(_PAUSE)  # others of this process hold the descriptors; the kernel has no event for one
        for each in list(self._strangers):
            self._drop_unless_known(each)

    def _drop_unless_known(self, connection: socket.socket) -> None:
        self._read(connection)  # its key may have arrived in the meantime
        if connection in self._strangers:
            self._drop(connection)

    def _read(self, connection: socket.socket) -> None:
        if connection.fileno() < 0:
            return  # dropped since `select`
        wanted = f"{self.key}\n".encode()
        try:
            text = connection.recv(len(wanted))
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self._drop(connection)
        elif connection in self._strangers:
            said = self._said.pop(connection, b"") + text
            if hmac.compare_digest(said, wanted):
                self._admit(connection)
            elif len(said) < len(wanted):  # it may be in two packets; no answer shows which part is right
                self._said[connection] = said
            else:
                self._drop(connection)

    def _admit(self, connection: socket.socket) -> None:
        del self._strangers[connection]
        self._known.add(connection)
        with contextlib.suppress(OSError):  # its end will be read
            connection.send(b"ok\n")

    def _drop(self, connection: socket.socket) -> None:
        self._strangers.pop(connection, None)
        self._said.pop(connection, None)
        self._known.discard(connection)
        self._selector.unregister(connection)
        connection.close()


_OPEN: weakref.WeakSet[LivenessPort] = weakref.WeakSet()


def _close_in_child() -> None:
    for each in list(_OPEN):
        each.close_files()


os.register_at_fork(after_in_child=_close_in_child)
