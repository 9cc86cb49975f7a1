"""Numbers that several benchmarks report."""

from benchmarks.shared.server_bench import health_numbers


def test_the_health_of_a_hub_that_was_asked_once_is_that_answer() -> None:
    assert health_numbers([(0.0, 0.25, 200)]) == {"health_p99_ms": (250, "ms"), "health_max_ms": (250, "ms")}


def test_without_a_request_nothing_is_said_of_the_health() -> None:
    assert health_numbers([]) == {}
