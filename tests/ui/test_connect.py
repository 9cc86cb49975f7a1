"""The page about connections from elsewhere, in a browser: by keyboard, on a phone, without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS, visit
from tests.ui.lab import log_in

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]
CONNECT = "/hub/flatirons/connect/alice/gpu"


@pytest.fixture(scope="module")
def gpu(cluster: RealCluster) -> Iterator[Person]:
    """Alice, whose named server `gpu` runs."""
    for alice in visit(cluster, Slurm(cluster), "alice"):
        alice.start("gpu", **SHAS)
        alice.wait_ready("gpu")
        yield alice


def test_a_token_is_made_with_the_keyboard_and_copied_with_a_click(
    page: Page, gpu: Person, keep: Keep
) -> None:
    log_in(page, "alice")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(CONNECT)
    page.get_by_label("For what").focus()
    page.keyboard.type("VS Code on my laptop")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    token = page.locator("#paste-token")
    expect(token).to_be_visible()
    expect(page.locator("li", has_text="VS Code on my laptop")).to_have_count(1)
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    keep(page, "connect")
    for block in ("token", "vscode", "connect", "python"):
        button = page.locator(f'[data-copy="paste-{block}"]')
        button.click()
        expect(button).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator(f"#paste-{block}").text_content()
    page.reload()
    expect(page.locator("#paste-vscode")).to_contain_text("?token=TOKEN")
    expect(token).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(
    browser: Browser, cluster: RealCluster, gpu: Person, scheme: str
) -> None:
    phone = {"width": 390, "height": 800}
    context = browser.new_context(base_url=cluster.hub_url, viewport=phone, color_scheme=scheme)
    page = context.new_page()
    log_in(page, "alice")
    page.goto(CONNECT)
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#paste-token")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_without_javascript_a_token_is_made_and_revoked(
    browser: Browser, cluster: RealCluster, gpu: Person
) -> None:
    context = browser.new_context(base_url=cluster.hub_url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, "alice")
    page.goto(CONNECT)
    page.get_by_label("For what").fill("a terminal")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#paste-token")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    mine = page.locator("li", has_text="a terminal")
    expect(mine).to_contain_text("UTC")
    mine.get_by_role("button", name="Revoke").click()
    expect(page.locator("li", has_text="a terminal")).to_have_count(0)
    context.close()
