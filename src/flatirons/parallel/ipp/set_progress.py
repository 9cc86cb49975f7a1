"""Shows the state of a set of engines while its job waits, starts and runs."""

from __future__ import annotations

from datetime import UTC, datetime
from logging import Logger

from flatirons.parallel import messages
from flatirons.parallel.ipp.engine_registry import EngineRegistry
from flatirons.parallel.ipp.progress_bar import ProgressBar, printing_above_bars
from flatirons.slurm.model import Job


class EngineSetProgress:
    """A few words on ipyparallel's progress bar after each query, and a sentence in the log for each change.

    `registry` knows which nodes were reported as lost already. `known` is the job as the caller knows it.
    """

    def __init__(self, log: Logger, registry: EngineRegistry | None, known: Job | None = None) -> None:
        self._log = log
        self._registry = registry
        self._last = known
        self._bar: ProgressBar | None = None
        self._bar_text = ""
        self._reason = ""

    def attach_to_newest_bar(self) -> None:
        """Shows the text on the bar that was opened last, if there is one."""
        self._bar = ProgressBar.newest()
        if self._bar and self._bar_text:
            self._bar.show(self._bar_text)

    def update_bar(self, job: Job) -> None:
        """Shows the state of the job on the bar."""
        before, self._bar_text = self._bar_text, messages.progress_text(job, datetime.now(UTC))
        if self._bar and before != self._bar_text:
            self._bar.show(self._bar_text)

    def close_bar(self, text: str = "") -> None:
        """Leaves the bar as it is, with `text`, or with the last text."""
        if self._bar:
            self._bar.close(text or self._bar_text)
            self._bar = None

    def log_change(self, job: Job) -> None:
        """Logs why the job waits, where it starts, or which nodes it has lost."""
        lost, self._last = messages.find_lost_nodes(self._last, job), job
        with printing_above_bars():
            if job.state.is_waiting and job.reason not in ("", "None"):
                before, self._reason = self._reason, messages.waiting(job)
                self._log.info(messages.new_part(self._reason, before))
            elif lost:
                self._log_lost(lost, job)
            elif job.state.is_running:
                self._log.info("Engines (job %s) start on %s.", job.id, job.nodes)

    def _log_lost(self, nodes: tuple[str, ...], job: Job) -> None:
        unreported = tuple(filter(self._registry.claim_report, nodes)) if self._registry else nodes
        if unreported:
            self._log.warning(messages.nodes_removed(unreported, job))
