"""Small drawings of what happened in each of the last minutes, as paths of SVG; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEIGHT = 24
"""The height of a drawing in its own units; it is as wide as it has values."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, one for each minute. `summary` says in words what they show, `title` of what."""

    title: str
    summary: str
    values: Sequence[float | None]
    is_bad: bool = False

    @property
    def width(self) -> int:
        return len(self.values)

    @property
    def path(self) -> str:
        """The outlines of all bars, the highest of which is as high as the drawing."""
        highest = max((value or 0 for value in self.values), default=0)
        if highest <= 0:
            return ""
        bars = []
        for place, value in enumerate(self.values):
            if value:
                high = max(round(HEIGHT * value / highest, 2), 1)
                bars.append(f"M{place} {HEIGHT}v-{high:g}h1v{high:g}z")
        return "".join(bars)


def counts(title: str, values: Sequence[int], *, is_bad: bool = False) -> Chart:
    """A chart of how often something happened."""
    total = sum(values)
    summary = f"{total:,}, at most {max(values):,} in a minute" if total else "none"
    return Chart(title, summary, values, is_bad and total > 0)


def seconds(title: str, values: Sequence[float | None]) -> Chart:
    """A chart of how long something took at most."""
    known = [value for value in values if value is not None]
    summary = f"last {_short(known[-1])}, slowest {_short(max(known))}" if known else "none yet"
    return Chart(title, summary, values)


def _short(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
