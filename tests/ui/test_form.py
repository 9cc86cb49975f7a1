"""The form in a browser, on real Slurm: what changes while the user chooses, and what must not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from cluster import faults
from cluster.layout import HUB
from flatirons.forms import Choice, Context, Form, Select
from flatirons.forms.page import STATIC, PageSettings
from tests.conftest import RealCluster
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]
LogIn = Callable[[Page, str], Page]

FORM = "**/hub/flatirons/form**"
ESTIMATE = "#flatirons-estimate"
PHONE = {"width": 390, "height": 844}

COUNT_SETTLED = "window.settled = 0; document.addEventListener('flatirons:settled', () => window.settled++)"

# Marks the elements of the page, by id: an element that is replaced loses its mark.
MARK_INPUTS = "for (const each of document.querySelectorAll('#flatirons-form [id]')) each.mark = each.id"
MARKED = """[...document.querySelectorAll("#flatirons-form [id]")]
    .filter((each) => each.mark).map((each) => each.id)"""

WATCH = """() => {
    window.changes = [];
    const said = ({ type, attributeName, target }) =>
        `${type} ${attributeName || ""} ${target.outerHTML || target.nodeValue}`;
    new MutationObserver((all) => window.changes.push(...all.map(said))).observe(
        document.getElementById("flatirons-form"),
        { subtree: true, childList: true, characterData: true, attributes: true },
    );
}"""

INPUTS = "#spawn_form input, #spawn_form select"
NO_LABELS = """(inputs) => [...document.querySelectorAll(inputs)].flatMap((input) => {
    if (input.type === "hidden") return [];
    const said = (input.getAttribute("aria-describedby") || "").split(" ").filter(Boolean);
    const lost = said.filter((id) => !document.getElementById(id)).map((id) => `${input.id}: no ${id}`);
    const labels = [input.getAttribute("aria-label"), ...[...input.labels].map((each) => each.textContent)];
    const hasLabel = labels.some((text) => text && text.trim());
    return hasLabel ? lost : [...lost, `${input.id || input.name}: no label`];
})"""

TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("#spawn_form *")].filter((each) =>
        each.checkVisibility() && each.getBoundingClientRect().right > width + 0.5);
    const wide = document.scrollingElement.scrollWidth > innerWidth ? ["page"] : [];
    return [...wide, ...out.map((each) => each.outerHTML.slice(0, 120))];
}"""

TOO_SMALL = """() => [...document.querySelectorAll("#spawn_form *")]
    .filter((each) => each.checkVisibility() && each.textContent.trim())
    .filter((each) => parseFloat(getComputedStyle(each).fontSize) < 12)
    .map((each) => each.outerHTML.slice(0, 80))"""

# Texts whose contrast is below the 4.5 of WCAG's level AA.
TOO_PALE = """() => {
    const parse = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
    const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
    const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    const ground = (each) => {
        const c = each ? parse(getComputedStyle(each).backgroundColor) : [255, 255, 255, 1];
        return c[3] === 1 ? c : over(c, ground(each.parentElement));
    };
    const contrast = (each) => {
        const back = ground(each);
        const ink = light(over(parse(getComputedStyle(each).color), back));
        return (Math.max(ink, light(back)) + 0.05) / (Math.min(ink, light(back)) + 0.05);
    };
    const isText = ({ nodeType, nodeValue }) => nodeType === 3 && nodeValue.trim();
    const hasText = (each) => [...each.childNodes].some(isText);
    return [...document.querySelectorAll("#flatirons-form *, #flatirons-presets *, #flatirons-problems *")]
        .filter((each) => each.checkVisibility() && hasText(each) && contrast(each) < 4.5)
        .map((each) => `${contrast(each).toFixed(1)} ${each.outerHTML.slice(0, 80)}`);
}"""


@pytest.fixture(scope="module")
def sessions() -> dict[str, Any]:
    """Cookies by user, so that each logs in once."""
    return {}


