"""The table of faults: a run replaces its own rows on the page, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.settings import DEADLINE_S
from tests.faults.table import PAGE, Row, Table, merged, write

ORDER = [fault.name for fault in FAULTS]
SEEN = Row(
    "scancel by root", 4711, 10, 100, Counter(cancelled_by_operator=52), Counter(up=10, waiting=8), 5.4, 0
)


@pytest.fixture
def table() -> Table:
    return Table({SEEN.name: SEEN})


def test_a_run_of_one_fault_replaces_its_row_and_leaves_all_else(table: Table) -> None:
    before, after = PAGE.read_text(), merged(PAGE.read_text(), table, ORDER)
    changed = [
        (old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new
    ]
    [(old, new)] = changed
    assert old.startswith("| scancel by root |")
    assert new.startswith(
        "| scancel by root | 10 | 100 | 0 | 5 | 52 cancelled_by_operator | 10 up, 8 waiting | 4711 | 2"
    )


def test_a_fault_that_is_new_gets_its_row_in_the_order_of_the_suite(table: Table) -> None:
    page = f"words\n\n{Table().markdown()}\nfindings\n"
    both = Table({"node drained": Row("node drained", 1), **table.rows})
    lines = merged(page, both, ORDER).splitlines()
    assert (lines[0], lines[-1]) == ("words", "findings")
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| scancel by root", "| node drained"]


def test_a_fault_that_the_suite_no_longer_has_loses_its_row(table: Table) -> None:
    page = f"{Table({'of old': Row('of old')}).markdown()}"
    assert "of old" not in merged(page, table, ORDER)


def test_a_page_without_such_a_table_is_not_touched(table: Table, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| fault | other columns |\n")
    with pytest.raises(ValueError, match="no table that begins with"):
        write(table, ORDER, page)
    assert page.read_text() == "| fault | other columns |\n"


def test_what_is_printed_has_each_faults_seed(table: Table) -> None:
    assert "| 4711 |" in table.markdown()


def test_the_page_names_the_suites_deadline() -> None:
    assert f"within {DEADLINE_S:.0f} seconds after the fault is repaired" in PAGE.read_text()
