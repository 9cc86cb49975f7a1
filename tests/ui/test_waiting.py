"""The pages of a server that waits, fails or has ended, in a browser, on real Slurm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from cluster.layout import HUB
from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import visit
from tests.ui.lab import log_in
from tests.waiting import eventually

pytestmark = pytest.mark.cluster
Keep = Callable[[Page, str], None]

SUMMIT = "SLURM_CONF=/etc/slurm/summit/slurm.conf"
WAITING = {"partition": "sknl", "account": "ucb-knl", "qos": "normal", "runtime": "20m", "memory": "1G"}

# Notifications are recorded where a test can read them; the permission, once given, stays.
NOTIFICATIONS = """window.Notification = class { constructor(title) { console.log(`notified: ${title}`); } };
window.Notification.permission = sessionStorage.getItem("allowed") || "default";
window.Notification.requestPermission = async () => {
    sessionStorage.setItem("allowed", "granted");
    return (window.Notification.permission = "granted");
};"""


def slurm(cluster: RealCluster, *argv: str, user: str = "alice") -> str:
    done = cluster.exec(HUB, ["env", SUMMIT, *argv], user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def full_sknl(cluster: RealCluster) -> Iterator[int]:
    """A job takes the only node of sknl for hours."""
    with Slurm(cluster).sknl_taken() as job:
        yield job


@pytest.fixture
def alice(cluster: RealCluster) -> Iterator[Person]:
    """Alice, logged in."""
    yield from visit(cluster, Slurm(cluster), "alice")


@pytest.fixture
def window(page: Page) -> Page:
    """Alice's browser, logged in."""
    page.add_init_script(NOTIFICATIONS)
    page.goto("/hub/login")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill("alice")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/hub/(home|spawn)"))
    return page


def pending(window: Page, alice: Person, server: str = "", **options: str) -> Page:
    """The page of a start that waits in the queue."""
    assert alice.start(server, **{**WAITING, **options}).status_code in (201, 202)
    window.goto(f"/hub/spawn-pending/alice/{server}".rstrip("/"))
    expect(window.locator("h1")).to_contain_text("is waiting in the queue")
    return window


def test_a_waiting_page_shows_the_reason_the_position_and_the_estimate(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int, keep: Keep
) -> None:
    first = slurm(cluster, "sbatch", "--parsable", "-p", "sknl", "-A", "ucb-knl", "--wrap", "sleep 1")
    pending(window, alice, runtime="4h")
    facts, message = window.locator("#start-facts"), window.locator("#progress-message")
    expect(message).to_contain_text("Other jobs are ahead of it in the queue")
    expect(facts).to_contain_text("2 of 2")
    expect(facts).to_contain_text("estimated")
    expect(window).to_have_title("2 of 2 in the queue: your server")
    expect(window.locator("#start-line [aria-current=step]")).to_contain_text("In the queue")
    expect(window.locator("#start-asked")).to_contain_text("Run time: 4 hours")
    expect(window.locator("#start-sooner").get_by_role("button").first).to_be_visible()
    keep(window, "waiting")
    slurm(cluster, "scancel", first)
    expect(facts).to_contain_text("1 of 1", timeout=30_000)
    window.locator("#progress-details summary").click()
    lines = window.locator("#progress-log")
    expect(lines).to_contain_text("Submitted as job")
    expect(lines).to_contain_text("number 2 of 2")
    expect(lines.locator("time").first).to_be_visible()


def test_a_change_lets_the_waiting_job_start_sooner(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int
) -> None:
    pending(window, alice, runtime="4h", memory="4G")
    job = slurm(cluster, "squeue", "-h", "-o", "%i %V", "-n", "jupyter", "-u", "alice")
    choices = window.locator("#start-sooner")
    change = choices.get_by_role("button", name="Use the partition shas")
    expect(change).to_contain_text("keeps its age in the queue")
    change.click()
    window.wait_for_url(re.compile("/user/alice/"), timeout=60_000)
    assert slurm(cluster, "squeue", "-h", "-o", "%i %V", "-n", "jupyter", "-u", "alice") == job, (
        "the same job"
    )
    assert slurm(cluster, "squeue", "-h", "-o", "%P", "-n", "jupyter", "-u", "alice") == "shas"
    assert alice.server()["user_options"]["partition"] == "shas"  # type: ignore[index]


