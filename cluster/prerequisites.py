"""What the driver needs of the machine: installs what is missing, says in one sentence what can't be had."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import ClusterError
from .processes import run

# command -> Debian and Ubuntu package
RUN_COMMANDS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
BUILD_COMMANDS = {"mmdebstrap": "mmdebstrap", "gpgv": "gpgv"}
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_LOCK = Path("/run/lock/flatirons-apt")
BUILD_BYTES = 3 * 1024**3


def say(sentence: str) -> None:
    """Tells the person at the keyboard how it goes; on stderr, as stdout is for results."""
    print(f"cluster: {sentence}", file=sys.stderr, flush=True)


def require_root() -> None:
    """ClusterError unless we are root."""
    if os.geteuid() != 0:
        raise ClusterError("the virtual cluster needs root: it makes mounts and namespaces")


def install(packages: list[str]) -> None:
    """Installs by apt-get; reads the package lists anew only if what they say no longer works.

    One process at a time: apt refuses a second.
    """
    if not shutil.which("apt-get"):
        raise ClusterError(f"missing here, and there is no apt-get to install it: {' '.join(packages)}")
    with APT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(packages)


def _install(packages: list[str]) -> None:
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for command in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if command is install and done.returncode == 0:
            return
    lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
    raise ClusterError(f"apt-get could not install {' '.join(packages)}: {lines[-1]}")


def ensure_run_commands() -> None:
    """Installs what `up` and the others need, if it isn't there."""
    missing = sorted({package for command, package in RUN_COMMANDS.items() if not shutil.which(command)})
    if missing:
        install(missing)


def ensure_build_commands() -> None:
    """Installs what building a tree needs, if it isn't there."""
    missing = {package for command, package in BUILD_COMMANDS.items() if not shutil.which(command)}
    if not DEBIAN_KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        install(sorted(missing))


def require_disk(place: Path) -> None:
    """ClusterError unless a tree fits into the file system of an existing directory."""
    free = shutil.disk_usage(place).free
    if free < BUILD_BYTES:
        raise ClusterError(
            f"too little disk: {place} has {free / 1e9:.1f} GB free, a tree needs {BUILD_BYTES / 1e9:.1f} GB"
        )


def warn_of_apparmor() -> None:
    """Says so if this machine keeps ordinary users from containers (Ubuntu's default since 23.10)."""
    switch = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if switch.exists() and switch.read_text().strip() == "1":
        say(f"containers of ordinary users will fail: AppArmor forbids them, sysctl {switch.name} is 1")


def require_namespaces() -> None:
    """ClusterError unless this machine lets us make namespaces, and in them mounts and bridges."""
    links = "ip link add name br0 type bridge && ip link add v0 type veth peer name v1"
    test = f"mount -t tmpfs tmpfs /mnt && {links}"
    flags = ["--mount", "--propagation", "private", "--uts", "--ipc", "--net", "--pid", "--fork"]
    run(["unshare", *flags, "sh", "-c", test], "this machine allows no namespaces, bridges or mounts in them")