@pytest.fixture
def log_in(sessions: dict[str, Any]) -> LogIn:
    """Gives a page the session of a user."""

    def give(page: Page, name: str) -> Page:
        page.add_init_script(COUNT_SETTLED)
        if name in sessions:
            page.context.add_cookies(sessions[name])
            return page
        page.goto("/hub/login")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(name)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile("/hub/(home|spawn)"))
        sessions[name] = page.context.cookies()
        return page

    return give


def open_form(page: Page, query: str = "") -> None:
    """Opens the form, and returns when it is ready to be used."""
    page.goto(f"/hub/spawn{query}")
    page.locator("html.flatirons-live").wait_for()


def option(page: Page, name: str) -> Locator:
    """The input of an option."""
    return page.locator(f"#option-{name}")


def choices(page: Page, name: str) -> list[str]:
    """The values that a list offers."""
    found: list[str] = option(page, name).locator("option").evaluate_all("all => all.map((o) => o.value)")
    return found


def unfold(page: Page) -> None:
    """Opens "More options"."""
    page.get_by_text("More options").click()


@contextmanager
def rendered(page: Page) -> Iterator[None]:
    """Returns when the hub has answered what the block does, and the answer is on the page."""
    before = page.evaluate("window.settled")
    yield
    page.wait_for_function("before => window.settled > before", arg=before)


def whole(page: Page) -> Page:
    """The page in a window of its full height, for a picture."""
    width = page.evaluate("innerWidth")
    page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.offsetHeight")})
    return page


class Held:
    """The hub's answers to the form, held back until they are let go."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.routes: list[Route] = []
        self.is_open = False
        page.route(FORM, lambda route: route.continue_() if self.is_open else self.routes.append(route))

    def wait(self) -> None:
        """Waits for a request to the hub."""
        eventually(lambda: self.page.wait_for_timeout(20) or self.routes, 10, 0.0)

    def let_go(self) -> None:
        """Passes on the answers, including all later ones."""
        self.is_open = True
        for route in self.routes:
            route.continue_()


class Hub:
    """The hub's REST API."""

    def __init__(self, cluster: RealCluster) -> None:
        self.http = httpx.Client(
            base_url=f"{cluster.hub_url}/hub/api",
            headers={"Authorization": f"token {cluster.token}"},
            timeout=30,
        )

    def servers(self, name: str) -> dict[str, object]:
        """A user's servers that run or are starting."""
        found: dict[str, object] = self.http.get(f"/users/{name}").raise_for_status().json()["servers"]
        return found

    def stop(self, name: str) -> None:
        """Stops a user's server, and returns when it is gone."""
        self.http.delete(f"/users/{name}/server")
        eventually(lambda: self.servers(name) == {}, 60)


@pytest.fixture
def hub(cluster: RealCluster) -> Iterator[Hub]:
    """The hub; at the end Carol's server is stopped."""
    real = Hub(cluster)
    with real.http:
        yield real
        if real.servers("carol"):
            real.stop("carol")


@pytest.fixture
def alice(page: Page, log_in: LogIn) -> Page:
    """Alice's window, with the form and its defaults, not her last choices."""
    open_form(log_in(page, "alice"))
    defaults = page.get_by_role("button", name="Defaults")
    if defaults.count():
        with rendered(page):
            defaults.click()
    return page


@pytest.fixture
def carol(page: Page, hub: Hub, log_in: LogIn) -> Page:
    """The window of Carol, who starts servers, with the form."""
    open_form(log_in(page, "carol"))
    return page


@pytest.fixture
def busy(cluster: RealCluster) -> Iterator[None]:
    """Bob's jobs leave two free cores on each node of shas, for five hours."""
    job = ["sbatch", "--account=ucb-general", "--partition=shas", "--time=5:00:00", "--nodes=2"]
    job += ["--ntasks-per-node=1", "--cpus-per-task=6", "--wrap=sleep 900", "--output=/dev/null"]
    done = cluster.exec(HUB, job, "bob")
    assert done.returncode == 0, done.stderr
    eventually(lambda: cluster.exec(HUB, ["squeue", "-h", "-u", "bob", "-t", "R"]).stdout)
    yield
    cluster.exec(HUB, ["scancel", "--user=bob"])
    eventually(lambda: not cluster.exec(HUB, ["squeue", "-h", "-u", "bob"]).stdout)


