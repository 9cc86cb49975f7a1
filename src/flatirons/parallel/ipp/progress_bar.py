"""What is written on the progress bar that ipyparallel draws while it waits for engines.

The bar is tqdm's, in JupyterLab a widget and in a terminal a line of text. ipyparallel makes it, and keeps it
to itself; tqdm knows all that are open.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

UNIT = "engine"  # what ipyparallel counts, and nobody else


class Bar:
    """An open bar: says what it is told to before its numbers, until the first engine is there."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._count = bar.update
        bar.update = self._engines_came

    @classmethod
    def newest(cls) -> Bar | None:
        """The bar that was opened last; None where ipyparallel draws none, as in a script."""
        known = [each for each in list(tqdm._instances) if each.unit == UNIT and not each.disable]
        return cls(max(known, key=lambda each: float(each.start_t))) if known else None

    def say(self, text: str) -> None:
        """Writes `text` before the numbers."""
        if not self._bar.disable:
            self._bar.set_description_str(text)

    def close(self, text: str) -> None:
        """Leaves the bar as it is, with `text`: no more engines come."""
        self.say(text)
        self._bar.close()

    def _engines_came(self, n: int = 1) -> Any:
        """Stands in for the bar's own `update`: whatever the engines waited for, it is over."""
        self._bar.set_description_str("", refresh=False)
        return self._count(n)


@contextlib.contextmanager
def beside_bars() -> Iterator[None]:
    """In here a line may be printed: bars of text make room for it, and are drawn again below it."""
    with tqdm.external_write_mode(file=sys.stdout):
        yield