def test_without_javascript_the_page_says_the_same_and_cancels(
    browser: Browser, alice: Person, cluster: RealCluster, full_sknl: int
) -> None:
    context = browser.new_context(base_url=cluster.hub_url, java_script_enabled=False)
    plain = context.new_page()
    log_in(plain, "alice")
    pending(plain, alice)
    expect(plain.locator("#start-facts")).to_contain_text("1 of 1")
    expect(plain.locator("noscript meta[http-equiv=refresh]")).to_have_count(1)
    plain.get_by_role("button", name="Cancel", exact=True).click()
    plain.wait_for_url(re.compile("/hub/home"))
    assert "jupyter" not in slurm(cluster, "squeue", "-h", "-o", "%j", "-u", "alice")
    context.close()


@pytest.mark.parametrize("server", ["", "second"])
def test_a_start_is_cancelled_from_its_page(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int, server: str
) -> None:
    pending(window, alice, server)
    window.get_by_role("button", name="Cancel", exact=True).click()
    window.wait_for_url(re.compile("/hub/home"))
    eventually(lambda: not alice.server(server) or not alice.server(server)["pending"])  # type: ignore[index]
    assert "jupyter" not in slurm(cluster, "squeue", "-h", "-o", "%j", "-u", "alice")


@pytest.mark.parametrize(("server", "memory"), [("", "1G"), ("second", "2G")])
def test_changing_options_cancels_and_leads_to_the_filled_in_form(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int, server: str, memory: str
) -> None:
    pending(window, alice, server, memory=memory)
    window.get_by_role("button", name="Cancel and change options").click()
    window.wait_for_url(re.compile(f"/hub/spawn/alice/{server}".rstrip("/") + r"(\?|$)"))
    expect(window.locator("#option-partition")).to_have_value("sknl")
    expect(window.locator("#option-memory")).to_have_value(memory)
    assert "jupyter" not in slurm(cluster, "squeue", "-h", "-o", "%j", "-u", "alice")


def test_a_requested_notification_comes_when_the_server_starts_after_a_restart_of_the_hub(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int
) -> None:
    pending(window, alice)
    window.get_by_role("button", name="Notify me when it is ready").click()
    expect(window.get_by_role("button", name="You will be notified")).to_be_visible()
    cluster.kill_hub()
    try:
        expect(window.locator("#start-away")).to_be_visible(timeout=20_000)
    finally:
        cluster.start_hub()
    expect(window.locator("#start-away")).to_be_hidden(timeout=30_000)
    expect(window.locator("h1")).to_contain_text("is waiting in the queue", timeout=30_000)
    expect(window.get_by_role("button", name="You will be notified")).to_be_visible()
    told: list[str] = []
    window.on("console", lambda line: told.append(line.text))
    slurm(cluster, "scancel", str(full_sknl))
    window.wait_for_url(re.compile("/user/alice/"), timeout=60_000)
    assert "notified: Your server is ready" in told