# -- choosing


def test_a_partition_changes_accounts_qos_and_limits_and_notes_replaced_values(alice: Page) -> None:
    unfold(alice)
    assert choices(alice, "account") == ["ucb-general", "ucb-knl"]
    assert sorted(choices(alice, "qos")) == ["debug", "long", "normal"]
    option(alice, "qos").select_option("long")
    expect(alice.locator("#help-runtime")).to_contain_text("At most 7-00:00:00.")
    option(alice, "partition").select_option("sknl")
    expect(alice.locator("#note-qos")).to_contain_text("long")
    assert choices(alice, "account") == ["ucb-knl"]
    assert choices(alice, "qos") == ["normal", "debug"]
    expect(alice.locator("#help-runtime")).to_contain_text("At most 1-00:00:00.")
    option(alice, "qos").select_option("debug")
    expect(alice.locator("#help-runtime")).to_contain_text("At most 1:00:00.")
    expect(alice.locator("#gauges-partition")).to_contain_text("GPUs")
    expect(alice.locator("#gauges-partition")).to_contain_text("jobs waiting")


def test_what_was_typed_and_the_caret_survive_an_answer_that_comes_while_typing(alice: Page) -> None:
    memory = option(alice, "memory")
    held = Held(alice)
    memory.fill("12G")
    held.wait()
    memory.press("Home")
    memory.press_sequentially("3")
    memory.press("ArrowRight")
    caret = "element => [element.selectionStart, element.selectionEnd]"
    assert memory.evaluate(caret) == [2, 2]
    with rendered(alice):
        held.let_go()
    expect(memory).to_be_focused()
    expect(memory).to_have_value("312G")
    assert memory.evaluate(caret) == [2, 2]
    expect(alice.locator("#error-memory")).to_be_visible()  # what was typed later was sent as well
    expect(memory).to_have_value("312G")


def test_what_is_typed_next_is_kept_when_the_answer_to_the_field_before_comes(alice: Page) -> None:
    held = Held(alice)
    option(alice, "memory").fill("4G")
    option(alice, "memory").press("Tab")
    held.wait()
    option(alice, "runtime").select_text()
    alice.keyboard.type("2h")
    with rendered(alice):
        held.let_go()
    expect(option(alice, "runtime")).to_be_focused()
    expect(option(alice, "runtime")).to_have_value("2h")
    expect(option(alice, "memory")).to_have_value("4G")


def test_an_unfolded_part_stays_unfolded(alice: Page) -> None:
    part = alice.locator("#flatirons-part-more")
    unfold(alice)
    with rendered(alice):
        option(alice, "partition").select_option("sgpu")
    expect(part).to_have_attribute("open", "")
    with rendered(alice):
        option(alice, "nodes").fill("2")
    expect(part).to_have_attribute("open", "")
    part.locator("summary").click()
    with rendered(alice):
        option(alice, "partition").select_option("shas")
    expect(part).not_to_have_attribute("open", "")


def test_no_element_is_replaced_when_the_form_is_updated(alice: Page) -> None:
    alice.evaluate(MARK_INPUTS)
    inputs = [f"option-{name}" for name in ("environment", "cluster", "partition", "account", "cpus")]
    inputs += [f"option-{name}" for name in ("memory", "gpus", "runtime", "qos", "nodes", "ntasks")]
    for partition in ("sknl", "smem", "sgpu"):
        with rendered(alice):
            option(alice, "partition").select_option(partition)
        assert [each for each in inputs if each not in alice.evaluate(MARKED)] == []


