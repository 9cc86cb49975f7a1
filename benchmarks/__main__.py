"""The command line of the benchmarks; `scripts/bench` starts it."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from cluster.errors import ClusterError
from cluster.prerequisites import require_root

from . import coldstart, engines, form, lasting, starting
from .report import as_json, as_table
from .stage import BenchFailure, Findings

# NAME -> what runs it; the argument is whether it should be quick.
BENCHMARKS: dict[str, Callable[[bool], Findings]] = {
    "form": form.run,
    "spawn": starting.run_spawn,
    "burst": starting.run_burst,
    "steady": lasting.run_steady,
    "queue": lasting.run_queue,
    "engines": engines.run,
    "coldstart": coldstart.run,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Flatirons and its peers, measured.")
    parser.add_argument("name", choices=BENCHMARKS, metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer users and seconds: shows that it runs, not how fast"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, in the last line")
    return parser.parse_args()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs a benchmark; exit code 0, or 1 and one sentence on stderr."""
    arguments = _arguments()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    try:
        require_root()
        found = BENCHMARKS[arguments.name](arguments.quick)
    except (ClusterError, BenchFailure) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    show = as_json(arguments.name, found.machine, found.rows) if arguments.json else None
    print(show or as_table(found.machine, found.rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
