"""The tutorial in a browser: log in, choose, wait, run a cell, use eight engines, stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page

from tests.conftest import RealCluster
from tests.ui.lab import fill_in, log_in, run_cell, start
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]

WHERE = "import os, socket; print(socket.gethostname(), os.getenv('APPTAINER_NAME'))"
ENGINES = """import ipyparallel as ipp
rc = ipp.Cluster(engines="flatirons", n=8).start_and_connect_sync()
print(sorted(rc[:].apply_sync(lambda: __import__("socket").gethostname())))"""


@pytest.fixture
def carol(page: Page, cluster: RealCluster) -> Iterator[Page]:
    """Carol's window, logged in; at the end her servers and jobs are removed."""
    log_in(page, "carol")
    yield page
    with httpx.Client(base_url=f"{cluster.hub_url}/hub/api") as hub:
        hub.headers["Authorization"] = f"token {cluster.token}"
        hub.delete("/users/carol/server")
        eventually(lambda: hub.get("/users/carol").json()["servers"] == {}, 60)
    cluster.exec("hub", ["scancel", "--user=carol"])


def test_a_person_gets_from_log_in_to_engines_on_two_nodes(
    carol: Page, cluster: RealCluster, keep: Keep
) -> None:
    where = {"cluster": "summit", "account": "csdms", "partition": "shas"}
    fill_in(carol, environment="python", **where, runtime="30m")
    start(carol, "carol")
    assert "shas0101 base.sif" in run_cell(carol, 0, WHERE).inner_text()
    hosts = run_cell(carol, 1, ENGINES).inner_text()
    keep(carol, "engines")
    assert hosts.count("shas0101") + hosts.count("shas0102") == 8 and "shas0102" in hosts
    carol.goto("/hub/home")
    carol.get_by_text("Stop…").click()
    carol.get_by_role("button", name="Stop it now").click()
    eventually(lambda: not cluster.exec("hub", ["squeue", "-h", "-u", "carol"]).stdout, 60)
