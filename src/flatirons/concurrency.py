"""Calls that many callers share, and limits on how often something may be done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


def _never(answer: object) -> bool:
    return False


class SharedCall(Generic[T]):
    """A call without arguments that never runs twice at a time: its answer is shared by all who wait.

    The last good answer is kept, for callers who accept its age. An error is raised to everybody who waits
    for the call, and is not kept. Cancelling a caller does not cancel the call.
    """

    def __init__(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        wait_turn: Callable[[], Awaitable[None]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wait_turn` is awaited before each call; those who ask in the meantime share that call.

        `now` returns the time, in seconds, from which the age of answers is computed.
        """
        self._call = call
        self._wait_turn = wait_turn
        self._now = now
        self._running: asyncio.Task[T] | None = None
        self._has_begun = False  # the running call, as opposed to its wait for a turn
        self._begun = 0  # calls that began so far
        self._kept: tuple[T] | None = None
        self._kept_since = 0.0

    @property
    def is_running(self) -> bool:
        """Is a call running, or waiting for its turn?"""
        return self._running is not None and not self._running.done()

    def is_kept(self, max_age: float) -> bool:
        """Is there an answer that came less than `max_age` seconds ago?"""
        return self._kept is not None and self._now() - self._kept_since < max_age

    async def get(self, max_age: float = 0.0) -> T:
        """The kept answer if it is younger than `max_age` seconds, else that of a call, or its error."""
        if self._kept and self.is_kept(max_age):
            return self._kept[0]
        return await _outcome(self.start())

    async def get_new(self, is_enough: Callable[[T], bool] = _never) -> T:
        """The answer of a call that begins after this moment, or an earlier answer that `is_enough`.

        If a call is running, the new one begins after its end. Raises what the new call raises; an error of
        the earlier one is ignored.
        """
        due = self._begun + 1
        while True:
            task = self.start()
            if self._begun + (not self._has_begun) >= due:
                return await _outcome(task)
            await asyncio.wait([task])
            if task.cancelled() or (not task.exception() and is_enough(task.result())):
                return task.result()

    def start(self) -> asyncio.Task[T]:
        """The running call, which this begins if there is none. Wait for it with asyncio.wait only.

        asyncio reports an error that no caller of `get` or `get_new` has received, as for any task.
        """
        if self._running is None or self._running.done():
            self._has_begun = False
            self._running = asyncio.create_task(self._run())
            self._running.add_done_callback(self._forget)
        return self._running

    async def stop(self) -> None:
        """Cancels a running call, and returns when it has ended."""
        if running := self._running:
            running.cancel()
            await asyncio.wait([running])

    def _forget(self, ended: asyncio.Task[T]) -> None:
        """Drops an ended call: the traceback of its error would keep alive what its callers had at hand."""
        if self._running is ended:
            self._running = None

    async def _run(self) -> T:
        if self._wait_turn:
            await self._wait_turn()
        self._has_begun = True
        self._begun += 1
        answer = await self._call()
        self._kept, self._kept_since = (answer,), self._now()
        return answer


class BatchedCall(Generic[K, V]):
    """A call for many keys that never runs twice at a time: keys that come meanwhile share the next."""

    def __init__(self, call: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._call = call
        self._due: dict[K, None] = {}
        self._batch = SharedCall(self._call_for_all)

    async def get(self, keys: Iterable[K]) -> dict[K, V]:
        """The results of a call that begins after this moment, for those of these keys that have one.

        Raises what the call raises. Without keys there is no call.
        """
        wanted = dict.fromkeys(keys)
        if not wanted:
            return {}
        self._due |= wanted
        found = await self._batch.get_new()
        return {key: found[key] for key in wanted if key in found}

    async def _call_for_all(self) -> Mapping[K, V]:
        due, self._due = self._due, {}
        return await self._call(list(due))


class TokenBucket:
    """A rate limit: `burst` times at once, and then once in `seconds`."""

    def __init__(self, burst: float, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._room = burst * seconds
        self._seconds = seconds
        self._now = now
        self._full_at = now()  # when all tokens are back

    def take(self) -> bool:
        """Takes a token if there is one now; returns whether it did."""
        if self._wait_with_one_more() > 0:
            return False
        self.reserve()
        return True

    def reserve(self) -> float:
        """Takes a token in any case; returns the seconds until it may be used."""
        wait = self._wait_with_one_more()
        self._full_at = max(self._full_at, self._now()) + self._seconds
        return wait

    def _wait_with_one_more(self) -> float:
        now = self._now()
        return max(0.0, max(self._full_at, now) + self._seconds - now - self._room)


async def _outcome(task: asyncio.Task[T]) -> T:
    """Returns or raises what the task does; cancelling this wait leaves the task running."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        raise
    return task.result()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Marks an error as seen: it concerned a caller who no longer waits."""
    if not task.cancelled():
        task.exception()
