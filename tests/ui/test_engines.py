"""Engines as JupyterLab shows them: why they wait, on the progress bar, and the Clusters tab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from cluster.demo.visitor import Visitor
from tests.cluster.product.cells import start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]

ENGINES = "ipengines"
WAIT = """from flatirons.parallel import Cluster
rc = Cluster(n=2, partition="sknl", account="ucb-knl", nodes=1).start_and_connect_sync()
print(len(rc), "engines")"""


@pytest.fixture(scope="module")
def slurm(cluster: RealCluster) -> Slurm:
    return Slurm(cluster)


@pytest.fixture
def lab(page: Page, cluster: RealCluster, slurm: Slurm) -> Iterator[Page]:
    """JupyterLab of alice, whose server runs; at the end all her jobs are removed."""
    alice = Visitor(cluster.hub_url, "alice")
    alice.log_in()
    if not alice.has_server():
        start_server(alice)
    page.goto("/hub/login?next=/hub/home")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("alice")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/home")
    page.goto("/user/alice/lab?reset")
    yield page
    alice.stop()
    alice.http.close()
    slurm.end_all()


@pytest.fixture
def sknl_is_taken(slurm: Slurm) -> Iterator[Callable[[], None]]:
    """Keeps the only node of sknl in use until this is called."""
    with slurm.sknl_taken() as job:
        yield lambda: slurm.ask("scancel", str(job)) and None


def test_a_bar_shows_why_engines_wait_and_then_counts_them(
    lab: Page, sknl_is_taken: Callable[[], None], keep: Keep
) -> None:
    lab.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    lab.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    cell = lab.locator(".jp-Notebook .jp-CodeCell").first
    cell.locator(".cm-content").click()
    lab.keyboard.insert_text(WAIT)
    expect(cell.locator(".cm-content")).to_contain_text("engines")
    # the key does nothing before the kernel has started
    expect(lab.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    lab.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputArea-prompt")).to_have_text("[*]:")
    out = cell.locator(".jp-OutputArea")
    bar = cell.locator(".widget-hbox")
    expect(bar).to_contain_text(re.compile(r"waits.\(.*about.(\w+.)?\d\d:\d\d\)"), timeout=60_000)
    expect(bar).to_contain_text("0/2")
    expect(out).to_contain_text(re.compile(r"Engines \(job \d+\) wait: "))
    expect(out).to_contain_text(re.compile(r"Slurm expects to start it at \d\d:\d\d"))
    keep(lab, "engines-wait")
    sknl_is_taken()
    expect(out).to_contain_text("2 engines", timeout=60_000)
    expect(bar).to_contain_text("2/2")
    expect(bar).not_to_contain_text("waits")
    keep(lab, "engines-came")
    told = re.findall("wait: [^.]*", out.inner_text())
    assert len(told) == len(set(told)) > 0


def test_the_clusters_tab_lists_our_profile_and_starts_and_stops_it(
    lab: Page, slurm: Slurm, keep: Keep
) -> None:
    lab.locator(".jp-SideBar [title*=IPython], .jp-SideBar [data-id*=ipp]").first.click()
    item = lab.locator(".ipp-ClusterListingItem", has_text="slurm")
    expect(item).to_have_count(1, timeout=30_000)
    item.locator(".ipp-ClusterListingItem-start").click()
    expect(item).to_contain_text("State: running", timeout=30_000)
    eventually(lambda: [slurm.state(job) for job in slurm.live(ENGINES)] == ["RUNNING"])
    keep(lab, "clusters")
    item.locator(".ipp-ClusterListingItem-stop").click()
    eventually(lambda: slurm.live(ENGINES) == [])


def test_a_dead_server_is_first_reported_by_jupyterhub(lab: Page, slurm: Slurm, keep: Keep) -> None:
    """ipyparallel's extension asks the server more often than anybody else."""
    lab.locator(".jp-LauncherCard[data-category=Notebook]").first.wait_for()
    for job, _, _ in slurm.jobs("alice"):
        slurm.ask("scancel", str(job))
    dialog = lab.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Server unavailable or unreachable", timeout=90_000)
    keep(lab, "dead-server")
    assert dialog.count() == 1
    with lab.context.expect_page() as opened:
        dialog.get_by_role("button", name="Restart").click()
    expect(opened.value.locator(".flatirons-report")).to_contain_text("The job was cancelled")
    expect(opened.value.get_by_role("button", name="Start again")).to_be_enabled()