def test_an_answer_that_changes_nothing_touches_nothing(alice: Page) -> None:
    expect(alice.locator(ESTIMATE)).to_contain_text("Starts at once")
    alice.evaluate(WATCH)
    asked = alice.expect_response("**/hub/flatirons/estimate**")
    with asked, rendered(alice):
        alice.evaluate(
            "document.getElementById('flatirons-form').dispatchEvent(new Event('flatirons:refresh'))"
        )
    changes = [each for each in alice.evaluate("window.changes") if "attributes class" not in each]
    assert changes == []


# -- when would it start


def test_on_an_idle_cluster_the_estimate_says_that_the_job_starts_at_once(alice: Page) -> None:
    expect(alice.locator(ESTIMATE)).to_contain_text("Starts at once")


def test_when_the_wait_is_long_one_click_makes_it_shorter(alice: Page, busy: None, keep: Keep) -> None:
    option(alice, "cpus").fill("4")
    option(alice, "memory").click()
    expect(alice.locator(ESTIMATE)).to_contain_text("Starts in about 5 hours")
    changes = alice.locator("[data-flatirons-set]")
    assert 1 <= changes.count() <= 3
    alice.set_viewport_size({"width": 1200, "height": 560})
    alice.evaluate("document.activeElement.blur()")
    alice.get_by_role("button", name="Start", exact=True).scroll_into_view_if_needed()
    keep(alice, "form-sooner")
    changes.filter(has_text="partition sknl").click()
    expect(option(alice, "partition")).to_have_value("sknl")
    expect(option(alice, "account")).to_have_value("ucb-knl")  # the only account that may be charged there
    expect(option(alice, "cpus")).to_have_value("4")
    expect(alice.locator(ESTIMATE)).to_contain_text("Starts at once")
    expect(changes).to_have_count(0)


# -- mistakes


def test_a_mistake_is_shown_at_its_field_while_editing_and_disappears_when_corrected(alice: Page) -> None:
    option(alice, "memory").fill("64G")
    expect(alice.locator("#error-memory")).to_be_visible()
    expect(option(alice, "memory")).to_have_attribute("aria-invalid", "true")
    expect(option(alice, "memory")).to_have_accessible_description(re.compile("Must be"))
    expect(alice.locator("#flatirons-problems")).to_have_count(0)
    option(alice, "memory").fill("6G")
    expect(alice.locator("#error-memory")).to_have_count(0)
    expect(option(alice, "memory")).not_to_have_attribute("aria-invalid", "true")


def test_after_start_a_summary_on_top_has_the_focus_and_leads_to_the_fields(
    alice: Page, hub: Hub, keep: Keep
) -> None:
    unfold(alice)
    option(alice, "memory").fill("64G")
    option(alice, "runtime").fill("soon")
    option(alice, "nodes").fill("7")
    alice.get_by_role("button", name="Start", exact=True).click()
    summary = alice.locator("#flatirons-problems")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("3 things need a change. Nothing has been started.")
    expect(summary).to_be_in_viewport()
    assert no_labels_missing(alice) == []
    keep(alice, "form-errors")
    expect(option(alice, "runtime")).to_have_value("soon")
    expect(option(alice, "nodes")).to_be_visible()
    summary.get_by_role("link", name="Run time").click()
    expect(option(alice, "runtime")).to_be_focused()
    line = summary.locator("li", has_text="Run time")
    expect(line).to_have_css("text-decoration-line", "none")
    option(alice, "runtime").fill("2h")
    expect(line).to_have_css("text-decoration-line", "line-through")
    assert hub.servers("alice") == {}


def no_labels_missing(page: Page) -> list[str]:
    """The mistakes in labels and descriptions of inputs."""
    found: list[str] = page.evaluate(NO_LABELS, INPUTS)
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    return [*found, *(f"{each}: twice" for each in set(ids) if ids.count(each) > 1)]


def test_every_input_has_a_label_and_every_description_is_there(alice: Page) -> None:
    assert no_labels_missing(alice) == []
    with rendered(alice):
        option(alice, "memory").fill("64G")
    assert no_labels_missing(alice) == []


# -- starting


