"""The command line of the benchmarks; `scripts/bench` starts it."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from cluster.errors import ClusterError
from cluster.prerequisites import require_root

from . import burst, coldstart, engines, form, home, journey, queue, spawn, steady
from .shared.options import Options
from .shared.report import as_json, as_table
from .shared.subjects import SUBJECTS
from .shared.testbed import BenchFailure, Result

BENCHMARKS: dict[str, Callable[[Options], Result]] = {
    "form": form.run,
    "spawn": spawn.run,
    "burst": burst.run,
    "steady": steady.run,
    "queue": queue.run,
    "engines": engines.run,
    "coldstart": coldstart.run,
    "journey": journey.run,
    "home": home.run,
}
# Options that only some benchmarks have -> those benchmarks.
ONLY_FOR = {
    "subjects": ("spawn", "burst", "journey"),
    "servers": ("spawn", "burst", "home"),
    "rounds": ("spawn", "burst", "journey"),
}


def _subjects(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in SUBJECTS]:
        raise argparse.ArgumentTypeError(f"no subject {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(each) for each in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures Flatirons and its peers.")
    parser.add_argument("name", choices=BENCHMARKS, metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer users and seconds: a trial, no measurement"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, on the last line")
    some = parser.add_argument_group("spawn, burst, journey and home")
    some.add_argument(
        "--subjects", type=_subjects, default=(), metavar="NAME,...", help="measure only these subjects"
    )
    some.add_argument(
        "--servers", type=_counts, default=(), metavar="N,...", help="start so many servers (burst: at once)"
    )
    some.add_argument(
        "--rounds", type=_count, default=0, metavar="N", help="repeat so often; subjects take turns"
    )
    return parser


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The arguments; ends with a usage message where an option doesn't belong to the benchmark."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    for option, names in ONLY_FOR.items():
        if getattr(arguments, option) and arguments.name not in names:
            parser.error(f"--{option} is an option of {', '.join(names)} only")
    if arguments.name in ("spawn", "home") and len(arguments.servers) > 1:
        parser.error(f"{arguments.name} takes one number of servers")
    return arguments


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs a benchmark; returns 0, or 1 after a sentence on stderr."""
    arguments = parse()
    options = Options(arguments.quick, arguments.subjects, arguments.servers, arguments.rounds)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    try:
        require_root()
        result = BENCHMARKS[arguments.name](options)
    except (ClusterError, BenchFailure) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    show = as_json(arguments.name, result.machine, result.rows) if arguments.json else None
    print(show or as_table(result.machine, result.rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
