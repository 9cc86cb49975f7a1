"""Drawings of the last minutes, and the words beside them."""

from __future__ import annotations

import re

import pytest

from flatirons.hub.operations.charts import HEIGHT, counts, seconds
from flatirons.servers.end_kinds import WORDS, kind_in_words
from tests.repository import REPO


def test_the_highest_bar_fills_the_drawing_and_a_small_one_is_visible() -> None:
    found = counts("Submissions", [0, 1000, 1])
    assert found.path == f"M1 {HEIGHT}v-24h1v24zM2 {HEIGHT}v-1h1v1z"
    assert (found.width, found.summary) == (3, "1,001, at most 1,000 in a minute")


@pytest.mark.parametrize("values", [[], [0, 0]])
def test_nothing_is_drawn_of_nothing(values: list[int]) -> None:
    found = counts("Failures", values, is_bad=True)
    assert (found.path, found.summary, found.is_bad) == ("", "none", False)


def test_times_have_units_and_a_minute_without_a_query_has_no_bar() -> None:
    found = seconds("Slurm", [None, 0.5, 12.25, None])
    assert found.summary == "last 12.2 s, slowest 12.2 s" and found.path.count("M") == 2
    assert seconds("Slurm", [0.5, 0.0123]).summary == "last 12 ms, slowest 500 ms"
    assert seconds("Slurm", [None]).summary == "none yet"


def test_every_kind_that_the_guide_for_operators_lists_has_words() -> None:
    guide = (REPO / "docs/how-to/operate.md").read_text(encoding="utf-8")
    table = guide.partition("| kind | source |")[2].partition("\n\n")[0]
    named = [line.split("|")[1] for line in table.splitlines() if line.count("|") > 2]
    kinds = {kind for cell in named for kind in re.findall(r"`([a-z_]+)`", cell)}
    assert len(kinds) > 30
    assert {kind for kind in kinds if kind not in WORDS} == set()
    assert kind_in_words("of_a_later_release") == "of a later release"
