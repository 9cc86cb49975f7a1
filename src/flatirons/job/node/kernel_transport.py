"""Keeps neighbours on the node away from the kernels of a job.

By default a kernel listens on TCP ports of the loopback address, and sends its output to everybody who
subscribes there. In a job, kernels listen on sockets in $FLATIRONS_SOCKETS instead, a private directory of
the job. Of other kernels the connections are encrypted, with a key that only their user can read, if Jupyter
and the kernel can do that (since jupyter_client 8.9 and ipykernel 7.3).

The starter writes this file into the job's directory as `jupyter_config.py`, which Jupyter's programs read
there. So it works in images that know nothing of Flatirons, with jupyter_client 7 or later. The user's own
settings of `transport` and `transport_encryption` count more.
"""

import os
import stat
from typing import Any, List  # the image's Python may be 3.6

SOCKETS = "FLATIRONS_SOCKETS"
LONGEST_PATH = 107  # bytes; sun_path in unix(7), without the last NUL
# Words of a kernel's command, with which it is known to listen on sockets in the file system. Other kernels
# may then hang for ever, those in Java and JavaScript for example.
KNOWN = (
    *("ipykernel_launcher", "ipykernel", "ipykernel.kernelapp", "IRkernel::main()"),
    "import IJulia; IJulia.run_kernel()",  # its earlier commands may hide a release that would hang
)
LONGEST_NUMBER = "-99"  # ZeroMQ's channels are numbered from 1 to 5


def manages_sockets(argv: List[str]) -> bool:
    """Whether the kernel with this command is known to listen on sockets in the file system."""
    return any(word in KNOWN for word in argv)


def is_private(directory: str) -> bool:
    """Whether this is a directory that only we can enter."""
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    is_ours = found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode)
    return is_ours and not stat.S_IMODE(found.st_mode) & 0o077


def place_for(directory: str) -> str:
    """The beginning of the paths of a kernel's sockets; "" when they would be too long, or not private."""
    place = os.path.join(directory, os.urandom(8).hex())
    fits = len(os.fsencode(place + LONGEST_NUMBER)) <= LONGEST_PATH
    return place if directory and fits and is_private(directory) else ""


def is_chosen(manager: Any, trait: str) -> bool:
    """Whether the user's settings name this trait of a KernelManager."""
    return any(trait in manager.config.get(kind.__name__, {}) for kind in type(manager).__mro__)


def protect(manager: Any) -> None:
    """Chooses how a kernel that is about to start listens; for a restart it stays as it was."""
    if is_chosen(manager, "transport") or manager.transport != "tcp":
        return
    place = place_for(os.environ.get(SOCKETS, ""))
    if place and manages_sockets(manager.kernel_spec.argv):
        manager.transport = "ipc"
        manager.ip = place
    elif getattr(manager, "transport_encryption", "") == "disabled":
        import zmq

        if zmq.has("curve") and not is_chosen(manager, "transport_encryption"):
            manager.transport_encryption = "auto"


def install() -> None:
    """Makes `protect` part of each start of a kernel in this process; a second call changes nothing."""
    try:
        from jupyter_client.provisioning.local_provisioner import LocalProvisioner
    except ImportError:  # jupyter_client before 7, or none
        return
    original = LocalProvisioner.pre_launch
    if hasattr(original, "protects_kernels"):
        return

    async def pre_launch(self: Any, **kwargs: Any) -> Any:
        if self.parent is not None:
            protect(self.parent)
        return await original(self, **kwargs)

    pre_launch.protects_kernels = True  # type: ignore[attr-defined]
    LocalProvisioner.pre_launch = pre_launch  # type: ignore[method-assign]


if "get_config" in globals():  # Jupyter reads this file
    install()
