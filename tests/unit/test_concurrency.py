"""Calls that many callers share, and limits on how often something may be done."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from flatirons.concurrency import BatchedCall, SharedCall, TokenBucket
from tests.fakes.clock import idle


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


class Server:
    """Answers 1, 2, 3 ... when its gate is open; raises what it is given instead."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        answer, error = self.calls, self.error
        await self.gate.wait()
        if error:
            raise error
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(server: Server, clock: Clock) -> SharedCall[int]:
    return SharedCall(server, now=clock)


def ask(*waits: Any) -> list[asyncio.Future[Any]]:
    return [asyncio.ensure_future(wait) for wait in waits]


async def test_callers_who_come_while_a_call_runs_share_its_answer(
    shared: SharedCall[int], server: Server
) -> None:
    assert await asyncio.gather(*(shared.get() for _ in range(20))) == [1] * 20
    assert await shared.get() == 2


async def test_a_kept_answer_is_returned_until_it_is_too_old(
    shared: SharedCall[int], server: Server, clock: Clock
) -> None:
    server.gate.clear()
    asking = ask(shared.get(max_age=10))
    await idle()
    clock.time += 20  # an answer that took long is kept as long as any other
    server.gate.set()
    assert await asking[0] == 1
    clock.time += 9
    assert await shared.get(max_age=10) == 1 and shared.is_kept(10)
    clock.time += 1
    assert not shared.is_kept(10)
    assert await shared.get(max_age=10) == 2
    assert await shared.get(max_age=math.inf) == 2


async def test_a_new_answer_is_that_of_a_call_that_began_later(
    shared: SharedCall[int], server: Server
) -> None:
    server.gate.clear()
    early = ask(shared.get())
    await idle()
    late = ask(*(shared.get_new() for _ in range(5)))
    await idle()
    assert server.calls == 1  # never two at a time
    server.gate.set()
    assert await asyncio.gather(*early, *late) == [1] + [2] * 5


async def test_an_earlier_answer_that_is_enough_is_a_new_one_as_well(
    shared: SharedCall[int], server: Server
) -> None:
    server.gate.clear()
    early = ask(shared.get())
    await idle()
    late = ask(shared.get_new(lambda answer: answer == 1), shared.get_new(lambda answer: answer > 1))
    await idle()
    server.gate.set()
    assert await asyncio.gather(*early, *late) == [1, 1, 2]


async def test_a_call_that_waits_for_its_turn_is_a_new_one(server: Server) -> None:
    turn = asyncio.Event()

    async def wait_turn() -> None:
        await turn.wait()

    shared = SharedCall(server, wait_turn=wait_turn)
    asking = ask(shared.get())
    await idle()
    asking += ask(shared.get_new())
    await idle()
    assert server.calls == 0
    turn.set()
    assert await asyncio.gather(*asking) == [1, 1]


async def test_a_cancelled_caller_does_not_cancel_the_call_of_the_others(
    shared: SharedCall[int], server: Server
) -> None:
    server.gate.clear()
    first, second = ask(shared.get(), shared.get())
    await idle()
    first.cancel()
    await idle()
    assert first.cancelled() and shared.is_running
    server.gate.set()
    assert await second == 1


async def test_a_call_continues_when_all_callers_are_cancelled(
    shared: SharedCall[int], server: Server
) -> None:
    server.gate.clear()
    [asking] = ask(shared.get())
    await idle()
    asking.cancel()
    server.gate.set()
    await idle()
    assert await shared.get(max_age=math.inf) == 1


async def test_an_error_reaches_all_who_wait_and_is_not_kept(
    shared: SharedCall[int], server: Server, clock: Clock
) -> None:
    server.error = ValueError("no")
    errors = await asyncio.gather(*(shared.get(max_age=10) for _ in range(3)), return_exceptions=True)
    assert errors == [server.error] * 3
    server.error = None
    assert await shared.get(max_age=10) == 2
    server.error, clock.time = ValueError("again"), clock.time + 20
    with pytest.raises(ValueError, match="again"):
        await shared.get(max_age=10)
    assert await shared.get(max_age=math.inf) == 2


