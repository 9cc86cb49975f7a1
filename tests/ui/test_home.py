"""Home in a browser, on real Slurm: cards that keep up by themselves, also without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import visit
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]
Axe = Callable[[Page], None]

SHAS = {"partition": "shas", "account": "ucb-general", "runtime": "20m", "memory": "1G"}
SKNL = {"partition": "sknl", "account": "ucb-knl", "qos": "normal", "runtime": "20m", "memory": "1G"}
ARABIC = "خادم التجارب"


@pytest.fixture
def full_sknl(cluster: RealCluster) -> Iterator[int]:
    """A job takes the only node of sknl for hours."""
    with Slurm(cluster).sknl_taken() as job:
        yield job


SHARING = """
c.JupyterHub.load_roles.append({"name": "sharing", "users": ["alice"], "scopes": ["shares!user=alice"]})
"""


@pytest.fixture
def sharing(cluster: RealCluster) -> Iterator[None]:
    """Alice may share her servers; JupyterHub forgets the role when it is gone from its configuration."""
    config = cluster.demo.etc / "hub_config.py"
    before = config.read_text()
    cluster.stop_hub()
    try:
        config.write_text(before + SHARING)
        cluster.start_hub()
        yield
        cluster.stop_hub()
    finally:
        config.write_text(before)
        cluster.start_hub()


@pytest.fixture
def alice(cluster: RealCluster) -> Iterator[Person]:
    """Alice, logged in, without named servers."""
    for person in visit(cluster, Slurm(cluster), "alice"):
        person.forget_named()
        dismiss(person)
        yield person


def dismiss(person: Person) -> None:
    """Home shows nothing of earlier tests."""
    person.rest("DELETE", f"/flatirons/report/{person.name}")


def log_in(page: Page, name: str = "alice") -> Page:
    """Home of a user."""
    page.goto("/hub/login?next=%2Fhub%2Fhome")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/home"))
    return page


def card(page: Page, title: str = "Default server") -> Locator:
    """The card of a server."""
    return page.get_by_role("article", name=title)


def start_default(page: Page) -> None:
    """Starts the default server by one click, and returns to Home."""
    page.get_by_role("button", name="Small").click()
    page.wait_for_url(re.compile("/hub/spawn-pending/alice|/user/alice/"))
    page.goto("/hub/home")


def test_one_click_starts_a_server_and_its_card_follows_it_to_its_end(
    page: Page, alice: Person, axe: Axe, keep: Keep
) -> None:
    log_in(page)
    expect(page.get_by_role("heading", name="Start a server")).to_be_visible()
    axe(page)
    start_default(page)
    default = card(page)
    expect(default).to_contain_text("Running")
    expect(default).to_contain_text("shas01")
    expect(default.get_by_role("progressbar", name="Time left")).to_be_visible()
    expect(page.get_by_role("heading", name="Start another server")).to_be_visible()
    default.get_by_text("Stop…").click()
    axe(page)
    default.get_by_role("button", name="Stop it now").click()
    expect(default).to_contain_text(re.compile("Ended"))
    expect(page.get_by_role("heading", name="Start a server")).to_be_visible()
    axe(page)
    default.get_by_role("button", name="Dismiss").click()
    expect(default).to_have_count(0)
    assert page.url.endswith("/hub/home"), "nothing of this left the page"


def test_named_servers_beside_the_default_one(
    page: Page, alice: Person, full_sknl: int, axe: Axe, keep: Keep
) -> None:
    log_in(page)
    alice.start(**SHAS)
    alice.start("waits", **SKNL)
    alice.start("broken", **{**SHAS, "environment": "broken"})
    expect(card(page)).to_contain_text("Running")
    expect(card(page, "waits")).to_contain_text("In the queue")
    broken = card(page, "broken")
    expect(broken).to_contain_text("Didn't start")
    expect(broken).to_contain_text("exit code 3 before it listened")
    expect(card(page).get_by_role("progressbar", name="Memory")).to_be_visible()
    axe(page)
    keep(page, "home")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    axe(page)
    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(card(page)).to_contain_text("Running")
    axe(page)
    page.set_viewport_size({"width": 1200, "height": 800})
    expect(page.get_by_text("Share…")).to_have_count(0)
    broken.get_by_text("Delete…").click()
    broken.get_by_role("button", name="Delete it").click()
    expect(broken).to_have_count(0)
    card(page, "waits").get_by_role("button", name="Cancel", exact=True).click()
    expect(card(page, "waits")).to_contain_text(re.compile("Didn't start|Ended|Not running"))


def test_the_new_server_has_the_name_that_was_typed(page: Page, alice: Person) -> None:
    log_in(page)
    page.get_by_label(re.compile("^Name")).fill(ARABIC)
    page.get_by_role("button", name="Small").click()
    page.wait_for_url(re.compile("/hub/spawn-pending/alice/x-|/user/alice/x-"))
    page.goto("/hub/home")
    expect(card(page, ARABIC)).to_contain_text("Running")
    assert card(page, ARABIC).locator("bdi").inner_text() == ARABIC


def test_the_keyboard_is_enough_and_news_leave_the_focus_alone(
    page: Page, alice: Person, full_sknl: int, cluster: RealCluster
) -> None:
    log_in(page)
    alice.start("waits", **SKNL)
    waits = card(page, "waits")
    expect(waits).to_contain_text("In the queue")
    page.get_by_label(re.compile("^Name")).fill("typed")
    follow = waits.get_by_role("link", name="Follow its start")
    follow.focus()
    before = waits.get_attribute("data-version")
    cluster.exec(
        "hub", ["env", "SLURM_CONF=/etc/slurm/summit/slurm.conf", "scancel", str(full_sknl)], "alice"
    )
    expect(waits).not_to_have_attribute("data-version", before or "")
    expect(waits).to_contain_text("Running")
    focused = page.evaluate("document.activeElement.closest('article')?.id")
    assert focused == "server-waits"
    expect(page.get_by_label(re.compile("^Name"))).to_have_value("typed")
    stop = waits.get_by_text("Stop…")
    stop.focus()
    page.keyboard.press("Enter")
    expect(waits.get_by_role("button", name="Stop it now")).to_be_visible()
    page.keyboard.press("Escape")
    expect(waits.get_by_role("button", name="Stop it now")).to_be_hidden()
    expect(stop).to_be_focused()


def test_a_server_is_shared_by_a_link_until_that_is_taken_back(
    page: Page, browser: Browser, cluster: RealCluster, sharing: None, alice: Person, axe: Axe
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    log_in(page)
    card(page).get_by_text("Share…").click()
    card(page).get_by_role("button", name="Make a link").click()
    link = card(page).get_by_label(re.compile("^Link, valid until"))
    expect(link).to_have_value(re.compile("^http.*/hub/accept-share"))
    axe(page)
    url = link.input_value()
    bob = browser.new_context(base_url=cluster.hub_url).new_page()
    log_in(bob, "bob")
    bob.goto(url)
    bob.get_by_role("button", name=re.compile("Accept")).click()
    eventually(lambda: alice.rest("GET", "/shares/alice/").json()["items"])
    card(page).get_by_role("button", name="Stop sharing").click()
    expect(card(page)).to_contain_text("nobody else can use this server")
    assert not alice.rest("GET", "/shares/alice/").json()["items"]
    bob.context.close()


def test_home_says_when_the_hub_is_away_and_continues_when_it_is_back(
    page: Page, alice: Person, cluster: RealCluster
) -> None:
    log_in(page)
    away = page.locator("[data-notice=away]")
    expect(away).to_be_hidden()
    cluster.stop_hub()
    try:
        expect(away).to_be_visible(timeout=30_000)
    finally:
        cluster.start_hub()
    expect(away).to_be_hidden(timeout=30_000)
    expect(page.locator("[data-notice=out]")).to_be_hidden()
    alice.start(**SHAS)
    expect(card(page)).to_contain_text("Running")


def test_home_says_when_its_user_has_logged_out_elsewhere(page: Page, alice: Person) -> None:
    log_in(page)
    other = page.context.new_page()
    other.goto("/hub/logout")
    expect(page.locator("[data-notice=out]")).to_be_visible()
    page.get_by_role("link", name="Log in again").click()
    expect(page.get_by_label("Username")).to_be_visible()


def test_everything_works_without_javascript(browser: Browser, cluster: RealCluster, alice: Person) -> None:
    context = browser.new_context(base_url=cluster.hub_url, java_script_enabled=False)
    page = log_in(context.new_page())
    expect(page.get_by_text("JupyterHub requires JavaScript")).to_be_hidden()
    page.get_by_role("button", name="Small").click()
    page.goto("/hub/home")

    def shows(text: str) -> bool:
        page.reload()
        return bool(card(page).filter(has_text=text).count())

    eventually(lambda: shows("Running"))
    card(page).get_by_text("Stop…").click()
    card(page).get_by_role("button", name="Stop it now").click()
    eventually(lambda: shows("Ended"))
    card(page).get_by_role("button", name="Dismiss").click()
    expect(card(page)).to_have_count(0)
    context.close()
