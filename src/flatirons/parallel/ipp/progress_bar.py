"""Text on the progress bar that ipyparallel draws while it waits for engines.

The bar is tqdm's: in JupyterLab a widget, in a terminal a line of text.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from flatirons.parallel.ipp.compat import open_engine_bars


class ProgressBar:
    """An open bar. It shows a text before its numbers until the first engine comes."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._update = bar.update
        bar.update = self._engines_came

    @classmethod
    def newest(cls) -> ProgressBar | None:
        """The bar that was opened last; None where ipyparallel draws no bar, as in a script."""
        bar = next(open_engine_bars(), None)
        return None if bar is None else cls(bar)

    def show(self, text: str) -> None:
        """Shows a text before the numbers."""
        if not self._bar.disable:
            self._bar.set_description_str(text)

    def close(self, text: str) -> None:
        """Stops the bar where it is, with a text: no more engines will come."""
        self.show(text)
        self._bar.close()

    def _engines_came(self, n: int = 1) -> Any:
        """Replaces the bar's own `update`: engines have come, so nothing has to be waited for any more."""
        self._bar.set_description_str("", refresh=False)
        return self._update(n)


@contextlib.contextmanager
def printing_above_bars() -> Iterator[None]:
    """Lines that are printed in this context appear above bars of text, which are drawn again below."""
    with tqdm.external_write_mode(file=sys.stdout):
        yield
