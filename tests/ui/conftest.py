"""A browser for the pages: the system's Chromium, headless, one for each file of tests.

`FLATIRONS_SCREENSHOTS=DIR` keeps the pictures that the documentation shows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cluster.prerequisites import install
from tests.conftest import RealCluster

# Chromium must contact nothing but the hub, and may find nothing but a CPU in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=60_000)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The path of the system's Chromium, None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; Chromium is installed when it isn't there."""
    if not chromium():
        install(["chromium"])
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, cluster: RealCluster) -> Iterator[Page]:
    """A new window without cookies, whose base URL is the hub's."""
    context = browser.new_context(base_url=cluster.hub_url, viewport={"width": 1200, "height": 800})
    context.set_default_timeout(60_000)
    opened = context.new_page()
    yield opened
    context.close()


@pytest.fixture
def keep() -> Callable[[Page, str], None]:
    """Saves a picture of the page under a name, if pictures are requested."""
    place = os.environ.get("FLATIRONS_SCREENSHOTS")

    def keep_picture(page: Page, name: str) -> None:
        if place:
            page.screenshot(path=Path(place) / f"{name}.png")

    return keep_picture


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """Fails for what keeps somebody from using the page: axe's findings that are serious or critical."""
    checks = Axe()

    def check(page: Page) -> None:
        found = checks.run(page).response["violations"]
        serious = [
            f"{each['id']}: {each['help']}\n" + "\n".join(node["html"][:300] for node in each["nodes"])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert not serious, "\n".join(serious)

    return check
