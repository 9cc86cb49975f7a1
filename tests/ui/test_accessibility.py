"""axe finds nothing serious on any page of the hub, in light and dark mode and at the width of a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS, visit
from tests.ui.lab import log_in

pytestmark = pytest.mark.cluster
WIDTHS = {"desktop": 1200, "phone": 390}
SKNL = {"partition": "sknl", "account": "ucb-knl", "qos": "normal", "runtime": "20m", "memory": "1G"}
PAGES = {
    "Home": "/hub/home",
    "the form": "/hub/spawn/alice",
    "the form of a server that ended": "/hub/spawn/alice/ended",
    "a start that waits": "/hub/spawn-pending/alice/waiting",
    "a report": "/hub/flatirons/report/alice/ended",
    "a server that isn't running": "/hub/user/alice/ended/lab",
    "connections from elsewhere": "/hub/flatirons/connect/alice/gpu",
}


@pytest.fixture(scope="module")
def alice(cluster: RealCluster) -> Iterator[Person]:
    """Alice, with a server that runs, one that waits and one that ended."""
    slurm = Slurm(cluster)
    with slurm.sknl_taken():
        for person in visit(cluster, slurm, "alice"):
            for name in ("gpu", "ended"):
                person.start(name, **SHAS)
                person.wait_ready(name)
            person.start("waiting", **SKNL)
            person.stop("ended")
            yield person


@pytest.fixture(params=["light", "dark"])
def windows(
    browser: Browser, cluster: RealCluster, alice: Person, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Page]]:
    """A window of one's own for each person, in light or dark mode."""
    contexts = []

    def open_window(person: str) -> Page:
        context = browser.new_context(base_url=cluster.hub_url, color_scheme=request.param)
        contexts.append(context)
        page = context.new_page()
        log_in(page, person)
        return page

    yield open_window
    for context in contexts:
        context.close()


def check(page: Page, path: str, axe: Callable[[Page], None]) -> None:
    page.goto(path)
    page.locator("main, .container").first.wait_for()
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than {width}"


def test_everybody_can_read_the_pages_of_a_user(
    windows: Callable[[str], Page], axe: Callable[[Page], None]
) -> None:
    page, found = windows("alice"), []
    for name, path in PAGES.items():
        try:
            check(page, path, axe)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    assert not found, "\n\n".join(found)


def test_everybody_can_read_the_page_of_operators(
    windows: Callable[[str], Page], axe: Callable[[Page], None]
) -> None:
    check(windows("dave"), "/hub/flatirons/operations", axe)
