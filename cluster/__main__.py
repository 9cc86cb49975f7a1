"""The command line of the virtual cluster; `scripts/cluster` starts it."""

import argparse
import json
import signal
import sys
from pathlib import Path

from . import faults, lifecycle, logs, node, status
from .errors import ClusterError
from .prerequisites import require_root
from .recipe import DEFAULT_SUITE, SUITES
from .state import DEFAULT_NAME, Bind, Instance, Settings
from .tree import ensure_tree


def parse_bind(text: str) -> Bind:
    """The bind written as HOST:NODEPATH[:ro]; both must be absolute paths, and HOST must exist."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source.startswith("/") or not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise ClusterError(f"{text!r} is not of the form HOST:NODEPATH[:ro] with absolute paths")
    if not Path(source).exists():
        raise ClusterError(f"can't bind {source}: it does not exist")
    return Bind(source, target, mode != "ro")


def _count(text: str) -> int:
    """A number of nodes or cores that works on one machine."""
    if not 1 <= int(text) <= 240:
        raise argparse.ArgumentTypeError("must be from 1 to 240")
    return int(text)


def _up(instance: Instance, arguments: argparse.Namespace) -> None:
    wanted = Settings(
        suite=arguments.suite,
        tree="",
        store="",
        summit_nodes=arguments.nodes,
        cpus=arguments.cpus,
        homes=str(Path(arguments.homes).absolute()) if arguments.homes else "",
        binds=[parse_bind(text) for text in arguments.bind],
        publish=arguments.publish,
    )
    lifecycle.up(instance, wanted)


def _argv(instance: Instance, name: str, user: str) -> list[str]:
    """The words that go before a command to run it in a node as this user."""
    homes = node.homes_of(instance.settings().site)
    inner = node.recorded(instance, name)
    if user not in homes:
        raise ClusterError(f"there is no user {user} in the cluster; there are {', '.join(homes)}")
    if inner is None:
        raise ClusterError(f"there is no running node {name} in {instance.name}")
    return node.enter_argv(inner.pid, user, homes[user])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/cluster", description="Real Slurm on virtual nodes.")
    parser.add_argument("--name", default=DEFAULT_NAME, help="the instance (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    _add_up(verbs.add_parser("up", help="start both clusters"))
    verbs.add_parser("down", help="end the instance and remove everything that it made")
    shown = verbs.add_parser("status", help="show nodes, daemons and their states in Slurm")
    shown.add_argument("--json", action="store_true")
    tree = verbs.add_parser("tree", help="build the tree of a suite if needed, and print its path")
    tree.add_argument("--suite", choices=SUITES, default=DEFAULT_SUITE)
    printed = verbs.add_parser("logs", help="print the logs of all nodes, or of one")
    printed.add_argument("node", nargs="?")
    entered = verbs.add_parser("argv", help="print as JSON what to put before a command to run it in a node")
    _add_node_and_user(entered)
    run = verbs.add_parser("exec", help="run a command in a node")
    _add_node_and_user(run)
    run.add_argument("command", nargs="+")
    fault = verbs.add_parser("fault", help="break or mend a part")
    fault.add_argument("what", choices=faults.FAULTS)
    fault.add_argument("target", metavar="NODE|NODE:NODE|DAEMON[@NODE|@CLUSTER]|COMMAND@NODE|/DIRECTORY@NODE")
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--suite", choices=SUITES, default=DEFAULT_SUITE)
    up.add_argument("--nodes", type=_count, default=3, help="nodes of summit (default: 3)")
    up.add_argument("--cpus", type=_count, default=8, help="cores that each compute node claims (default: 8)")
    up.add_argument("--homes", help="a directory for the homes, which stays (default: removed by `down`)")
    up.add_argument("--bind", action="append", default=[], metavar="HOST:NODEPATH[:ro]")
    up.add_argument("--publish", action="append", default=[], metavar="[ADDRESS:]PORT=NODE:PORT")


def _add_node_and_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")
    parser.add_argument("--user", default="root")


def _do(arguments: argparse.Namespace) -> int:
    """Runs one verb; returns its exit code."""
    instance = Instance(arguments.name)
    require_root()
    match arguments.verb:
        case "up":
            _up(instance, arguments)
        case "down":
            lifecycle.down(instance)
        case "tree":
            print(ensure_tree(arguments.suite))
        case "status":
            return status.show(instance, arguments.json)
        case "logs":
            logs.show(instance, arguments.node)
        case "argv":
            print(json.dumps(_argv(instance, arguments.node, arguments.user)))
        case "fault":
            faults.apply(instance, arguments.what, arguments.target)
    return 0


def main() -> int:
    """Runs the command line; a ClusterError becomes one sentence and exit code 1."""
    # After SIGTERM, `up` cleans up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _do(_parser().parse_args())
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
