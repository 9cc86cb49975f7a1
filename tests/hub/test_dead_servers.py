"""A neighbour on the node waits for the port of a server that ends: what does the proxy send there?"""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

# Tries to listen on the port, as fast as it can, for a minute; then writes what it is asked for.
NEIGHBOUR = """
import socket, sys, time
until, port = time.monotonic() + 60, int(sys.argv[1])
while time.monotonic() < until:
    server = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        server.bind(("0.0.0.0", port))
        server.listen()
        server.settimeout(until - time.monotonic())
        while True:
            visitor = server.accept()[0]
            print(visitor.recv(9999), flush=True)
            visitor.close()
    except OSError:
        server.close()
"""
QUIET_S = 30
"""How often the hub looks at the queue when nothing happens."""


class Victim:
    """Alice's server, and her browser, which goes on asking for it."""

    def __init__(self, cluster: RealCluster, alice: Person, server: str = "") -> None:
        self.cluster, self.alice = cluster, alice
        alice.start(server, **SHAS)
        alice.wait_ready(server)
        self.path = f"/user/alice/{server}".rstrip("/")
        found = re.findall(rf"to proxy {self.path}/ => http://(\w+):(\d+)", cluster.hub_log.read_text())
        self.node, self.port = found[-1][0], int(found[-1][1])
        self.token = alice.rest("POST", "/users/alice/tokens", {}).json()["token"]
        self.answers: list[tuple[float, int]] = []
        self._is_over = threading.Event()
        self._browser = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        headers = {"Authorization": f"token {self.token}"}
        with httpx.Client(base_url=self.cluster.hub_url, headers=headers, follow_redirects=True) as http:
            while not self._is_over.is_set():
                answer = http.get(f"{self.path}/api/status")
                self.answers.append((time.monotonic(), answer.status_code))
                time.sleep(0.01)  # as a busy page does

    def __enter__(self) -> Victim:
        begin = 'python3 -c "$0" "$1" >/tmp/heard-$1 2>&1 </dev/null &'
        self.in_node("sh", "-c", begin, NEIGHBOUR, str(self.port), user="bob")
        self._browser.start()
        eventually(lambda: self.answers[-1:] and self.answers[-1][1] == 200)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._browser.join()
        self.in_node("sh", "-c", "kill $(pgrep -u bob)", user="root")

    def in_node(self, *argv: str, user: str = "root") -> str:
        return str(self.cluster.exec(self.node, list(argv), user).stdout)

    def shut_down(self) -> None:
        """What "Shut Down" in JupyterLab's menu does."""
        headers = {"Authorization": f"token {self.token}"}
        answer = httpx.post(f"{self.cluster.hub_url}{self.path}/api/shutdown", headers=headers, timeout=10)
        assert answer.status_code < 300, answer

    def kill(self, *, with_starter: bool) -> None:
        """Kills this server alone, or all of alice's processes on the node at the same moment."""
        mine = f"grep -lzE '^JUPYTERHUB_SERVICE_URL=.*:{self.port}/' /proc/[0-9]*/environ | cut -d/ -f3"
        which = "pgrep -u alice" if with_starter else f"{{ {mine}; }} 2>/dev/null"
        self.in_node("sh", "-c", f"kill -9 $({which})")

    @property
    def heard(self) -> str:
        return self.in_node("cat", f"/tmp/heard-{self.port}")

    def ask_again(self, times: int) -> None:
        """Returns when the browser has had so many more answers."""
        until = len(self.answers) + times
        eventually(lambda: len(self.answers) >= until)

    def seconds_to_the_hubs_page(self) -> float:
        """From now until the hub answers instead of the server, 424, or of the proxy, 503."""
        began = time.monotonic()
        eventually(lambda: self.answers[-1][1] == 424, 2 * QUIET_S)
        return time.monotonic() - began


@pytest.fixture(autouse=True)
def _all_gone(alice: Person, slurm: Slurm) -> Iterator[None]:
    yield
    slurm.end_all("alice")


@pytest.mark.parametrize("how", ["shut down", "kill -9"])
def test_when_a_server_ends_a_neighbour_gets_nothing_and_the_hub_answers_at_once(
    cluster: RealCluster, alice: Person, how: str
) -> None:
    with Victim(cluster, alice) as server:
        if how == "shut down":
            server.shut_down()
        else:
            server.kill(with_starter=False)
        took = server.seconds_to_the_hubs_page()
        server.ask_again(100)
        assert server.heard == ""
    print(f"the hub's page after {took:.2f} s ({how})")
    assert took < 5
    report = eventually(lambda: alice.rest("GET", "/flatirons/report/alice").json()["reports"][:1])[0]
    assert report["was_up"]


def test_when_the_starter_is_killed_with_its_server_the_hub_answers_after_its_next_look(
    cluster: RealCluster, alice: Person
) -> None:
    """Nobody is left who could say so, so it takes as long as the watcher's pace."""
    with Victim(cluster, alice) as server:
        server.kill(with_starter=True)
        took = server.seconds_to_the_hubs_page()
        asked = len(server.heard.splitlines())
        server.ask_again(100)
        assert len(server.heard.splitlines()) == asked, "after that, nothing more"
    print(f"the hub's page after {took:.2f} s, and {asked} requests to the neighbour (all killed)")
    assert took < QUIET_S + 5


def test_a_named_server_that_died_has_its_page_at_once_although_the_default_server_runs(
    cluster: RealCluster, alice: Person
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    with Victim(cluster, alice, "second") as server:
        server.kill(with_starter=False)
        server.seconds_to_the_hubs_page()
        page = alice.http.get("/user/alice/second/lab")
        assert "how it ended" in page.text and "signal 9" in page.text, page.text
        eventually(lambda: not (alice.server("second") or {}).get("pending"))
        page = alice.http.get("/user/alice/second/lab")
        assert page.status_code == 424 and "signal 9" in page.text
        assert server.heard == ""
    assert alice.ask_server("api/status").status_code == 200


# httpx may leave a connection that the proxy closed, when a route changes under a request.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_cancelling_a_named_server_that_waits_leads_to_the_hub_although_the_default_server_runs(
    cluster: RealCluster, alice: Person, slurm: Slurm, full_sknl: int
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    alice.start("second", **{**SHAS, "partition": "sknl", "account": "ucb-knl"})
    eventually(lambda: slurm.jobs("alice", "PD"))
    visitor, other_tab = (Person(cluster.hub_url, "alice").log_in() for _ in range(2))
    pages: list[tuple[int, str]] = []
    events: list[dict[str, Any]] = []

    def look() -> None:
        while (visitor.server("second") or {}).get("pending") or len(pages) < 20:
            page = visitor.http.get("/user/alice/second/lab")
            pages.append((page.status_code, page.url.path))

    threads = [threading.Thread(target=look)]
    threads.append(threading.Thread(target=lambda: events.extend(alice.progress("second"))))
    for thread in threads:
        thread.start()
    assert other_tab.rest("DELETE", alice.path("second")).status_code in (202, 204)
    for thread in threads:
        thread.join()
    visitor.http.close()
    other_tab.http.close()
    gc.collect()
    assert events[-1].get("failed") and not any(event.get("ready") for event in events)
    assert {status for status, _ in pages} <= {200, 424}, pages
    assert all(path.startswith("/hub/") for _, path in pages), pages
