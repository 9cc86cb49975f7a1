"""A user in JupyterLab: from the log-in and the form to running cells."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect


def log_in(page: Page, name: str) -> None:
    """Logs in; the demo's passwords are the names."""
    page.goto("/hub/login")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/(home|spawn)"))


def fill_in(page: Page, **options: str) -> None:
    """Sets fields of the form."""
    page.goto("/hub/spawn")
    for name, value in options.items():
        field = page.locator(f"#option-{name}")
        if field.evaluate("element => element.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def start(page: Page, name: str, kernel: str = "") -> None:
    """Starts the server, and opens a new notebook; `kernel` is its name in the launcher."""
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(f"**/user/{name}/lab**", timeout=60_000)
    page.goto(f"/user/{name}/lab?reset")
    card = ".jp-LauncherCard[data-category=Notebook]"
    page.locator(f'{card}[title="{kernel}"]' if kernel else card).first.click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)


def run_cell(page: Page, number: int, code: str) -> Locator:
    """Types code into the notebook's last cell and runs it; returns the element of its output."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    content = cell.locator(".cm-content")
    content.click()
    page.keyboard.insert_text(code)
    expect(content).to_contain_text(code.splitlines()[-1])
    # the key does nothing before the kernel has started
    kernel = page.locator(".jp-Notebook-ExecutionIndicator").first
    expect(kernel).to_have_attribute("data-status", "idle", timeout=60_000)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)
    content.press("Shift+Enter")
    expect(cell.locator(".jp-InputArea-prompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=120_000)
    return cell.locator(".jp-OutputArea")
