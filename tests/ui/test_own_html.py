"""A field that a site renders itself, in a browser: what is typed there stays when the form changes."""

from __future__ import annotations

from playwright.async_api import async_playwright, expect

from cluster.prerequisites import install
from optionsspawner.forms import NumericalInputField
from tests.hub.hub_in_process import configuration, running
from tests.ui.conftest import FLAGS, chromium


class Own(NumericalInputField):
    """A number with the site's own HTML."""

    def render(self) -> str:
        """An input whose value the hub never changes."""
        return f'<input type="text" id="own" aria-label="Own" name="{self.trait_name}" value="1">'


async def test_what_is_typed_into_a_sites_own_html_stays() -> None:
    if not chromium():
        install(["chromium"])
    config = configuration(spawner_class="optionsspawner.OptionsFormSpawner")
    config.OptionsFormSpawner.child_class = "simple"
    config.OptionsFormSpawner.form_fields = [Own("own", attr_max=4), NumericalInputField("other", attr_max=3)]
    async with running(config), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = await (await browser.new_context(base_url=config.JupyterHub.bind_url)).new_page()
        await page.goto("hub/login")
        await page.get_by_label("Username").fill("alice")
        await page.get_by_label("Password").fill("any")
        await page.get_by_role("button", name="Sign in").click()
        await page.goto("hub/spawn/alice")
        await page.get_by_label("Own").fill("3")
        await page.get_by_label("other").fill("9")
        await expect(page.locator("#error-other")).to_have_text("Must be at most 3.")
        await expect(page.get_by_label("Own")).to_have_value("3")
        await page.get_by_label("Own").fill("9")
        await expect(page.locator("#error-own")).to_have_text("Must be at most 4.")
        await browser.close()
