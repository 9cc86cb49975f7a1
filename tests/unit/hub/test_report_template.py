"""A report on the hub's pages: figures in words and bars, what starts the server again, the log."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

from jinja2 import Environment, FileSystemLoader

from flatirons.servers.report import Report
from tests.repository import REPO

TEMPLATES = REPO / "src" / "flatirons" / "hub" / "templates"
SERVER = {
    "spawn": "/hub/spawn/alice/",
    "report": "/hub/flatirons/report/alice/",
    "xsrf": "x",
    "can_start": True,
}
REQUEST = "[I 2026-11-29 21:00:00.123 ServerApp] 200 GET /user/alice/api (alice@10.1.0.9) 1.42ms"
TIME_LIMIT = Report(
    "time_limit",
    "The job reached its time limit of 1 minute.",
    job_id=7,
    ran_seconds=62,
    runtime_limit_minutes=1,
    requested_memory_mib=16000,
    used_memory_mib=8000,
    cpus=4,
    cpu_seconds=74.4,
    options={"partition": "shas", "memory": "16000M"},
    fix={"runtime": "0:02:00"},
)


def shown(report: Report, **more: Any) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    made: Any = environment.get_template("flatirons_report_parts.html").module
    return str(made.report(report, {**SERVER, **more}))


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def forms(page: str) -> dict[str, dict[str, str]]:
    """What each button of the page posts, by its label."""
    found = {}
    for inside in re.findall(r"<form.*?</form>", page, re.DOTALL):
        inputs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', inside)
        found[words(inside)] = {name: unescape(text) for name, text in inputs}
    return found


def test_figures_are_in_words_beside_bars_that_say_the_same_to_screen_readers() -> None:
    page = shown(TIME_LIMIT)
    assert "Memory used 7.8 GB of 16 GB" in words(page)
    assert "Time used 62 seconds of 1 minute" in words(page)
    assert "Cores busy 1.2 of 4 on average" in words(page)
    bars = re.findall(r'role="progressbar" aria-label="([^"]*)".*?aria-valuenow="(\d+)"', page)
    assert bars == [("Memory used", "50"), ("Time used", "100"), ("Cores busy", "30")]
    assert "width: 103%" not in page, "a job may run a little longer than its limit"


def test_one_button_starts_with_the_fix_another_as_it_was_and_a_link_opens_the_form() -> None:
    page = shown(TIME_LIMIT)
    was = {"_xsrf": "x", "partition": "shas", "memory": "16000M"}
    assert forms(page)["Start again with 2 minutes"] == {**was, "runtime": "0:02:00"}
    assert forms(page)["Start again as it was"] == was
    link = "/hub/spawn/alice/?opt-partition=shas&opt-memory=16000M&opt-runtime=0%3A02%3A00"
    assert f'href="{link}"' in unescape(page)


def test_without_a_fix_the_same_options_can_be_started_again() -> None:
    assert "Start again with the same options" in forms(shown(replace(TIME_LIMIT, fix={})))


def test_it_can_be_dismissed_once() -> None:
    assert forms(shown(TIME_LIMIT))["Dismiss"] == {"_xsrf": "x", "job": "7"}
    assert "Dismiss" not in shown(replace(TIME_LIMIT, dismissed=True))


def test_who_may_not_start_the_server_gets_no_buttons() -> None:
    assert forms(shown(TIME_LIMIT, can_start=False)) == {}


def test_the_log_leaves_requests_out_marks_what_tells_and_is_whole_one_click_away() -> None:
    page = shown(Report("failed", "It failed.", log=[REQUEST, "ValueError: no", "bye"]))
    first, whole = re.findall(r"<pre.*?</pre>", page, re.DOTALL)
    assert "GET /user" not in first and "GET /user" in whole
    assert "<mark>" in first and "Important: ValueError: no" in words(first)
    assert "Show all 3 lines" in words(page)


def test_a_log_of_requests_says_so_and_stays_folded() -> None:
    page = shown(Report("failed", "It failed.", log=[REQUEST]))
    assert "Only requests and routine messages" in words(page)
    assert " open" not in page


def test_texts_of_others_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    report = Report(
        hostile, hostile, hostile, cluster=hostile, job_id=7, node=hostile, ended_at=1.0, log=[hostile]
    )
    page = shown(replace(report, options={"partition": '"><script>'}, fix={hostile: hostile}))
    assert "<script" not in page