def test_good_options_start_a_server_in_which_jupyterlab_opens(carol: Page, hub: Hub) -> None:
    option(carol, "runtime").fill("20m")
    option(carol, "runtime").press("Enter")
    carol.wait_for_url("**/user/carol/lab**", timeout=60_000)
    carol.locator(".jp-Launcher, .jp-Notebook").first.wait_for(timeout=60_000)
    hub.stop("carol")
    open_form(carol)
    expect(option(carol, "runtime")).to_have_value("0:20:00")
    carol.get_by_role("button", name="Defaults").click()
    expect(option(carol, "runtime")).to_have_value("1:00:00")
    carol.get_by_role("button", name="Same as last time").click()
    expect(option(carol, "runtime")).to_have_value("0:20:00")


def test_the_keyboard_alone_leads_from_log_in_to_a_server(page: Page, hub: Hub) -> None:
    page.add_init_script(COUNT_SETTLED)
    page.goto("/hub/login")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type("carol")
    page.keyboard.press("Tab")
    page.keyboard.type("carol")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/hub/(home|spawn)"))
    open_form(page)
    where = "document.activeElement.id || document.activeElement.textContent.trim()"
    stops: list[str] = []
    while "Start" not in stops:
        assert len(stops) < 60, stops
        page.keyboard.press("Tab")
        stops.append(page.evaluate(where))
        if stops[-1] == "option-partition":
            with rendered(page):
                page.keyboard.type("sgpu")
    ours = [each for each in stops if each.startswith("option-")]
    places = ("environment", "cluster", "partition", "account", "qos")
    names = (*places, "cpus", "memory", "gpus", "runtime")
    assert ours == [f"option-{name}" for name in names]
    assert stops.index("flatirons-preset-1") < stops.index("option-environment")
    expect(option(page, "partition")).to_have_value("sgpu")
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/carol/lab**", timeout=60_000)


# -- presets


def test_a_preset_fills_in_and_leaves_the_rest(alice: Page) -> None:
    option(alice, "partition").select_option("sgpu")
    alice.get_by_role("button", name="GPU 1 GPU").click()
    expect(option(alice, "gpus")).to_have_value(re.compile(r":1$|^1$"))
    expect(option(alice, "cpus")).to_have_value("2")
    expect(option(alice, "memory")).to_have_value("4G")
    expect(option(alice, "runtime")).to_have_value("2:00:00")
    expect(option(alice, "partition")).to_have_value("sgpu")


def test_a_users_choices_are_saved_used_and_forgotten(alice: Page, hub: Hub) -> None:
    option(alice, "memory").fill("3G")
    option(alice, "partition").select_option("smem")
    alice.get_by_text("Save these choices").click()
    alice.get_by_label("Name of these choices").fill("My <b>work</b>")
    alice.get_by_label("Name of these choices").press("Enter")
    expect(alice.get_by_role("status").filter(has_text="Saved as")).to_be_visible()
    open_form(alice)
    expect(option(alice, "memory")).not_to_have_value("3G")
    alice.get_by_role("button", name="My <b>work</b>", exact=True).click()
    expect(option(alice, "memory")).to_have_value("3G")
    expect(option(alice, "partition")).to_have_value("smem")
    alice.get_by_role("button", name="Forget My <b>work</b>").click()
    expect(alice.get_by_role("button", name="My <b>work</b>", exact=True)).to_have_count(0)
    open_form(alice)
    expect(alice.get_by_role("button", name="My <b>work</b>", exact=True)).to_have_count(0)
    assert hub.servers("alice") == {}


