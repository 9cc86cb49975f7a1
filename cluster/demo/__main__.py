"""The command line of the demo; `scripts/demo` starts it."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from ..errors import ClusterError
from ..prerequisites import require_root
from ..recipe import DEFAULT_SUITE, SUITES
from . import cleanup_check, environments, software, status_line
from .build import build
from .progress import Progress
from .service import Demo
from .site_file import require_toml

LOG_INS = (
    "alice/alice, bob/bob or carol/carol, or as dave/dave (the admin, who sees the page Operations; "
    "he has no account in Slurm, which refuses his jobs)"
)
DEFAULT_NAME = "flatirons"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="A hub on a virtual Slurm cluster.")
    _add_verbs(parser.add_mutually_exclusive_group())
    default = "(default: %(default)s)"
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"of the instance {default}")
    parser.add_argument("--port", type=int, default=8000, help=f"on 127.0.0.1 {default}")
    parser.add_argument("--nodes", type=int, default=3, help=f"nodes of the cluster summit {default}")
    parser.add_argument("--suite", choices=SUITES, default=DEFAULT_SUITE, help=f"of Debian {default}")
    images = f"offered besides base, such as r,pyspark; there are {', '.join(environments.OFFERED)}"
    parser.add_argument("--images", type=environments.names, default=(), help=images)
    extra = "TOML that is merged into the demo's site.toml"
    parser.add_argument("--site-extra", type=Path, metavar="FILE", help=extra)
    return parser.parse_args()


def _add_verbs(group: argparse._MutuallyExclusiveGroup) -> None:
    """Declares what to do instead of running the demo in the foreground."""
    for flag, text in (
        ("--detach", "return when the hub answers"),
        ("--stop", "stop the demo"),
        ("--smoke", "play a user from log-in to the end, then stop the demo"),
        ("--tools", "print the path of the tools' environment, built if it is missing"),
        ("--build", "build what is missing, start nothing"),
    ):
        group.add_argument(flag, action="store_true", help=text)


def _start(demo: Demo, progress: Progress, arguments: argparse.Namespace) -> None:
    """Starts the demo unless it is up already."""
    if demo.is_up() and demo.is_healthy():
        if missing := demo.lacks(arguments.images):
            raise ClusterError(
                f"the demo is up without {', '.join(missing)}; stop it first: "
                f"{stop_command(demo.instance.name)}"
            )
        progress.say("the demo is already up")
        return
    extra = _extra_site(arguments.site_extra)
    built = build(progress, arguments.suite, arguments.images)
    if demo.is_up():
        demo.down()
    with progress.step("virtual cluster and hub"):
        demo.up(built, arguments.nodes, extra)
    progress.say(f"the hub answers at {demo.url}")


def _extra_site(file: Path | None) -> str:
    """The text of `--site-extra`; ClusterError if it can't be read or isn't TOML."""
    try:
        return require_toml(file.read_text(), str(file)) if file else ""
    except OSError as error:
        raise ClusterError(f"{file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ClusterError(f"{file} is not UTF-8 text") from error


def stop_command(name: str) -> str:
    """The command that stops the demo of this name."""
    return "scripts/demo --stop" + (f" --name {name}" if name != DEFAULT_NAME else "")


def _stop(demo: Demo) -> None:
    """Stops the demo. Raises ClusterError if anything of it is left."""
    resources = cleanup_check.Resources.of(demo)
    demo.down()
    left = resources.remaining()
    if left:
        raise ClusterError(f"something of the demo is left: {'; '.join(left)}")
    print("The demo is down; no process, mount, network or namespace of it is left.", flush=True)


def _foreground(demo: Demo) -> None:
    print(
        f"\n  {demo.url}\n\n  Log in as {LOG_INS}.\n  Hub's log: {demo.hub_log}\n  Ctrl-C ends it.\n",
        flush=True,
    )
    try:
        status_line.watch(demo)
    except KeyboardInterrupt:
        print(flush=True)


def _smoke(demo: Demo, progress: Progress, arguments: argparse.Namespace) -> int:
    """Plays a user, and returns the exit code. A demo that was up before stays up."""
    was_up = demo.is_up() and demo.is_healthy()
    try:
        _start(demo, progress, arguments)
        seconds = f"{progress.seconds:.1f}"
        argv = [str(software.tools() / "bin/python"), "-m", "cluster.demo.smoke"]
        known = ["--name", demo.instance.name, "--started-after", seconds]
        code = subprocess.run([*argv, *known], cwd=software.REPO).returncode
    finally:
        if not was_up and demo.instance.run.exists():
            _stop(demo)
    return code


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _do(arguments: argparse.Namespace) -> int:
    if arguments.tools:
        print(software.tools())
        return 0
    require_root()
    demo, progress = Demo(arguments.name, arguments.port), Progress()
    if arguments.build:
        build(progress, arguments.suite, arguments.images)
    elif arguments.stop:
        _stop(demo)
    elif arguments.smoke:
        return _smoke(demo, progress, arguments)
    elif arguments.detach:
        _start(demo, progress, arguments)
        print(f"{demo.url}\nLog in as {LOG_INS}.\nStop it with: {stop_command(arguments.name)}")
    else:
        try:
            _start(demo, progress, arguments)
            _foreground(demo)
        finally:
            if demo.instance.run.exists():
                _stop(demo)
    return 0


def main() -> int:
    """Runs the command line. A ClusterError becomes one sentence and exit code 1."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    try:
        return _do(_arguments())
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        advice = "run it as root, or set FLATIRONS_CACHE to a directory of yours"
        print(f"demo: {error.filename}: {error.strerror}; {advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
