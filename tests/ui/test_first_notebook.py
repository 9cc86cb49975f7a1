"""The tutorial, clicked through: log in, choose, wait, run a cell, use eight engines, stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RealCluster
from tests.hub.person import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
Keep = Callable[[Page, str], None]

WHERE = "import os, socket; print(socket.gethostname(), os.getenv('APPTAINER_NAME'))"
ENGINES = """import ipyparallel as ipp
rc = ipp.Cluster(engines="flatirons", n=8).start_and_connect_sync()
print(sorted(rc[:].apply_sync(lambda: __import__("socket").gethostname())))"""


@pytest.fixture
def carol(page: Page, cluster: RealCluster) -> Iterator[Page]:
    """Carol's window, logged in; in the end her servers and jobs are gone."""
    page.goto("/hub/login")
    page.get_by_label("Username").fill("carol")
    page.get_by_label("Password").fill("carol")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/(home|spawn)"))
    yield page
    with httpx.Client(base_url=f"{cluster.hub_url}/hub/api") as hub:
        hub.headers["Authorization"] = f"token {cluster.token}"
        hub.delete("/users/carol/server")
        eventually(lambda: hub.get("/users/carol").json()["servers"] == {}, 60)
    cluster.exec("hub", ["scancel", "--user=carol"])


def fill_in(page: Page, **options: str) -> None:
    """Sets fields of the form."""
    page.goto("/hub/spawn")
    for name, value in options.items():
        field = page.locator(f"#option-{name}")
        if field.evaluate("element => element.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def run_cell(page: Page, number: int, code: str) -> str:
    """Types code into the notebook's last cell, runs it, and gives what it printed."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.insert_text(code)
    expect(cell.locator(".cm-content")).to_contain_text(code.splitlines()[-1])
    # before the kernel is there, nothing comes of the key
    kernel = page.locator(".jp-Notebook-ExecutionIndicator").first
    expect(kernel).to_have_attribute("data-status", "idle", timeout=60_000)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputArea-prompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=120_000)
    return cell.locator(".jp-OutputArea").inner_text()


def test_a_person_gets_from_log_in_to_engines_on_two_nodes(
    carol: Page, cluster: RealCluster, keep: Keep
) -> None:
    fill_in(carol, cluster="summit", account="csdms", partition="shas", runtime="30m")
    carol.get_by_role("button", name="Start", exact=True).click()
    carol.wait_for_url("**/user/carol/lab**", timeout=60_000)
    carol.goto("/user/carol/lab?reset")
    carol.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    carol.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    assert "shas0101 base.sif" in run_cell(carol, 0, WHERE)
    hosts = run_cell(carol, 1, ENGINES)
    keep(carol, "engines")
    assert hosts.count("shas0101") + hosts.count("shas0102") == 8 and "shas0102" in hosts
    carol.goto("/hub/home")
    carol.locator("#stop").click()
    eventually(lambda: not cluster.exec("hub", ["squeue", "-h", "-u", "carol"]).stdout, 60)
