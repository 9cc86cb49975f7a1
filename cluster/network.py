"""The cluster's own network: a bridge, a cable to each node, all in a namespace apart from the host's."""

from collections.abc import Sequence
from pathlib import Path

from .layout import GATEWAY, PREFIX
from .processes import run

BRIDGE = "br0"
NOBODY = "02:00:00:00:00:01"


def _ip(namespace: Path, lines: Sequence[str], what: str) -> None:
    """Runs lines of ip(8) inside the cluster's namespace, in one process."""
    run(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], what, stdin="\n".join(lines) + "\n")


def cable(node: str) -> str:
    """The name of the bridge's end of a node's cable."""
    return f"v-{node}"


def create(namespace: Path) -> None:
    """Makes the namespace, held by a mount on the file `namespace`, with a bridge in it."""
    namespace.touch()
    run(["unshare", f"--net={namespace}", "true"], "making a network namespace")
    lines = [
        "link set lo up",
        f"link add {BRIDGE} type bridge forward_delay 0",
        f"address add {GATEWAY}/{PREFIX} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    _ip(namespace, lines, "making a bridge")


def plug(namespace: Path, pids: dict[str, int]) -> None:
    """Puts an eth0 into the network namespace of each node's process and its other end on the bridge."""
    lines: list[str] = []
    for node, pid in pids.items():
        lines.append(f"link add {cable(node)} type veth peer name eth0 netns {pid}")
        lines.append(f"link set {cable(node)} master {BRIDGE} up")
    _ip(namespace, lines, "making the nodes' network links")


def switch(namespace: Path, node: str, is_up: bool) -> None:
    """Cuts or mends the cable of a node; the node keeps its address and sees its link go."""
    _ip(namespace, [f"link set {cable(node)} {'up' if is_up else 'down'}"], f"the link of {node}")


def part(nodes: dict[int, str], is_parted: bool) -> None:
    """Parts two nodes from each other and from nobody else, or joins them again.

    `nodes`: the process of each one and the address of the *other*. Each sends what is for the other to a
    card that nobody has, so it goes unanswered, as behind a broken switch.
    """
    for pid, address in nodes.items():
        change = f"replace {address} lladdr {NOBODY} nud permanent" if is_parted else f"del {address}"
        run(
            ["nsenter", "--target", str(pid), "--net", "ip", "neigh", *change.split(), "dev", "eth0"],
            "parting",
        )


def remove(namespace: Path) -> None:
    """Lets go of the namespace; what was in it goes with its last process."""
    if str(namespace) in Path("/proc/self/mountinfo").read_text().split():
        run(["umount", str(namespace)], "removing the network namespace")
    namespace.unlink(missing_ok=True)
