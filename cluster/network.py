"""The cluster's network: a bridge and a link to each node, in a namespace separate from the host's."""

from collections.abc import Sequence
from pathlib import Path

from .layout import GATEWAY, PREFIX
from .processes import run

BRIDGE = "br0"
UNUSED_ADDRESS = "02:00:00:00:00:01"


def _ip(namespace: Path, lines: Sequence[str], what: str) -> None:
    """Runs lines of ip(8) in the cluster's namespace, in one process."""
    run(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], what, stdin="\n".join(lines) + "\n")


def link_name(node: str) -> str:
    """The name of the bridge's end of a node's link."""
    return f"v-{node}"


def create(namespace: Path) -> None:
    """Creates the namespace, kept by a mount on the file `namespace`, with a bridge in it."""
    namespace.touch()
    run(["unshare", f"--net={namespace}", "true"], "making a network namespace")
    lines = [
        "link set lo up",
        f"link add {BRIDGE} type bridge forward_delay 0",
        f"address add {GATEWAY}/{PREFIX} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    _ip(namespace, lines, "making a bridge")


def connect(namespace: Path, pids: dict[str, int]) -> None:
    """Creates eth0 in the network namespace of each node's process, connected to the bridge."""
    lines: list[str] = []
    for node, pid in pids.items():
        lines.append(f"link add {link_name(node)} type veth peer name eth0 netns {pid}")
        lines.append(f"link set {link_name(node)} master {BRIDGE} up")
    _ip(namespace, lines, "making the nodes' network links")


def set_link(namespace: Path, node: str, is_up: bool) -> None:
    """Takes the link of a node down or up; the node keeps its address and sees the change."""
    _ip(namespace, [f"link set {link_name(node)} {'up' if is_up else 'down'}"], f"the link of {node}")


def set_connection(nodes: dict[int, str], is_cut: bool) -> None:
    """Cuts the connection between two nodes, or mends it; both can still reach all others.

    `nodes` maps the process of each node to the address of the *other*. Each sends packets for the other to a
    hardware address that doesn't exist, so they get no answer, as behind a broken switch.
    """
    for pid, address in nodes.items():
        change = f"replace {address} lladdr {UNUSED_ADDRESS} nud permanent" if is_cut else f"del {address}"
        run(
            ["nsenter", "--target", str(pid), "--net", "ip", "neigh", *change.split(), "dev", "eth0"],
            "cutting or mending a connection",
        )


def remove(namespace: Path) -> None:
    """Removes the mount that keeps the namespace, which then ends with its last process."""
    if str(namespace) in Path("/proc/self/mountinfo").read_text().split():
        run(["umount", str(namespace)], "removing the network namespace")
    namespace.unlink(missing_ok=True)
