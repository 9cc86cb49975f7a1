"""Engines as a step of the notebook's own job: srun, run as a process beside the notebook."""

from __future__ import annotations

import threading
from typing import Any

import psutil  # type: ignore[import-untyped]
from ipyparallel.cluster.launcher import LocalProcessLauncher
from traitlets import Callable


class Step(LocalProcessLauncher):
    """An srun that is followed to its end in a thread of its own: a cell's event loop may end before it.

    `ended` is called there, once, with the exit code, or None when the process isn't a child of ours.
    """

    ended: Any = Callable()
    is_wanted = True

    process: Any  # of ipyparallel's: a psutil.Process
    pid: int

    def _start_waiting(self) -> None:
        self._wait_thread = threading.Thread(
            target=self._wait, name=f"engines of srun {self.pid}", daemon=True
        )
        self._wait_thread.start()

    def _wait(self) -> None:
        code = self.process.wait()
        if self._popen_process:
            self._popen_process.poll()  # takes note of the end, which psutil has seen already
        if self.is_wanted:
            self.ended(code)

    def end(self, deadline: float) -> bool:
        """Ends srun, and so its step; whether it is gone within `deadline` seconds."""
        self.is_wanted = False
        try:
            self.process.terminate()
        except psutil.NoSuchProcess:
            return True
        return self.is_over(deadline)

    def is_over(self, deadline: float | None = None) -> bool:
        """Whether srun has ended within `deadline` seconds; with None it returns when it has."""
        self._wait_thread.join(deadline)
        return not self._wait_thread.is_alive()