def test_a_link_fills_the_form_in_marks_what_it_filled_and_starts_nothing(alice: Page, hub: Hub) -> None:
    alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with rendered(alice):
        option(alice, "partition").select_option("sgpu")
    option(alice, "memory").fill("3G")
    alice.get_by_role("link", name="Copy a link").click()  # it includes what was just typed
    expect(alice.get_by_text("Link copied")).to_be_visible()
    link = alice.evaluate("navigator.clipboard.readText()")
    alice.goto("/hub/home")
    alice.goto(link)
    expect(alice).to_have_url(link)
    expect(option(alice, "partition")).to_have_value("sgpu")
    expect(option(alice, "memory")).to_have_value("3G")
    expect(alice.get_by_text("from the link", exact=True)).to_have_count(2)
    expect(alice.locator("label[for=option-memory]")).to_contain_text("from the link")
    expect(alice.locator("label[for=option-cpus]")).not_to_contain_text("from the link")
    expect(alice.locator("#flatirons-notice")).to_contain_text("Nothing has been started.")
    with rendered(alice):
        option(alice, "memory").fill("lots")
    alice.get_by_role("link", name="Copy a link").click()
    expect(alice.get_by_text("Link copied, without Memory.")).to_be_visible()
    assert "opt-partition=sgpu" in alice.evaluate("navigator.clipboard.readText()")
    with rendered(alice):
        option(alice, "memory").fill("2G")
    expect(alice.locator("label[for=option-memory]")).not_to_contain_text("from the link")
    expect(alice.locator("label[for=option-partition]")).to_contain_text("from the link")
    assert hub.servers("alice") == {}


def test_a_link_shows_its_choices_while_the_server_runs_and_starts_it_again(
    alice: Page, hub: Hub, keep: Keep
) -> None:
    open_form(alice)
    with rendered(alice):
        option(alice, "memory").fill("1G")
    alice.get_by_role("button", name="Start", exact=True).click()
    alice.wait_for_url("**/user/alice/**", timeout=120_000)  # the page of the start leads there by itself
    alice.goto("/hub/spawn?opt-memory=1500M&opt-runtime=20m")
    expect(alice.get_by_role("status").filter(has_text="Your server is running")).to_be_visible()
    expect(option(alice, "memory")).to_have_value("1500M")
    expect(alice.get_by_label("Name of another server")).to_have_value("server-2")
    assert no_labels_missing(alice) == []
    keep(whole(alice), "form-while-running")
    alice.set_viewport_size(PHONE)
    assert alice.evaluate(TOO_WIDE) == []
    with rendered(alice):
        option(alice, "memory").fill("lots")
    alice.get_by_role("button", name="Restart with these choices").click()
    expect(alice.locator("#error-memory")).to_be_visible()
    assert hub.servers("alice")[""]["ready"], "a mistake ends no server"
    with rendered(alice):
        option(alice, "memory").fill("1200M")
    alice.get_by_role("button", name="Restart with these choices").click()
    alice.wait_for_url(re.compile("/hub/spawn-pending/|/user/alice/"))
    eventually(
        lambda: ((hub.servers("alice").get("") or {}).get("user_options") or {}).get("memory") == 1200, 120
    )
    eventually(lambda: (hub.servers("alice").get("") or {}).get("ready"), 120)
    hub.stop("alice")


# -- without JavaScript


@pytest.fixture
def plain(browser: Browser, cluster: RealCluster, log_in: LogIn) -> Iterator[Page]:
    """Carol's window without JavaScript, with the form."""
    context = browser.new_context(base_url=cluster.hub_url, java_script_enabled=False)
    page = log_in(context.new_page(), "carol")
    page.goto("/hub/spawn")
    yield page
    context.close()


def test_without_javascript_a_button_updates_the_choices(plain: Page) -> None:
    option(plain, "cluster").select_option("blanca")
    option(plain, "memory").fill("64G")
    plain.get_by_role("button", name="Update the choices").click()
    expect(option(plain, "cluster")).to_have_value("blanca")
    expect(option(plain, "partition")).to_have_value("blanca-csdms")
    assert choices(plain, "account") == ["csdms"]
    expect(plain.locator("#error-memory")).to_be_visible()
    expect(option(plain, "memory")).to_have_value("64G")


