"""When the starter tells the hub how much memory its job uses; the time is the test's."""

from __future__ import annotations

import pytest

from flatirons.job.node.usage import CALL_SECONDS, LONGEST_SECONDS, STEADY_SECONDS, UsageCalls


class Told:
    """A hub that takes what it is told, or doesn't."""

    def __init__(self, granted: int = 4000) -> None:
        self.amounts: list[int] = []
        self.attempts: list[float] = []
        self.is_there = True
        self.calls = UsageCalls(self.tell, granted)
        self.now = 1000.0

    def tell(self, used: int) -> bool:
        self.attempts.append(self.now)
        if self.is_there:
            self.amounts.append(used)
        return self.is_there

    def sees(self, *used: int, every: float = 10.0) -> None:
        for amount in used:
            self.now += every
            self.calls.see(amount, self.now)


@pytest.fixture
def hub() -> Told:
    return Told()


def test_the_first_amount_is_told_at_once(hub: Told) -> None:
    hub.sees(150)
    assert hub.amounts == [150]


def test_a_server_whose_memory_is_steady_calls_every_ten_minutes(hub: Told) -> None:
    hub.sees(*[150, 160, 155] * 120)  # an hour
    assert [round(b - a) for a, b in zip(hub.attempts, hub.attempts[1:], strict=False)] == [
        STEADY_SECONDS
    ] * 5


def test_only_a_change_of_a_fortieth_of_the_jobs_memory_is_told(hub: Told) -> None:
    hub.sees(1000, every=CALL_SECONDS)
    hub.sees(1099, 901, every=CALL_SECONDS)
    assert hub.amounts == [1000]
    hub.sees(1100, 1001, 1000, every=CALL_SECONDS)
    assert hub.amounts == [1000, 1100, 1000]


def test_a_server_whose_memory_jumps_all_the_time_calls_every_half_minute(hub: Told) -> None:
    hub.sees(*[500, 3500] * 180)  # an hour
    assert len(hub.amounts) == 120
    assert min(b - a for a, b in zip(hub.attempts, hub.attempts[1:], strict=False)) >= CALL_SECONDS


def test_what_changed_too_soon_after_a_call_is_told_afterwards(hub: Told) -> None:
    hub.sees(150, 2000, 2000)
    assert hub.amounts == [150]
    hub.sees(2000)
    assert hub.amounts == [150, 2000]


@pytest.mark.parametrize(
    ("granted", "small", "large"),
    [(0, 2049, 2050), (256, 2031, 2032), (400_000, 11_999, 12_000)],
)
def test_what_counts_as_a_change_depends_on_the_jobs_memory(granted: int, small: int, large: int) -> None:
    hub = Told(granted)
    hub.sees(2000)
    hub.sees(small, large, every=CALL_SECONDS)
    assert hub.amounts == [2000, large]


def test_a_hub_that_takes_no_calls_is_called_less_and_less(hub: Told) -> None:
    """An older one answers 404; one that is away doesn't answer."""
    hub.is_there = False
    hub.sees(*range(100, 100 + 6 * 60 * 24))  # a day
    pauses = [b - a for a, b in zip(hub.attempts, hub.attempts[1:], strict=False)]
    assert pauses[:3] == [60, 120, 240] and pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_SECONDS and len(pauses) < 32


def test_a_hub_that_is_back_is_called_as_before(hub: Told) -> None:
    hub.sees(150)
    hub.is_there = False
    hub.sees(3000, 3000, 3000)
    hub.is_there = True
    hub.sees(*[3000] * 6, 200, 200, 200)
    assert hub.amounts == [150, 3000, 200]
    assert hub.attempts[-1] - hub.attempts[-2] == CALL_SECONDS
