"""The operators' page in a browser, on real Slurm: it stays usable while it brings itself up to date."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS, visit
from tests.ui.lab import log_in
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]
PAGE = "/hub/flatirons/operations"


@pytest.fixture
def slurm(cluster: RealCluster) -> Slurm:
    """The Slurm of the virtual cluster."""
    return Slurm(cluster)


@pytest.fixture
def alice(cluster: RealCluster, slurm: Slurm) -> Iterator[Person]:
    """Alice, logged in elsewhere."""
    yield from visit(cluster, slurm, "alice")


@pytest.fixture
def bob(cluster: RealCluster, slurm: Slurm) -> Iterator[Person]:
    """Bob, logged in elsewhere."""
    yield from visit(cluster, slurm, "bob")


@pytest.fixture
def window(page: Page) -> Page:
    """The operator's page."""
    log_in(page, "dave")
    page.goto(PAGE)
    return page


def test_what_somebody_types_or_has_open_survives_that_the_page_brings_itself_up_to_date(
    window: Page, alice: Person, bob: Person
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    window.reload()
    of_alice = window.locator("#servers tr", has_text="alice")
    of_alice.locator("summary").click()
    window.locator("#flatirons-announce summary").click()
    window.locator("#announce-level").select_option("warning")
    text = window.locator("#announce-text")
    text.press_sequentially("Please sa")
    scrolled = window.evaluate("window.scrollY")

    bob.start(**SHAS)
    expect(window.locator("#servers tr", has_text="bob")).to_be_visible()
    text.press_sequentially("ve")
    bob.wait_ready()
    expect(window.locator("#servers tr", has_text="bob")).to_contain_text("up")
    expect(text).to_be_focused()
    expect(text).to_have_value("Please save")
    assert window.locator("#announce-level").input_value() == "warning"
    expect(of_alice.locator("details")).to_have_attribute("open", "")
    assert abs(window.evaluate("window.scrollY") - scrolled) < 300, "a row more, and no jump to the top"
    bob.stop()
    expect(window.locator("#servers tr", has_text="bob")).to_have_count(0)
    expect(text).to_have_value("Please save")


def test_rows_are_filtered_while_one_types(window: Page, alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        person.start(**SHAS)
        person.wait_ready()
    window.reload()
    expect(window.locator("#servers tbody tr")).to_have_count(2)
    window.get_by_role("searchbox").press_sequentially("BOB sha")
    expect(window.locator("#servers tbody tr")).to_have_count(1)
    expect(window.get_by_role("searchbox")).to_be_focused()
    assert window.url.endswith("?q=BOB+sha")
    window.get_by_role("searchbox").press_sequentially("x")
    expect(window.locator("#no-servers")).to_contain_text("None of the 2 servers is like that.")
    window.get_by_role("link", name="Show all").click()
    expect(window.locator("#servers tbody tr")).to_have_count(2)
    window.get_by_role("link", name="Person").click()
    expect(window.locator("th[aria-sort]")).to_have_text("Person")
    window.locator("#servers").get_by_role("link", name="alice", exact=True).click()
    expect(window).to_have_url(re.compile("/hub/admin"))
    expect(window.get_by_text("alice", exact=True).first).to_be_visible()
    expect(window.get_by_text("bob", exact=True)).to_have_count(0)


def test_a_message_reaches_its_reader_who_dismisses_it(
    window: Page, browser: Browser, cluster: RealCluster, alice: Person
) -> None:
    context = browser.new_context(base_url=cluster.hub_url, java_script_enabled=False)
    theirs = context.new_page()
    log_in(theirs, "alice")
    alice.start(**SHAS)
    alice.wait_ready()
    window.reload()
    window.locator("#servers tr", has_text="alice").get_by_role("link", name="Message").click()
    expect(window.locator("#announce-text")).to_be_focused()
    expect(window.locator("#announce-user")).to_have_value("alice")
    window.keyboard.type("Your server fills /tmp. See https://example.org/tmp.")
    window.get_by_role("button", name="Post").click()
    expect(window.locator("#announcements")).to_contain_text("For alice, by dave")

    theirs.goto("/hub/home")
    shown = theirs.locator("#flatirons-announcements")
    expect(shown).to_contain_text("To you, from the operators")
    expect(shown.get_by_role("link")).to_have_attribute("href", "https://example.org/tmp")
    shown.get_by_role("button", name="Dismiss").click()
    expect(theirs.locator("#flatirons-announcements")).to_have_count(0)
    assert theirs.url.endswith("/hub/home")
    context.close()
    expect(window.locator("#announcements")).not_to_contain_text("For alice")


def test_a_server_is_stopped_with_the_keyboard_alone_and_not_by_one_key(
    window: Page, alice: Person, slurm: Slurm, keep: Keep
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    window.reload()
    stop = window.locator("#servers tr", has_text="alice").locator("summary")
    stop.focus()
    window.keyboard.press("Enter")
    expect(window.get_by_role("button", name="Stop alice’s server")).to_be_visible()
    keep(window, "operations-stop")
    window.keyboard.press("Tab")
    expect(window.get_by_role("button", name="Stop alice’s server")).to_be_focused()
    assert slurm.jobs("alice")
    window.keyboard.press("Enter")
    expect(window.locator("#servers tr", has_text="alice")).to_have_count(0)
    eventually(lambda: not slurm.jobs("alice"))
    assert window.url.endswith(PAGE)


def test_the_page_says_when_the_hub_doesnt_answer_and_when_the_session_has_ended(window: Page) -> None:
    note = window.locator("#flatirons-updated")

    def silent(route: Route) -> None:
        route.abort()

    window.route(f"**{PAGE}*", silent)
    expect(note).to_contain_text("The hub doesn't answer.")
    expect(window.locator("#clusters")).to_contain_text("summit")
    window.unroute(f"**{PAGE}*", silent)
    expect(note).to_be_empty()
    window.context.clear_cookies()
    expect(note).to_contain_text("You aren't logged in any more.")
    window.get_by_role("link", name="Log in again").click()
    expect(window).to_have_url(re.compile("/hub/login"))


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_phone_and_needs_no_javascript(
    browser: Browser, cluster: RealCluster, alice: Person, width: int, keep: Keep
) -> None:
    alice.start("a-server-with-a-long-name", **SHAS)
    alice.wait_ready("a-server-with-a-long-name")
    context = browser.new_context(
        base_url=cluster.hub_url, java_script_enabled=False, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    log_in(page, "dave")
    page.goto(PAGE)
    page.get_by_role("searchbox").fill("long-name")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#servers tbody tr")).to_have_count(1)
    page.locator("#servers summary").click()
    confirm = page.get_by_role("button", name="Stop alice/a-server-with-a-long-name")
    box = confirm.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
    confirm.click()
    expect(page).to_have_url(re.compile(r"q=long-name"))
    eventually(lambda: not (alice.server("a-server-with-a-long-name") or {}).get("ready"))
    context.close()
