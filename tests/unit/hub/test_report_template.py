"""A report on the hub's pages: figures in words, and a link with typed values."""

from __future__ import annotations

import re
from html import unescape

from jinja2 import Environment, FileSystemLoader

from flatirons.servers.report import Report
from tests.repository import REPO

TEMPLATES = REPO / "src" / "flatirons" / "hub" / "templates"


def shown(report: Report) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    page = environment.get_template("flatirons_report_parts.html").module.report(report, "/hub/spawn/alice")  # type: ignore[attr-defined]
    return unescape(str(page))


def test_figures_and_the_fix_are_in_words_and_the_link_has_what_is_typed() -> None:
    text = shown(
        Report(
            "time_limit",
            "The job reached its time limit of 1 minute.",
            ran_seconds=62,
            runtime_limit_minutes=1,
            requested_memory_mib=16000,
            used_memory_mib=8000,
            options={"partition": "shas", "memory": "16000M"},
            fix={"runtime": "0:02:00"},
        )
    )
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert "Ran 62 seconds of 1 minute" in words
    assert "Memory 7.8 GB of 16 GB seen in use (50 %)" in words
    assert "Start again with 2 minutes" in words
    assert "/hub/spawn/alice?opt-partition=shas&opt-memory=16000M&opt-runtime=0%3A02%3A00" in text


def test_texts_of_others_are_escaped() -> None:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    report = Report("failed", "<b>It</b> failed.", log=["<script>"])
    page = str(environment.get_template("flatirons_report_parts.html").module.report(report, "/spawn"))  # type: ignore[attr-defined]
    assert "<script>" not in page and "<b>" not in page
