"""JupyterLab in a real browser: one launcher, early; compressed files; a file without a launcher."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Response, expect

from tests.conftest import RealCluster
from tests.ui.lab import fill_in, log_in
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
LAUNCHER = ".jp-Launcher"
SAVED = "/lab/api/workspaces/default"


@pytest.fixture
def bob(page: Page, cluster: RealCluster) -> Iterator[Page]:
    """Bob's window with JupyterLab as he opens it for the first time; at the end his server is removed."""
    cluster.exec("hub", ["rm", "-rf", "/home/bob/.jupyter"], "bob")
    log_in(page, "bob")
    fill_in(page, environment="python", cluster="summit", partition="shas", runtime="30m")
    yield page
    with httpx.Client(base_url=f"{cluster.hub_url}/hub/api") as hub:
        hub.headers["Authorization"] = f"token {cluster.token}"
        hub.delete("/users/bob/server")
        eventually(lambda: hub.get("/users/bob").json()["servers"] == {}, 60)
    cluster.exec("hub", ["scancel", "--user=bob"])


def test_jupyterlab_opens_one_launcher_before_it_saves_its_workspace(bob: Page, cluster: RealCluster) -> None:
    seen: list[str] = []
    encodings: dict[str, str] = {}

    def note(answer: Response) -> None:
        if answer.request.method == "PUT" and SAVED in answer.url:
            seen.append("saved")
        if "/static/lab/jlab_core" in answer.url:
            encodings["jlab_core"] = answer.headers.get("content-encoding", "")

    bob.on("response", note)
    with bob.expect_response(lambda answer: answer.request.method == "PUT" and SAVED in answer.url):
        bob.get_by_role("button", name="Start", exact=True).click()
        bob.locator(LAUNCHER).wait_for()
        assert seen == []
    expect(bob.locator("#jp-main-statusbar")).to_be_visible()
    expect(bob.locator(LAUNCHER)).to_have_count(1)
    assert encodings == {"jlab_core": "gzip"}

    cluster.exec("hub", ["sh", "-c", "echo text > /home/bob/notes.txt"], "bob")
    bob.goto("/user/bob/lab/tree/notes.txt?reset")
    expect(bob.locator(".jp-FileEditor")).to_contain_text("text")
    expect(bob.locator(LAUNCHER)).to_have_count(0)
