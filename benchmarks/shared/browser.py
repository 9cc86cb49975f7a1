"""A person in a browser: log in, click on the form's button, open a notebook, see the output of a cell."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser, Page, Request, sync_playwright

from cluster.prerequisites import install

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
NAMES = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_MS = 60_000
CARD = ".jp-LauncherCard[data-category=Notebook]"
CELL = ".jp-Notebook .jp-CodeCell .cm-content"
STATUS_BAR = "#jp-main-statusbar"
OUTPUT = ".jp-OutputArea-output"


@dataclass(frozen=True)
class Journey:
    """When a person saw what, in seconds since the epoch, and what their browser loaded for it.

    `page_requested`: of the server, for the first time. `usable`: JupyterLab offers a new notebook.
    `requests` and `kib` are those to the server; what came from the browser's cache has no size.
    """

    clicked: float
    page_requested: float
    usable: float
    output: float
    requests: int
    kib: float


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium without a window; it is installed if it isn't there."""
    if not any(map(shutil.which, NAMES)):
        install(["chromium"])
    path = next(path for path in map(shutil.which, NAMES) if path)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield launched
        launched.close()


@contextmanager
def logged_in(browser: Browser, url: str, user: str) -> Iterator[Page]:
    """A window with an empty cache, whose user is logged in. The password is the name."""
    context = browser.new_context(base_url=url, viewport={"width": 1200, "height": 800})
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    page.goto("/hub/login?next=/hub/home")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/home"))
    yield page
    context.close()


def travel(page: Page, user: str) -> Journey:
    """From the click on the form's button to the output of a cell in a new notebook."""
    page.goto(f"/hub/spawn/{user}")
    page.wait_for_load_state("networkidle")
    requests: list[tuple[float, Request]] = []

    def note(request: Request) -> None:
        if f"/user/{user}/" in request.url:
            requests.append((time.time(), request))

    page.on("request", note)
    clicked = time.time()
    page.get_by_role("button", name="Start", exact=True).click()
    card = page.locator(CARD).first
    card.wait_for()
    usable = time.time()
    card.click()
    run_first_cell(page, "6*7", "42")
    output = time.time()
    page.remove_listener("request", note)
    loaded = sum(max(0, _bytes(request)) for _, request in requests) / 1024
    return Journey(clicked, requests[0][0], usable, output, len(requests), loaded)


def run_first_cell(page: Page, code: str, expected: str) -> None:
    """Runs code in an open notebook as soon as JupyterLab says that its kernel is idle."""
    page.locator(STATUS_BAR, has_text="| Idle").wait_for()
    cell = page.locator(CELL).first
    cell.click()
    page.keyboard.insert_text(code)
    cell.press("Shift+Enter")
    page.locator(OUTPUT, has_text=expected).first.wait_for()


def _bytes(request: Request) -> int:
    """The size of the answer's body as it was sent; 0 for none, and for a connection that is still open."""
    return 0 if request.timing["responseEnd"] < 0 else request.sizes()["responseBodySize"]
