"""A notebook in each language, opened in JupyterLab through the hub, in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.cluster.product.cells import blocks
from tests.conftest import RealCluster
from tests.ui.lab import fill_in, log_in, run_cell, start
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]

PYTHON = """import numpy as np, matplotlib.pyplot as plt
x = np.linspace(0, 2 * np.pi, 200)
print("integral", round(float(np.trapezoid(np.sin(x) ** 2, x)), 3))
plt.figure(figsize=(7, 3)); plt.plot(x, np.sin(x)); plt.show()"""


@pytest.fixture
def alice(page: Page, cluster: RealCluster) -> Iterator[Page]:
    """Alice's window, logged in; at the end her servers and jobs are removed."""
    page.set_viewport_size({"width": 1200, "height": 1000})
    log_in(page, "alice")
    yield page
    with httpx.Client(base_url=f"{cluster.hub_url}/hub/api", timeout=30) as hub:
        hub.headers["Authorization"] = f"token {cluster.token}"
        hub.delete("/users/alice/server")
        eventually(lambda: hub.get("/users/alice").json()["servers"] == {}, 60)
    cluster.exec("hub", ["scancel", "--user=alice"])


def choose(page: Page, environment: str) -> None:
    """Fills in the form."""
    where = {"cluster": "summit", "partition": "shas", "account": "ucb-general"}
    fill_in(page, environment=environment, **where, cpus="2", memory="4G", runtime="30m")


def width_of_picture(output: Locator) -> int:
    """The width of a cell's picture in its own pixels, once it is loaded."""
    picture = output.locator("img")
    expect(picture).to_have_count(1)
    width: int = picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }")
    return width


def test_a_python_notebook_computes_and_draws(alice: Page, keep: Keep) -> None:
    choose(alice, "python")
    start(alice, "alice", "Python 3 (ipykernel)")
    output = run_cell(alice, 0, PYTHON)
    expect(output).to_contain_text("integral 3.142")
    assert width_of_picture(output) > 300
    keep(alice, "python")


@pytest.mark.images("r")
def test_an_r_notebook_fits_a_model_and_draws_it(alice: Page, keep: Keep) -> None:
    choose(alice, "r")
    start(alice, "alice", "R")
    _, load, fit, draw, *_ = (block.strip() for block in blocks("tutorial/r.md", "r"))
    loaded = run_cell(alice, 0, load)
    expect(loaded).to_contain_text("Attaching core tidyverse packages")
    expect(loaded).not_to_contain_text("Warning")
    expect(run_cell(alice, 1, fit)).to_contain_text("Multiple R-squared")
    drawn = run_cell(alice, 2, draw)
    assert width_of_picture(drawn) > 300
    drawn.scroll_into_view_if_needed()
    keep(alice, "r")


@pytest.mark.images("pyspark")
def test_a_pyspark_notebook_queries_a_table_and_draws_the_result(alice: Page, keep: Keep) -> None:
    choose(alice, "pyspark")
    start(alice, "alice", "Python 3 (ipykernel)")
    begin, ask, function, draw, end = (block.strip() for block in blocks("tutorial/pyspark.md"))
    expect(run_cell(alice, 0, begin)).to_contain_text("local[2]")
    expect(run_cell(alice, 1, ask)).to_contain_text("only showing top 5 rows")
    run_cell(alice, 2, function)
    drawn = run_cell(alice, 3, draw)
    assert width_of_picture(drawn) > 300
    drawn.scroll_into_view_if_needed()
    expect(drawn.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
    keep(alice, "pyspark")
    run_cell(alice, 4, end)
