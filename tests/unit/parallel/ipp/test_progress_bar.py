"""Text on ipyparallel's progress bar."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

from ipyparallel.util import progress

from flatirons.parallel.ipp.progress_bar import ProgressBar, printing_above_bars


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """The visible lines: after a carriage return the line is overwritten."""
        lines = self.getvalue().split("\n")
        return [(line.rstrip("\r").rpartition("\r")[2]).strip() for line in lines]


def opened(total: int) -> tuple[Any, ProgressBar]:
    """ipyparallel's own bar, and ours."""
    bar = progress(widget=False, initial=0, total=total, unit="engine", mininterval=0)
    found = ProgressBar.newest()
    assert found
    return bar, found


def test_without_a_bar_none_is_found() -> None:
    assert ProgressBar.newest() is None


def test_a_bar_shows_a_text_until_engines_come() -> None:
    with redirect_stdout(Screen()) as screen:
        theirs, bar = opened(2)
        bar.show("waits (Priority)")
        assert screen.shown()[-1].startswith("waits (Priority):   0%")
        theirs.update(2)
        theirs.close()
        assert "waits" not in screen.shown()[0] and "100%" in screen.shown()[0]
        bar.show("too late")
        assert "too late" not in screen.getvalue()


def test_a_bar_that_gets_no_more_engines_is_closed_with_the_reason() -> None:
    with redirect_stdout(Screen()) as screen:
        _, bar = opened(2)
        bar.close("job 12 has ended")
        assert screen.shown()[0].startswith("job 12 has ended:   0%")
        assert ProgressBar.newest() is None


def test_a_printed_line_is_above_the_bar() -> None:
    with redirect_stdout(Screen()) as screen:
        theirs, bar = opened(2)
        bar.show("waits")
        with printing_above_bars():
            print("Engines (job 12) wait: Other jobs are ahead.")
        assert screen.shown()[0] == "Engines (job 12) wait: Other jobs are ahead."
        assert screen.shown()[1].startswith("waits:   0%")
        theirs.close()


def test_the_bar_that_was_opened_last_is_written_on() -> None:
    with redirect_stdout(Screen()) as screen:
        old, _ = opened(1)
        new, bar = opened(7)
        bar.show("waits")
        assert "waits:   0%|          | 0/7" in screen.getvalue()
        for each in (old, new):
            each.close()