def test_without_javascript_presets_work_and_can_be_saved(plain: Page) -> None:
    plain.get_by_role("button", name="Large memory").click()
    expect(option(plain, "memory")).to_have_value("12G")
    plain.get_by_text("Save these choices").click()
    plain.get_by_label("Name of these choices").fill("Plain")
    plain.get_by_role("button", name="Save", exact=True).click()
    expect(plain.locator("#flatirons-notice")).to_contain_text("Saved as")
    plain.get_by_role("button", name="Defaults").click()
    expect(option(plain, "memory")).to_have_value("1500M")
    plain.get_by_role("button", name="Plain", exact=True).click()
    expect(option(plain, "memory")).to_have_value("12G")
    plain.get_by_role("button", name="Forget Plain").click()
    expect(plain.get_by_role("button", name="Plain", exact=True)).to_have_count(0)


def test_without_javascript_mistakes_are_shown_and_a_server_starts(plain: Page, hub: Hub) -> None:
    option(plain, "runtime").fill("soon")
    plain.get_by_role("button", name="Start", exact=True).click()
    expect(plain.locator("#flatirons-problems")).to_contain_text("One thing needs a change.")
    expect(option(plain, "runtime")).to_have_value("soon")
    option(plain, "runtime").fill("20m")
    option(plain, "runtime").press("Enter")
    plain.wait_for_url(re.compile("/hub/spawn-pending/carol|/user/carol/"))
    assert list(hub.servers("carol")) == [""]


# -- on any screen


def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_can_be_read(
    alice: Page, busy: None, keep: Keep
) -> None:
    alice.set_viewport_size(PHONE)
    assert alice.evaluate(TOO_WIDE) == []
    keep(whole(alice), "form-phone")
    unfold(alice)
    alice.get_by_text("Save these choices").click()
    option(alice, "cpus").fill("4")
    alice.locator("[data-flatirons-set]").first.wait_for()
    assert alice.evaluate(TOO_WIDE) == []
    option(alice, "memory").fill("9999999G")
    alice.locator("#error-memory").wait_for()
    alice.get_by_role("button", name="Start", exact=True).click()
    alice.locator("#flatirons-problems").wait_for()
    assert alice.evaluate(TOO_WIDE) == []
    assert alice.evaluate(TOO_SMALL) == []


def test_texts_have_enough_contrast_in_light_and_in_dark(alice: Page, keep: Keep) -> None:
    alice.emulate_media(reduced_motion="reduce")  # without transitions of colours
    expect(alice.locator(ESTIMATE)).to_contain_text("Starts at once")
    keep(whole(alice), "form")
    unfold(alice)
    with rendered(alice):
        option(alice, "memory").fill("64G")
    with rendered(alice):
        option(alice, "qos").select_option("long")
    option(alice, "partition").select_option("sknl")
    alice.locator("#note-qos").wait_for()
    alice.locator("#error-memory").wait_for()
    alice.get_by_text("Save these choices").click()
    alice.evaluate("document.activeElement.blur()")
    assert alice.evaluate(TOO_PALE) == []
    alice.locator("#dark-theme-toggle").click()
    expect(alice.locator("html")).to_have_attribute("data-bs-theme", "dark")
    assert alice.evaluate(TOO_PALE) == []


def test_a_user_who_prefers_dark_gets_dark(
    browser: Browser, cluster: RealCluster, log_in: LogIn, keep: Keep
) -> None:
    context = browser.new_context(
        base_url=cluster.hub_url, color_scheme="dark", viewport={"width": 1200, "height": 800}
    )
    page = log_in(context.new_page(), "alice")
    open_form(page)
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(page.locator(ESTIMATE)).to_contain_text("Starts at once")
    assert page.evaluate(TOO_PALE) == []
    keep(whole(page), "form-dark")
    context.close()


# -- when something doesn't answer, or there is nothing to choose


def test_a_user_who_may_use_nothing_is_told_so(page: Page, log_in: LogIn) -> None:
    open_form(log_in(page, "dave"))
    expect(page.get_by_role("alert")).to_contain_text("You can't start a server here.")
    expect(page.get_by_role("alert")).to_contain_text("Please ask the operator.")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    expect(page.locator("#flatirons-presets button")).to_have_count(0)
    assert no_labels_missing(page) == []


