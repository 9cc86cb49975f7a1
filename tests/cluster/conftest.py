"""Instances of the virtual cluster for its own tests, and alice on the one of the session."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.demo.visitor import Visitor
from flatirons.slurm.client import SlurmClient
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.repository import REPO

SCRIPT = REPO / "scripts/cluster"
_live: list["Driver"] = []


class Driver:
    """`scripts/cluster` for one instance."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One command of the driver."""
        done = subprocess.run(
            [str(SCRIPT), "--name", self.name, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def exec(
        self, node: str, *command: str, user: str = "root", check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command in a node."""
        return self.run("exec", node, "--user", user, "--", *command, check=check, stdin=stdin)

    def blanca(self, *command: str, user: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command on the hub, for the other cluster."""
        conf = "SLURM_CONF=/etc/slurm/blanca/slurm.conf"
        return self.exec("hub", "env", conf, *command, user=user, check=check)

    def status(self) -> dict[str, dict[str, Any]]:
        """Node -> its row of `status --json`."""
        shown = json.loads(self.run("status", "--json", check=False).stdout)
        return {row["node"]: row for row in shown["nodes"]}


@pytest.fixture(scope="module")
def make_driver() -> Iterator[Callable[[str], Driver]]:
    """Drivers of instances that no other session uses; taken down at the end in any case."""
    made: list[Driver] = []

    def make(suffix: str) -> Driver:
        driver = Driver(f"test{os.getpid()}-{suffix}")
        made.append(driver)
        _live.append(driver)
        return driver

    yield make
    for driver in made:
        driver.run("down")
        _live.remove(driver)


@pytest.fixture
def clients(cluster: RealCluster) -> dict[str, SlurmClient]:
    """The client of each cluster, by name."""
    runner = cluster.runner()
    return {name: SlurmClient(each, runner) for name, each in cluster.clusters.items()}


@pytest.fixture(scope="module")
def slurm(cluster: RealCluster) -> Slurm:
    """The Slurm of the session's cluster."""
    return Slurm(cluster)


@pytest.fixture(scope="module")
def visitor(cluster: RealCluster, slurm: Slurm) -> Iterator[Visitor]:
    """Alice, logged in; at the end her jobs are removed."""
    alice = Visitor(cluster.hub_url, "alice")
    alice.log_in()
    yield alice
    if alice.has_server():
        alice.stop()
    slurm.end_all()
    alice.http.close()


@pytest.fixture
def sknl_is_taken(slurm: Slurm) -> Iterator[Callable[[], None]]:
    """Keeps the only node of sknl in use until this is called."""
    with slurm.sknl_taken() as job:
        yield lambda: slurm.ask("scancel", str(job)) and None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Adds the nodes' logs to the report of a test that failed."""
    report = yield
    if report.failed:
        for driver in _live:
            logs = driver.run("logs", check=False)
            report.sections.append((f"logs of {driver.name}", logs.stdout[-20000:]))
    return report
