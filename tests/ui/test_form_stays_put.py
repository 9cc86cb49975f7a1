"""The form while somebody fills it in: nothing on the page moves, and only the card in use is highlighted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from cluster.prerequisites import install
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.presets import Preset
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import running
from tests.hub.pretending import pretending, with_slurm
from tests.ui.conftest import FLAGS, chromium

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Every shift counts, also one right after a key, which the browser's own score (CLS) leaves out.
WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        if (entry.value < 0.0001) continue; // a line of text that grew to the left or right
        window.shifts.push(`${entry.value} ${entry.sources.map(({ node }) => node?.id || node?.nodeName)}`);
    }
}).observe({ type: "layout-shift", buffered: true });
window.settled = 0;
document.addEventListener("flatirons:settled", () => window.settled++);
window.estimated = 0;
document.addEventListener("htmx:after:swap", ({ detail }) => {
    if (detail.ctx.target?.id === "flatirons-estimate") window.estimated++;
});
"""
Start: TypeAlias = Callable[[int], Awaitable[Page]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def start(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Start]:
    """Opens alice's form in a window of this width."""
    if not chromium():
        install(["chromium"])
    form = slurm_form({"ntasks": {"visible": False}}, {"summit": {}}, {"python": {}})
    presets = {"small": Preset("Small", {"cpus": 1, "memory": "2G"}, "1 core, 2 GB")}
    folder = tmp_path_factory.mktemp("state")
    config = pretending(form, folder, environments={"python": {}}, site_presets=presets)
    config.SlurmSpawner.clusters = {"summit": {}}
    async with running(config) as hub, async_playwright() as playwright:
        with_slurm(hub, FakeSlurm())
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)

        async def opened(width: int) -> Page:
            viewport: Any = {"width": width, "height": 1400}
            context = await browser.new_context(base_url=config.JupyterHub.bind_url, viewport=viewport)
            page = await context.new_page()
            await page.add_init_script(WATCH)
            await page.goto("hub/login")
            await page.get_by_label("Username").fill("alice")
            await page.get_by_label("Password").fill("any")
            await page.get_by_role("button", name="Sign in").click()
            await page.goto("hub/spawn/alice")
            await page.wait_for_function("window.estimated > 0")
            return page

        yield opened
        await browser.close()


async def changed(page: Page, change: Awaitable[object]) -> list[str]:
    """What moved while the form was rendered again after a change, and its estimate came in."""
    before = await page.evaluate("[window.settled, window.estimated]")
    await page.evaluate("window.shifts = []")
    await change
    await page.wait_for_function("([a, b]) => window.settled > a && window.estimated > b", arg=before)
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    shifts: list[str] = await page.evaluate("window.shifts")
    return shifts


@pytest.mark.parametrize("width", [1200, 390])
async def test_nothing_moves_while_the_form_is_rendered_again(start: Start, width: int) -> None:
    page = await start(width)
    assert await page.evaluate("window.shifts") == []
    option = lambda name: page.locator(f"#option-{name}")  # noqa: E731  short, and only used here
    typed = [("cpus", "4"), ("cpus", "400"), ("cpus", "2"), ("memory", "lots"), ("memory", "4G")]
    typed += [("runtime", "2:00"), ("runtime", "20:00:00")]
    chosen = [("partition", "sknl"), ("partition", "shas")]  # which changes the account, with a note
    chosen += [("gpus", "v100:1"), ("gpus", "0"), ("qos", "debug"), ("qos", "normal"), ("account", "knl")]
    chosen += [("partition", "sknl"), ("partition", "shas")]
    for name, text in typed:
        assert await changed(page, option(name).fill(text)) == [], (name, text)
    for name, text in chosen:
        assert await changed(page, option(name).select_option(text)) == [], (name, text)
    assert await changed(page, page.get_by_role("button", name="Small").click()) == []
    await page.context.close()


async def test_a_message_stands_in_the_place_of_the_help(start: Start) -> None:
    page = await start(1200)
    await changed(page, page.locator("#option-memory").fill("lots"))
    await expect(page.locator("#error-memory")).to_be_visible()
    await expect(page.locator("#help-memory")).to_be_hidden()
    await changed(page, page.locator("#option-memory").fill("4G"))
    await expect(page.locator("#help-memory")).to_be_visible()
    await page.context.close()


async def test_a_card_is_highlighted_while_the_form_has_its_options(start: Start) -> None:
    page = await start(1200)
    small, defaults = (page.get_by_role("button", name=name) for name in ("Small", "Defaults"))
    await expect(defaults).to_have_attribute("aria-pressed", "true")
    await changed(page, small.click())
    await expect(small).to_have_attribute("aria-pressed", "true")
    await expect(defaults).to_have_attribute("aria-pressed", "false")
    await changed(page, page.locator("#option-memory").fill("3G"))
    await expect(page.locator("[aria-pressed=true]")).to_have_count(0)
    await changed(page, page.locator("#option-memory").fill("2048M"))
    await expect(small).to_have_attribute("aria-pressed", "true")
    await page.context.close()


async def test_cores_are_not_for_each_task_where_nobody_sees_tasks(start: Start) -> None:
    page = await start(1200)
    await expect(page.locator("label[for=option-cpus]")).to_have_text("Cores --cpus-per-task")
    await page.context.close()