def test_while_slurm_is_down_the_form_opens_and_says_how_old_it_is(alice: Page, cluster: RealCluster) -> None:
    faults.apply(cluster.demo.instance, "kill", "slurmctld@summit")
    try:
        eventually(lambda: refused_with_age(alice))
        expect(alice.locator("#flatirons-age")).to_contain_text("Slurm doesn't answer on summit")
        assert "shas" in choices(alice, "partition")
    finally:
        faults.apply(cluster.demo.instance, "start", "slurmctld@summit")
    eventually(lambda: cluster.exec(HUB, ["scontrol", "ping"]).stdout.count("UP"))


def refused_with_age(page: Page) -> bool:
    """Presses Start with a mistake, so that Slurm is queried; whether the page reports old facts."""
    option(page, "runtime").fill("soon")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator("#flatirons-problems").wait_for()
    return page.locator("#flatirons-age").is_visible()


def test_typed_values_stay_while_the_hub_is_down(alice: Page, cluster: RealCluster) -> None:
    away = alice.locator("#flatirons-away")
    expect(away).to_be_hidden()
    cluster.kill_hub()
    try:
        option(alice, "memory").fill("3G")
        expect(away).to_be_visible()
        option(alice, "partition").select_option("sgpu")
        expect(option(alice, "memory")).to_have_value("3G")
    finally:
        cluster.start_hub()
    with rendered(alice):
        option(alice, "cpus").fill("2")
    expect(away).to_be_hidden()
    expect(option(alice, "memory")).to_have_value("3G")
    expect(option(alice, "partition")).to_have_value("sgpu")


# -- long lists


def in_thread(coroutine) -> str:
    """The result of a coroutine; Playwright's own loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return str(pool.submit(asyncio.run, coroutine).result())


@pytest.fixture
def long_list(browser: Browser) -> Iterator[Page]:
    """A form with a list of 40 partitions, without a hub."""
    partitions = [
        Choice(f"part{number:02}", f"Room {number}", "GPUs" if number % 7 == 0 else "")
        for number in range(40)
    ]
    form = Form([Select("partition", "Partition", choices=partitions, default="part03", required=True)])
    settings = PageSettings(form="/hub/flatirons/form", static="/static/")

    def answer(route: Route) -> None:
        name = route.request.url.partition("?")[0].rpartition("/")[2]
        if name.endswith(".js"):
            route.fulfill(path=STATIC / name)
        elif name == "form":
            found = re.search(r'name="partition"\s+(\S+)', route.request.post_data or "")
            given = {"partition": found[1] if found else ""}
            route.fulfill(
                content_type="text/html",
                body=in_thread(form.render(given, {}, Context(), page=settings, live=True, whole=False)),
            )
        else:
            body = in_thread(form.render({}, {}, Context(), page=settings))
            route.fulfill(
                content_type="text/html",
                body=f"<form id=spawn_form method=post enctype=multipart/form-data>{body}</form>",
            )

    context: BrowserContext = browser.new_context()
    page = context.new_page()
    page.add_init_script(COUNT_SETTLED)
    page.route("**/*", answer)
    page.goto("http://form.test/")
    page.locator("html.flatirons-live").wait_for()
    yield page
    context.close()


def test_a_long_list_is_searched_with_the_keyboard(long_list: Page) -> None:
    search, chosen = long_list.get_by_label("Search Partition"), option(long_list, "partition")
    expect(chosen).to_have_value("part03")
    search.fill("gpus 2")
    shown = "all => all.filter((o) => o.checkVisibility()).map((o) => o.value)"
    assert chosen.locator("option").evaluate_all(shown) == ["part03", "part21", "part28"]
    with rendered(long_list):
        search.press("Enter")
    expect(chosen).to_have_value("part21")
    expect(search).to_be_focused()
    expect(search).to_have_value("gpus 2")
    assert chosen.locator("option").evaluate_all(shown) == ["part21", "part28"]
    search.fill("")
    search.press("ArrowDown")
    expect(chosen).to_be_focused()
    assert long_list.url == "http://form.test/"
