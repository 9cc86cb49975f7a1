"""Draws stored results: `python3 -m benchmarks.plot RESULT.json... > docs/images/numbers.svg`.

Draws bars for the metrics in CHARTS and all subjects in the files. Uses the standard library only.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, GAP, LABEL, VALUE = 720, 18, 6, 150, 90
COLOURS = {"flatirons": "#b5482a", "floor": "#9aa0a6", "batchspawner": "#3b6ea5", "moss": "#6aa0c8"}
COLOURS["stock"] = COLOURS["batchspawner"]
LABELS = {"floor": "does nothing", "least": "minimal", "kept": "minimal with state"}
WARM: dict[str, Any] = {"cache": "warm", "home": None}
FONT = 'font-family="sans-serif" font-size="13"'


@dataclass(frozen=True)
class Chart:
    """One metric under some circumstances; `floor` is the metric of the bar "Slurm alone", if any."""

    title: str
    bench: str
    metric: str
    facts: dict[str, Any]
    floor: str = ""


CHARTS = (
    Chart("One server, from request to ready, s", "spawn", "ready_s", {}, "ready_s"),
    Chart("50 at once, until the last is ready, s", "burst", "last_ready_s", {"n": 50}, "slurm_alone_s"),
    Chart("50 at once, CPU time of the hub per server, ms", "burst", "hub_cpu_ms_per_spawn", {"n": 50}),
    Chart("50 at once, requests to slurmctld per server", "burst", "rpc_per_spawn", {"n": 50}),
    Chart("200 running servers, squeue commands per minute", "steady", "queries_per_min", {"n": 200}),
    Chart("From the container's start to the first answer, s", "coldstart", "first_answer_s", WARM),
    Chart("The same with an empty page cache, s", "coldstart", "first_answer_s", {"cache": "cold"}),
    Chart("The same with a slow home directory, s", "coldstart", "first_answer_s", {"home": "slow"}),
    Chart("From the container's start to a kernel's first answer, s", "coldstart", "first_kernel_s", WARM),
)


def bars(chart: Chart, results: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(subject, label, value) of each bar of the chart."""
    for row in results.get(chart.bench, {"rows": []})["rows"]:
        fits = all(row.get(key) == value for key, value in chart.facts.items())
        is_alone = row.get("of") == "sbatch alone"
        if fits and is_alone and row["metric"] == chart.floor:
            yield "floor", "Slurm alone", row["value"]
        elif fits and not is_alone and row["metric"] == chart.metric:
            yield row["subject"], LABELS.get(row["subject"], row["subject"]), row["value"]


def drawn(chart: Chart, results: dict[str, Any], top: int) -> tuple[str, int]:
    """(SVG of the chart, its height)."""
    found = list(bars(chart, results))
    most = max((value for *_, value in found), default=1) or 1
    parts = [f'<text x="0" y="{top + 14}" {FONT} font-weight="bold" fill="#444">{escape(chart.title)}</text>']
    y = top + 24
    for subject, label, value in found:
        length = (WIDTH - LABEL - VALUE - 40) * value / most
        parts += [
            f'<text x="{LABEL + 35}" y="{y + 14}" {FONT} text-anchor="end" fill="#444">{escape(label)}'
            "</text>",
            f'<rect x="{LABEL + 40}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" '
            f'fill="{COLOURS.get(subject, "#777")}"/>',
            f'<text x="{LABEL + 46 + length:.1f}" y="{y + 14}" {FONT} fill="#444">{value:.3g}</text>',
        ]
        y += BAR + GAP
    return "\n".join(parts), y - top + 14


def main() -> None:
    """Prints the drawing as SVG."""
    read = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    results = {each["bench"]: each for each in read}
    body, top = [], 10
    for chart in CHARTS:
        if chart.bench in results:
            text, height = drawn(chart, results, top)
            body.append(text)
            top += height
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}">')
    print(f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>')
    print("\n".join(body))
    print("</svg>")


if __name__ == "__main__":
    main()
