"""Work in a separate thread, which continues while cells of the notebook run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundWork:
    """A daemon thread that runs `run` until that returns, or until somebody calls `stop`.

    A subclass implements `run`, which pauses with `wait` and returns soon after that says that it must stop.
    """

    def __init__(self, name: str) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    def run(self) -> None:
        """Does the work, in the thread."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the thread. Call it only once."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; does not wait for it."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether the thread must stop: pauses for `seconds`, or until `stop` is called."""
        return self._stopping.wait(seconds)

    def join(self, deadline: float | None = None) -> bool:
        """Whether the thread ended within `deadline` seconds; without a deadline it waits until it did."""
        self._thread.join(deadline)
        return not self._thread.is_alive()


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, for callers that can't await, whether an event loop runs here or not.

    Raises what the coroutine raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  raised again below, whatever it is
            errors.append(error)

    thread = threading.Thread(target=run, name="one coroutine")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
