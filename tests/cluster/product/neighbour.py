"""What somebody with an account on the node tries: run as another user in the image, prints JSON.

`neighbour.py hear SECONDS ADDRESS...` subscribes to all ports that listen on this node (which /proc shows to
everybody), or at these addresses, and prints what it hears. `neighbour.py hold SECONDS N HOST PORT` keeps
connections open and says nothing there. `neighbour.py look` prints which private directories of other users'
jobs it can enter.
"""

import glob
import json
import os
import socket
import sys
import time


def listening():
    """(address, port) of all TCP sockets of this node that listen. Source: proc_net(5)."""
    with open("/proc/net/tcp") as lines:
        rows = [line.split() for line in list(lines)[1:]]
    for row in rows:
        if row[3] == "0A":
            address, port = row[1].split(":")
            host = socket.inet_ntoa(bytes.fromhex(address)[::-1])
            yield ("127.0.0.1" if host == "0.0.0.0" else host), int(port, 16)


def hear(seconds, places):
    """What a subscriber to all these places hears."""
    import zmq

    subscriber = zmq.Context.instance().socket(zmq.SUB)
    subscriber.subscribe(b"")
    for host, port in places:
        subscriber.connect(f"tcp://{host}:{port}")
    print(json.dumps(len(places)), flush=True)
    heard, last = [], time.monotonic() + seconds
    while (left := last - time.monotonic()) > 0:
        if subscriber.poll(left * 1000):
            heard.append(b" ".join(subscriber.recv_multipart()).decode(errors="replace"))
    print(json.dumps(heard), flush=True)


def hold(seconds, count, host, port):
    """Keeps so many silent connections open, and opens new ones for those that are dropped."""
    held, opened, last = [], 0, time.monotonic() + seconds
    while time.monotonic() < last:
        while len(held) < count:
            try:
                connection = socket.create_connection((host, port), timeout=1)
            except OSError:  # the other side takes no more now
                break
            connection.setblocking(False)
            held.append(connection)
            opened += 1
        time.sleep(0.5)
        held = [each for each in held if not is_dropped(each)]
    print(json.dumps(opened), flush=True)


def is_dropped(connection):
    """Whether the other side has closed the connection."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def look():
    """What can be listed or entered of other users' private directories."""
    found = {}
    for place in glob.glob("/tmp/flatirons-*"):
        if os.stat(place).st_uid != os.getuid():
            found[place] = os.access(place, os.R_OK) or os.access(place, os.X_OK)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "hear":
        given = [tuple(each.rsplit(":", 1)) for each in rest[1:]]
        hear(float(rest[0]), given or sorted(set(listening())))
    elif what == "hold":
        hold(float(rest[0]), int(rest[1]), rest[2], int(rest[3]))
    else:
        look()
