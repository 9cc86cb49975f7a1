"""The file tree of all nodes: built once for each suite and recipe, and then only read."""

import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import recipe
from .builds import ISOLATED, build_lock
from .errors import ClusterError
from .prerequisites import ensure_build_commands, require_disk, say
from .processes import run
from .sources import debian_mirror, read_os_release, read_sources

RUN = Path("/run/flatirons")
MARKER = "instance.json"
UNUSED_S = 14 * 24 * 3600
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_CAS = Path("/usr/local/share/ca-certificates")
# Where pip reads its configuration: the machine's first, then root's own.
PIP_PLACES = (Path("/etc/pip.conf"), Path("/etc/xdg/pip"), Path("/root/.config/pip"), Path("/root/.pip"))


def cache() -> Path:
    """The directory of everything that outlives an instance; created if it doesn't exist."""
    directory = Path(os.environ.get("FLATIRONS_CACHE") or "/var/cache/flatirons").absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _host_mirror() -> str | None:
    release = Path("/etc/os-release")
    return debian_mirror(read_sources(), read_os_release(release.read_text() if release.exists() else ""))


def _apt_options() -> list[str]:
    """apt's options for how this host fetches packages, such as proxies."""
    lines = run(["apt-config", "dump"], "reading apt's configuration").splitlines()
    kept = [
        line.rstrip(";")
        for line in lines
        if re.match(r"Acquire::(?!IndexTargets|Languages|Changelogs)", line)
    ]
    return [line for line in kept if not line.endswith('""')]


def _host_files() -> Iterator[tuple[Path, Path]]:
    """(file on the host, its path in the tree): the CA bundle, local CAs and pip's configuration."""
    for place in (CA_BUNDLE, LOCAL_CAS, *PIP_PLACES):
        files = [place] if place.is_file() else sorted(place.rglob("*")) if place.is_dir() else []
        for file in files:
            if file.is_file():
                yield file, file.relative_to("/")


def tree_key(suite: str, mirror: str | None, apt_options: list[str]) -> str:
    """A short hash of everything a tree is built from, with the files copied from the host."""
    digest = hashlib.sha256(repr((suite, mirror, apt_options)).encode())
    digest.update(Path(recipe.__file__).read_bytes())
    digest.update((recipe.SUBORDINATE_IDS + inspect.getsource(_finish)).encode())
    for file, place in _host_files():
        digest.update(str(place).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def remove(directory: Path) -> None:
    """Removes a directory with its contents; ClusterError if something is mounted there."""
    mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    if any(mount == str(directory) or mount.startswith(f"{directory}/") for mount in mounts):
        raise ClusterError(f"something is mounted under {directory}, so it was not removed")
    run(["rm", "-rf", "--one-file-system", str(directory)], f"removing {directory}", deadline_s=300)


def ensure_tree(suite: str = recipe.DEFAULT_SUITE) -> Path:
    """The path of the complete tree of this suite; builds it if the cache lacks it."""
    if suite not in recipe.SUITES:
        raise ClusterError(f"unknown suite {suite}; there are {', '.join(recipe.SUITES)}")
    mirror, options = _host_mirror(), _apt_options()
    tree = cache() / f"tree-{suite}-{tree_key(suite, mirror, options)}"
    if tree.is_dir():
        os.utime(tree)
        return tree
    waiting = "waiting for another build of this tree"
    with build_lock(cache() / f"tree-{suite}.lock", lambda: say(waiting)) as lock:
        if not tree.is_dir():
            for stale in cache().glob(f".building-{suite}-*"):
                remove(stale)
            _prune(suite)
            ensure_build_commands()
            require_disk(cache())
            _build(suite, tree, mirror, options, lock)
    return tree


def _prune(suite: str) -> None:
    """Removes the trees of a suite that no running instance uses and that weren't used for two weeks."""
    used = {json.loads(marker.read_text())["tree"] for marker in RUN.glob(f"*/{MARKER}")}
    for tree in cache().glob(f"tree-{suite}-*"):
        if str(tree) not in used and time.time() - tree.stat().st_mtime > UNUSED_S:
            remove(tree)


def _build(suite: str, tree: Path, mirror: str | None, options: list[str], lock: int) -> None:
    """Builds the tree under a temporary name and renames it when it is complete."""
    say(f"building the {suite} tree (about half a minute)")
    temporary = Path(tempfile.mkdtemp(prefix=f".building-{suite}-", dir=cache()))
    temporary.chmod(0o755)
    if _run_mmdebstrap(suite, temporary, mirror, options, lock):
        remove(temporary)
        raise ClusterError(f"mmdebstrap could not build the {suite} tree; its own messages are above")
    _finish(temporary, options)
    temporary.rename(tree)
    say(f"built {tree.name}")


def _run_mmdebstrap(suite: str, target: Path, mirror: str | None, options: list[str], lock: int) -> int:
    """The exit code of mmdebstrap, which makes the tree of packages in `target`."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory(prefix=f".building-{suite}-seed-", dir=cache()) as seed:
        for name, text in recipe.seed_files(suite).items():
            (Path(seed) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(seed) / name).write_text(text)
        argv = [*ISOLATED, *recipe.mmdebstrap_argv(suite, str(target), seed, mirror, options)]
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[lock])
    return done.returncode


def _finish(tree: Path, apt_options: list[str]) -> None:
    """Adds accounts, the host's certificates and pip configuration; removes what each instance makes."""
    for command in recipe.ACCOUNT_COMMANDS:
        run(["chroot", str(tree), *command], "adding the accounts")
    for name in ("subuid", "subgid"):
        (tree / "etc" / name).write_text(recipe.SUBORDINATE_IDS)
    for file, place in _host_files():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tree / place)
    (tree / "etc/apt/apt.conf.d/90host").write_text("".join(f"{option};\n" for option in apt_options))
    for secret in (tree / "etc/munge/munge.key", *tree.glob("etc/ssh/ssh_host_*")):
        secret.unlink(missing_ok=True)
    (tree / "etc/slurm").mkdir(exist_ok=True)
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").write_text("# no name server: /etc/hosts has every node\n")


def slurm_release(tree: Path) -> tuple[int, int]:
    """The release of Slurm in a tree, such as (24, 11), from dpkg's records."""
    status = (tree / "var/lib/dpkg/status").read_text()
    match = re.search(r"^Package: slurmctld\n(?:.+\n)*?Version: (?:\d+:)?(\d+)\.(\d+)", status, re.MULTILINE)
    if match is None:
        raise ClusterError(f"there is no slurmctld in {tree}")
    return int(match[1]), int(match[2])


def account_ids(tree: Path, name: str) -> tuple[int, int]:
    """(uid, gid) of an account in a tree."""
    for line in (tree / "etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise ClusterError(f"there is no account {name} in {tree}")
