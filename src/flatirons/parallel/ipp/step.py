"""Engines as a step of the notebook's own job: srun, as a process next to the notebook's."""

from __future__ import annotations

from typing import Any

import psutil  # type: ignore[import-untyped]
from traitlets import Callable

from flatirons.parallel.ipp.compat import ThreadedProcessLauncher


class SrunStep(ThreadedProcessLauncher):
    """An srun process; its end is noticed in a thread, because a cell's event loop may end before it.

    `on_end` is called there, once, with the exit code, or with None when the process isn't our child. It is
    not called after `end`.
    """

    on_end: Any = Callable()
    _is_ending = False

    def process_ended(self, code: int | None) -> None:
        """Passes the end on, unless it was requested."""
        if not self._is_ending:
            self.on_end(code)

    def end(self, deadline: float) -> bool:
        """Ends srun, and with it the step. Whether it is gone within `deadline` seconds."""
        self._is_ending = True
        try:
            self.process.terminate()
        except psutil.NoSuchProcess:
            return True
        return self.wait_for_end(deadline)
