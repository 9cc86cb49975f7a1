"""The options of `scripts/bench` that say what a benchmark measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`--quick` and, for the benchmarks that start servers, what to start; empty means what the plan says."""

    is_quick: bool = False
    subjects: tuple[str, ...] = ()
    servers: tuple[int, ...] = ()
    rounds: int = 0
