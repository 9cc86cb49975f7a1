"""SlurmSpawner from a plain jupyterhub_config.py: the manual's own, with the demo's addresses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster.layout import HUB, HUB_ACCOUNT
from cluster.processes import children
from tests.person import Person
from tests.repository import REPO
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

MANUAL = REPO / "docs" / "how-to" / "plain-jupyterhub.md"
PATH = "PATH=/opt/flatirons/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATE = "/var/lib/jupyterhub/plain"
PAM = "c.Authenticator.allow_all = True\nc.PAMAuthenticator.service = 'sshd'"
# text in the manual -> its replacement for the virtual cluster
HERE = {
    "http://0.0.0.0:8081": "http://hub:8081",
    "http://hub.cluster.example.org:8081": "http://hub:8081",
    "/etc/jupyterhub/proxy_token": "/var/lib/flatirons/proxy_token",
    "/var/lib/jupyterhub/": f"{STATE}/",
    "c.Authenticator.allow_all = True": PAM,
}


def block(language: str) -> str:
    """The first block of a language in the manual."""
    found = re.search(rf"^```{language}\n(.*?)^```$", MANUAL.read_text(encoding="utf-8"), re.M | re.S)
    assert found
    return found[1]


def configuration() -> str:
    """The manual's configuration, for the virtual cluster."""
    text = block("python")
    for there, here in HERE.items():
        assert there in text
        text = text.replace(there, here)
    return text


class PlainHub:
    """A hub with the manual's configuration, in the hub node, with the demo's proxy."""

    account = HUB_ACCOUNT.name
    environment: tuple[str, ...] = ()

    def __init__(self, demo: Any) -> None:
        self.demo = demo
        self.log = demo.own / "plain.log"
        (demo.etc / "plain.py").write_text(configuration())
        made = demo.exec(HUB, ["install", "-d", "-m", "700", STATE], HUB_ACCOUNT.name)
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """Returns when it answers; fails the test with its log when it ended."""
        argv = [*self.demo.enter(HUB, self.account), PATH, *self.environment]
        argv += ["/opt/flatirons/bin/jupyterhub", "-f", "/etc/flatirons/plain.py"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        eventually(lambda: self.process.poll() is not None or self.demo.is_healthy(), 60)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """Ends it with SIGTERM, if it runs."""
        for pid in children(self.process.pid) if self.process.poll() is None else ():
            os.kill(pid, signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def running(cluster: Any, hub: PlainHub) -> Iterator[PlainHub]:
    """The hub, in place of the demo's own, which runs again afterwards."""
    cluster.stop_hub()
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()
        cluster.start_hub()


@pytest.fixture(scope="module")
def plain_hub(cluster: Any) -> Iterator[PlainHub]:
    """The hub of the manual."""
    with running(cluster, PlainHub(cluster.demo)) as hub:
        yield hub


@pytest.fixture
def alice(cluster: Any, plain_hub: PlainHub) -> Iterator[Person]:
    """Alice at the plain hub; her server is stopped afterwards."""
    person = Person(cluster.hub_url, "alice").log_in()
    yield person
    person.stop()
    person.http.close()


def test_a_server_starts_by_rest_and_runs_as_a_job_of_its_user(cluster: Any, alice: Person) -> None:
    assert alice.start(partition="shas", account="ucb-general", cpus=2).status_code in (201, 202)
    alice.wait_ready()
    assert alice.ask_server("api/status").status_code == 200
    assert jobs(cluster).split() == ["jupyter", "shas", "ucb-general", "2", "1:00:00"]
    alice.stop()
    eventually(lambda: jobs(cluster) == "")


def test_a_server_starts_by_the_form(cluster: Any, alice: Person) -> None:
    page = alice.form()
    assert 'name="partition"' in page.text and 'name="cluster"' not in page.text, "one cluster is no choice"
    answer = alice.post_form(partition="shas", runtime="5m")
    assert answer.status_code == 302, answer.text
    alice.wait_ready()
    assert jobs(cluster).split()[-1] == "5:00"
    assert alice.ask_server("api/status").status_code == 200


def test_a_server_outlives_the_hub(cluster: Any, alice: Person, plain_hub: PlainHub) -> None:
    alice.start(partition="shas")
    started = alice.wait_ready()["started"]
    plain_hub.stop()
    plain_hub.start()
    assert alice.wait_ready()["started"] == started
    assert alice.ask_server("api/status").status_code == 200
    alice.stop()
    eventually(lambda: jobs(cluster) == "")


def test_an_option_that_the_form_refuses_starts_nothing(cluster: Any, alice: Person) -> None:
    page = alice.post_form(nodes="3")
    assert alice.message_of(page, "nodes")
    refused = alice.start(nodes=3)
    assert refused.status_code == 400 and "nodes" in refused.json()["message"]
    assert jobs(cluster) == ""


def test_what_slurm_would_refuse_is_refused_at_its_field(alice: Person) -> None:
    page = alice.post_form(account="sol")
    assert page.status_code == 400
    assert "isn&#39;t offered here" in alice.message_of(page, "account")


def test_the_manuals_sudo_rules_are_valid_and_enough(cluster: Any) -> None:
    checked = cluster.exec(HUB, ["visudo", "-cf", "-"], stdin=block("sudoers"))
    assert checked.returncode == 0, checked.stderr
    ours = {line for line in cluster.render("sudoers").splitlines() if line.startswith(("Cmnd", "Defaults"))}
    assert ours <= set(block("sudoers").splitlines())


def jobs(cluster: Any) -> str:
    """Alice's jobs on summit that aren't over."""
    ask = ["env", "SLURM_CONF=/etc/slurm/summit/slurm.conf", "squeue", "--me", "-h", "-o", "%j %P %a %C %l"]
    return str(cluster.exec(HUB, ask, "alice").stdout)