async def test_an_error_of_an_earlier_call_is_not_for_those_who_want_a_new_one(
    shared: SharedCall[int], server: Server
) -> None:
    server.gate.clear()
    server.error = ValueError("no")
    early = ask(shared.get())
    await idle()
    late = ask(shared.get_new())
    await idle()
    server.error = None
    server.gate.set()
    assert await late[0] == 2
    assert isinstance(early[0].exception(), ValueError)


async def test_an_error_that_nobody_waits_for_is_not_reported_to_the_loop(
    shared: SharedCall[int], server: Server
) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    server.gate.clear()
    server.error = ValueError("no")
    [asking] = ask(shared.get())
    await idle()
    asking.cancel()
    server.gate.set()
    await idle()
    del shared
    gc.collect()
    await idle()
    assert reported == []


async def test_an_error_keeps_nothing_alive_of_those_who_waited_for_the_call(
    shared: SharedCall[int], server: Server
) -> None:
    class Caller:
        """An object that only the waiting caller knows."""

    async def call() -> weakref.ref[Caller]:
        caller = Caller()
        with contextlib.suppress(ValueError):
            await shared.get()
        return weakref.ref(caller)

    server.error = ValueError("no")
    caller = await call()
    server.error = None
    await idle()
    gc.collect()
    assert caller() is None


async def test_an_error_of_a_call_without_callers_is_reported_as_a_bug(
    server: Server,
) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    server.error = ValueError("a bug")
    shared = SharedCall(server)
    shared.start()
    await idle()
    server.error = None  # its traceback leads to the call
    del shared
    gc.collect()
    assert [str(context["exception"]) for context in reported] == ["a bug"]


async def test_a_stopped_call_has_ended_and_the_next_one_starts_again(
    shared: SharedCall[int], server: Server
) -> None:
    await shared.stop()  # nothing runs: no error
    server.gate.clear()
    asking = ask(shared.get())
    await idle()
    asking += ask(shared.get_new())
    await idle()
    await shared.stop()
    await idle()
    assert all(each.cancelled() for each in asking) and not shared.is_running
    server.gate.set()
    assert await shared.get() == 2


async def test_keys_that_come_while_others_are_asked_for_share_the_next_call() -> None:
    calls: list[Sequence[str]] = []
    gate = asyncio.Event()

    async def call(keys: Sequence[str]) -> dict[str, str]:
        calls.append(keys)
        await gate.wait()
        return {key: key.upper() for key in keys if key != "unknown"}

    batched = BatchedCall(call)
    assert await batched.get([]) == {} and calls == []
    early = ask(batched.get(["a", "b", "a"]))
    await idle()
    late = ask(batched.get(["a"]), batched.get(["c", "unknown"]))
    await idle()
    gate.set()
    assert await asyncio.gather(*early, *late) == [{"a": "A", "b": "B"}, {"a": "A"}, {"c": "C"}]
    assert calls == [["a", "b"], ["a", "c", "unknown"]]


def test_a_bucket_allows_a_burst_and_then_one_in_each_interval(clock: Clock) -> None:
    bucket = TokenBucket(burst=3, seconds=1.0, now=clock)
    assert [bucket.reserve() for _ in range(5)] == [0.0, 0.0, 0.0, 1.0, 2.0]
    clock.time += 100
    assert bucket.reserve() == 0.0


def test_a_bucket_refuses_when_it_is_empty_and_a_refusal_costs_nothing(clock: Clock) -> None:
    bucket = TokenBucket(burst=2, seconds=3.0, now=clock)
    assert [bucket.take() for _ in range(4)] == [True, True, False, False]
    clock.time += 2
    assert not bucket.take()
    clock.time += 1
    assert bucket.take() and not bucket.take()
