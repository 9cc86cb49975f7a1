"""Shares the test files among pytest-xdist's workers, each of which boots its own virtual cluster.

While a test waits for Slurm, another worker uses the cores. A file is never split, so its fixtures are made
once. The first worker begins with the files that need no cluster, while the others wait for the file tree and
the images. The second begins with the files that need large images, so that one demo offers them. Otherwise
the longest file comes first, by the seconds in `durations.json`, which `scripts/test --store-durations`
writes.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

DURATIONS = Path(__file__).with_name("durations.json")
NOTHING, CLUSTER, IMAGES = NEEDS = ("nothing", "cluster", "images")
FIRST_CHOICES = {"gw0": (NOTHING, IMAGES, CLUSTER), "gw1": (IMAGES, CLUSTER, NOTHING)}
OTHER_CHOICES = (CLUSTER, NOTHING, IMAGES)
UNKNOWN_S = {NOTHING: 1.0, CLUSTER: 60.0, IMAGES: 60.0}
"""How long a file lasts that `durations.json` lacks: it leaves out short ones, and a new one may be long."""


class FileSharing(LoadScopeScheduling):
    """Gives a worker that runs out of tests the file that suits it best."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self.known: dict[str, dict[str, Any]] = json.loads(DURATIONS.read_text())

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        choices = FIRST_CHOICES.get(node.gateway.id, OTHER_CHOICES)
        best = min(self.workqueue, key=lambda file: (choices.index(self._need(file)), -self._seconds(file)))
        self.workqueue.move_to_end(best, last=False)
        super()._assign_work_unit(node)

    def _need(self, file: str) -> str:
        need: str = self.known.get(file, {}).get(
            "needs", NOTHING if file.startswith("tests/unit/") else CLUSTER
        )
        return need

    def _seconds(self, file: str) -> float:
        return float(self.known.get(file, {}).get("seconds", UNKNOWN_S[self._need(file)]))


def says_progress() -> bool:
    """Whether this process shows the progress of builds: only one worker does."""
    return os.environ.get("PYTEST_XDIST_WORKER", "gw1") == "gw1"


class Summaries:
    """Sections at the end of the run, from whichever worker has them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        config.stash[SUMMARIES] = []

    def pytest_sessionfinish(self) -> None:
        """A worker passes its sections to the controller."""
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["summaries"] = self.config.stash[SUMMARIES]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """The controller collects them; a worker that crashed has none."""
        handed_over = getattr(node, "workeroutput", {}).get("summaries", [])
        self.config.stash[SUMMARIES] += [(title, text) for title, text in handed_over]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Prints them, whether the tests passed or not."""
        for title, text in self.config.stash[SUMMARIES]:
            terminalreporter.section(title)
            terminalreporter.write_line(text)


SUMMARIES = pytest.StashKey[list[tuple[str, str]]]()


def note_needs(tests: Iterable[pytest.Item]) -> None:
    """Adds to each report what its test needs; a report itself doesn't distinguish marks from folders."""
    for test in tests:
        need = next((need for need in reversed(NEEDS) if test.get_closest_marker(need)), NOTHING)
        test.user_properties.append(("needs", need))


class Durations:
    """Records how long each file took and what it needed, and writes that to a file at the end."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.needs: defaultdict[str, str] = defaultdict(lambda: NOTHING)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds a phase of a test to its file."""
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += report.duration
        self.needs[file] = max(self.needs[file], dict(report.user_properties)["needs"], key=NEEDS.index)

    def pytest_sessionfinish(self) -> None:
        """Writes the files that ran, except short ones; what is known about others stays."""
        known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        ran = {
            file: {"seconds": round(seconds), "needs": self.needs[file]}
            for file, seconds in self.seconds.items()
            if self.needs[file] != NOTHING or seconds > 2
        }
        lines = [f'"{file}": {json.dumps(each)}' for file, each in sorted({**known, **ran}.items())]
        DURATIONS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
