"""The last day of a hub, minute by minute."""

from __future__ import annotations

from flatirons.spawners.shared.history import FAILURES_KEPT, MINUTES_KEPT, History


class Clock:
    """A clock that a test moves."""

    now = 60.0 * 1_000_000

    def __call__(self) -> float:
        return self.now


def history() -> tuple[History, Clock]:
    clock = Clock()
    return History(clock), clock


def test_what_happened_is_in_its_minute() -> None:
    found, clock = history()
    found.count_submission()
    clock.now += 59
    found.count_submission()
    clock.now += 61
    found.count_submission()
    assert found.submissions(4) == [0, 2, 0, 1]
    assert found.submissions(2) == [0, 1]


def test_the_slowest_query_of_a_minute_counts_for_each_cluster_and_none_is_no_zero() -> None:
    found, clock = history()
    found.count_query("summit", 0.2)
    found.count_query("summit", 0.1)
    found.count_query("blanca", 3.0)
    clock.now += 60
    assert found.slowest_queries("summit", 2) == [0.2, None]
    assert found.slowest_queries("blanca", 2) == [3.0, None]
    assert found.slowest_queries("other", 2) == [None, None]


def test_failures_are_counted_by_kind_for_a_day() -> None:
    found, clock = history()
    found.count_failure("time_limit", "alice", "")
    clock.now += 3600
    found.count_failure("time_limit", "bob", "")
    found.count_failure("quota", "bob", "gpu")
    assert found.failures_by_kind() == {"time_limit": 2, "quota": 1}
    assert found.failures_by_kind(60) == {"time_limit": 1, "quota": 1}
    assert found.failures(1) == [2]
    clock.now += 60 * MINUTES_KEPT - 60
    assert found.failures_by_kind() == {"time_limit": 1, "quota": 1}
    clock.now += 60
    assert found.failures_by_kind() == {} and found.newest_failures("quota", 5) == []


def test_the_newest_failures_name_each_server_once() -> None:
    found, clock = history()
    for user in ("alice", "bob", "alice", "carol"):
        clock.now += 1
        found.count_failure("quota", user, "")
    assert [(each.user, each.at) for each in found.newest_failures("quota", 2)] == [
        ("carol", clock.now),
        ("alice", clock.now - 1),
    ]
    assert [each.user for each in found.newest_failures("quota", 9)] == ["carol", "alice", "bob"]
    assert found.newest_failures("signal", 9) == []


def test_a_week_of_events_keeps_a_day_of_minutes_and_so_many_failures() -> None:
    found, clock = history()
    for _ in range(7 * MINUTES_KEPT):
        clock.now += 60
        found.count_submission()
        found.count_failure("quota", "alice", "")
    assert len(found._minutes) == MINUTES_KEPT
    assert len(found._failures) == FAILURES_KEPT
    assert sum(found.submissions(MINUTES_KEPT)) == MINUTES_KEPT


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    found, clock = history()
    found.count_submission()
    clock.now -= 3600
    found.count_submission()
    assert found.submissions(5) == [0, 0, 0, 0, 2]