def test_somebody_who_is_logged_out_meanwhile_is_offered_the_log_in(
    window: Page, alice: Person, cluster: RealCluster, full_sknl: int
) -> None:
    pending(window, alice, "second")
    window.context.clear_cookies()
    cluster.kill_hub()
    try:
        expect(window.locator("#start-away")).to_be_visible(timeout=20_000)
    finally:
        cluster.start_hub()
    expect(window.locator("#start-logged-out")).to_be_visible(timeout=30_000)
    window.locator("#start-logged-out").get_by_role("link", name="log in").click()
    window.get_by_label("Username").fill("alice")
    window.get_by_label("Password").fill("alice")
    window.get_by_role("button", name="Sign in").click()
    window.wait_for_url(re.compile("/hub/spawn-pending/alice/second"))
    window.get_by_role("button", name="Cancel", exact=True).click()  # of a start that the new hub took up
    window.wait_for_url(re.compile("/hub/home"))
    assert "jupyter-second" not in slurm(cluster, "squeue", "-h", "-o", "%j", "-u", "alice")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("window.Notification.permission = 'denied'", "Notifications of this site are blocked"),
        ("delete window.Notification", "This browser can't show notifications"),
        ("Object.defineProperty(window, 'isSecureContext', {value: false})", "only for pages with https"),
        ("window.Notification.requestPermission = async () => 'default'", "got no answer"),
    ],
)
def test_a_browser_that_shows_no_notification_is_explained(
    window: Page, alice: Person, full_sknl: int, script: str, words: str
) -> None:
    window.add_init_script(script)
    pending(window, alice)
    button = window.get_by_role("button", name="Notify me when it is ready")
    if "requestPermission" in script:
        button.click()
    else:
        expect(button).to_be_hidden()
    expect(window.locator("#notify-words")).to_contain_text(words)


def test_a_start_that_fails_says_why_and_leads_to_its_report(window: Page, alice: Person, keep: Keep) -> None:
    alice.start(partition="shas", account="ucb-general", runtime="20m", environment="broken")
    window.goto("/hub/spawn-pending/alice")
    expect(window.locator("h1")).to_contain_text("didn't start")
    expect(window.locator("#progress-message, .flatirons-report").first).to_contain_text(
        "exit code 3 before it listened"
    )
    window.goto("/hub/flatirons/report/alice")
    report = window.locator(".flatirons-report").first
    expect(report).to_contain_text("exit code 3 before it listened")
    expect(report.locator("pre")).to_have_text("<b>there is no such module</b>")
    keep(window, "report")
    report.get_by_role("link", name="Change options").click()
    expect(window.locator("#option-runtime")).to_have_value("0:20:00")
    expect(window.locator("#flatirons-notice")).to_contain_text("Nothing has been started.")


def test_the_page_of_a_server_that_ended_starts_it_again_with_what_would_have_helped(
    window: Page, alice: Person, cluster: RealCluster
) -> None:
    alice.start(partition="shas", account="ucb-general", runtime="20m", memory="500M", environment="hungry")
    assert alice.events()[-1].get("failed")
    found = alice.rest("GET", "/flatirons/report/alice").json()["reports"][0]
    assert (found["kind"], found["was_up"], found["fix"]) == ("out_of_memory", False, {"memory": "1G"}), found
    window.goto("/hub/user/alice/lab")
    report = window.locator(".flatirons-report")
    expect(report).to_contain_text("ran out of memory")
    report.get_by_role("button", name="Start again with 1 GB of memory").click()
    window.wait_for_url(re.compile("/hub/spawn-pending/alice"))
    job = eventually(lambda: slurm(cluster, "squeue", "-h", "-o", "%m %l", "-n", "jupyter", "-u", "alice"))
    assert job == "1G 20:00"


def test_a_server_that_an_operator_cancelled_says_so(
    window: Page, alice: Person, cluster: RealCluster
) -> None:
    alice.start(partition="shas", account="ucb-general", runtime="20m", memory="1G")
    alice.wait_ready()
    job = slurm(cluster, "squeue", "-h", "-o", "%i", "-n", "jupyter", "-u", "alice")
    done = cluster.exec(HUB, ["env", SUMMIT, "scancel", job])
    assert done.returncode == 0, done.stderr
    eventually(lambda: not (alice.server() or {}).get("ready"), 60)
    window.goto("/hub/user/alice/lab")
    expect(window.locator("h1")).to_contain_text("is not running")
    expect(window.locator(".flatirons-report")).to_contain_text("cancelled by an operator")
    found = alice.rest("GET", "/flatirons/report/alice").json()["reports"][0]
    assert (found["kind"], found["was_up"], found["job_id"]) == ("cancelled_by_operator", True, int(job))
