"""What the virtual cluster needs on the machine: installs what is missing, or raises a clear ClusterError."""

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
    """Prints progress to stderr, as stdout is for results."""
    print(f"cluster: {sentence}", file=sys.stderr, flush=True)


def require_root() -> None:
    """Raises ClusterError unless this process runs as root."""
    if os.geteuid() != 0:
        raise ClusterError("the virtual cluster needs root, because it makes mounts and namespaces")


def install(packages: list[str]) -> None:
    """Installs packages with apt-get; updates the package lists if the installation fails without that.

    One process at a time, because apt refuses a second one.
    """
    if not shutil.which("apt-get"):
        missing = " ".join(packages)
        raise ClusterError(f"missing on this machine, which has no apt-get to install them: {missing}")
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
    lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
    raise ClusterError(f"apt-get could not install {' '.join(packages)}: {lines[-1]}")


def ensure_run_commands() -> None:
    """Installs the commands that `up` and the other verbs need, if they are missing."""
    missing = sorted({package for command, package in RUN_COMMANDS.items() if not shutil.which(command)})
    if missing:
        install(missing)


def ensure_build_commands() -> None:
    """Installs the commands that building a tree needs, if they are missing."""
    missing = {package for command, package in BUILD_COMMANDS.items() if not shutil.which(command)}
    if not DEBIAN_KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        install(sorted(missing))


def require_disk(place: Path) -> None:
    """Raises ClusterError unless a tree fits into the file system of this directory."""
    free = shutil.disk_usage(place).free
    if free < BUILD_BYTES:
        needed = f"a tree needs {BUILD_BYTES / 1e9:.1f} GB"
        raise ClusterError(f"not enough disk space: {place} has {free / 1e9:.1f} GB free, {needed}")


def warn_of_apparmor() -> None:
    """Prints a warning if this machine denies containers to ordinary users (Ubuntu's default since 23.10)."""
    switch = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if switch.exists() and switch.read_text().strip() == "1":
        say(f"containers of ordinary users will fail: AppArmor forbids them (sysctl {switch.name} is 1)")


def require_namespaces() -> None:
    """Raises ClusterError unless this machine allows namespaces, with mounts and bridges in them."""
    links = "ip link add name br0 type bridge && ip link add v0 type veth peer name v1"
    test = f"mount -t tmpfs tmpfs /mnt && {links}"
    flags = ["--mount", "--propagation", "private", "--uts", "--ipc", "--net", "--pid", "--fork"]
    run(["unshare", *flags, "sh", "-c", test], "this machine allows no namespaces, bridges or mounts in them")
