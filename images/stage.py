"""Builds stages into the cache: each under a temporary name, which is renamed when the stage is complete."""

import datetime
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cluster.builds import build_lock
from cluster.tree import cache as cluster_cache

from . import base, debian, progress
from .errors import BuildError
from .recipe import DEFAULT_SUITE, HERE, ROOT, Stage, definition_arguments

# Older stages of a family are removed, unless another build may be using them now. A running container keeps
# the file that it started with.
KEPT = 3
IN_USE_S = 600
# Debian 12 has no Apptainer: its images are built with the one in the default suite's tree.
WITHOUT_APPTAINER = ("bookworm",)
# Variables of the host that configure access to packages.
PACKAGE_ACCESS = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|PROXY|DEFAULT_TIMEOUT|RETRIES)$|(https?|no)_proxy$",
    re.IGNORECASE,
)
REGISTRIES = re.compile(
    r"APPTAINER_(DOCKER_USERNAME|DOCKER_PASSWORD|NOHTTPS)$|(https?|no)_proxy$", re.IGNORECASE
)
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
DEBIAN_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Fast to write and to read; gzip takes five times as long and makes a file of nearly the same size.
SQUASHFS = "-comp zstd -Xcompression-level 3"
NEEDED_BYTES = 4 * 1024**3


def cache() -> Path:
    """The directory of the images; created if it doesn't exist."""
    directory = cluster_cache() / "images"
    directory.mkdir(exist_ok=True)
    return directory


def is_built(stage: Stage) -> bool:
    """Whether the cache has the complete stage."""
    return (cache() / stage.file_name).exists()


def ensure(stage: Stage) -> Path:
    """The path of the complete stage; builds it, and its parents, if the cache lacks them."""
    path = cache() / stage.file_name
    if is_built(stage):
        os.utime(path)
        return path
    if stage.parent and ensure(stage.parent).name != stage.parent.file_name:
        raise BuildError(f"the sources of {stage.parent.family} changed while they were read; run again")
    name = f"{stage.family}{stage.suffix}"
    waiting = f"waiting for another build of {name}"
    with build_lock(cache() / f".{name}.lock", lambda: progress.say(waiting)) as lock:
        return path if path.exists() else _build(stage, lock)


def _build(stage: Stage, lock: int) -> Path:
    """Builds a stage from a copy of its inputs while the lock is held; returns its path."""
    prefix = f".building-{stage.family}{stage.suffix}-"
    for stale in cache().glob(f"{prefix}*"):
        _remove(stale)
    _require_disk_space()
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=cache()))
    work.chmod(0o755)
    try:
        stage = _snapshot(stage, work / "inputs")
        log = cache() / f"{stage.family}{stage.suffix}.log"
        by_apptainer = "image.def" in stage.inputs
        argv, what = _apptainer_argv(stage, work) if by_apptainer else _debian_argv(stage, work)
        progress.run(argv, what, log, lock, _environment() if by_apptainer else None)
        if not by_apptainer:
            debian.finish(work / "out")
        (work / "out").rename(cache() / stage.file_name)
    finally:
        _remove(work)
    _prune(stage)
    return cache() / stage.file_name


def _require_disk_space() -> None:
    free = shutil.disk_usage(cache()).free / 1e9
    if free < NEEDED_BYTES / 1e9:
        needed = f"{NEEDED_BYTES / 1e9:.1f} GB are needed"
        raise BuildError(f"not enough disk space: {cache()} has {free:.1f} GB free, {needed}")


def _snapshot(stage: Stage, directory: Path) -> Stage:
    """The same stage made of copies of its inputs, so that its key stays right if a source is edited."""
    for name, file in stage.inputs.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, directory / name)
    return replace(stage, inputs={name: directory / name for name in stage.inputs})


def _debian_argv(stage: Stage, work: Path) -> tuple[list[str], str]:
    """(command that makes the Debian tree in `work`/out, what to call it)."""
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing; install it: apt-get install mmdebstrap")
    packages = debian.read_packages(stage.inputs["debian.txt"].read_text())
    argv = debian.mmdebstrap_argv(stage.suite, packages, work / "out", cluster_tree(stage.suite))
    return argv, f"{stage.suite}: Debian packages"


def _apptainer_argv(stage: Stage, work: Path) -> tuple[list[str], str]:
    """(command that builds the stage's definition to `work`/out, what to call it)."""
    _write_host_environment(work / "inputs")
    (work / "tmp").mkdir()
    inside = Path("/mnt") / work.name
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    parent = f"/mnt/{stage.parent.file_name}" if stage.parent else base.source(stage.base, inside / "inputs")
    values = definition_arguments(stage, parent, revision(), created)
    tools = cluster_tree(DEFAULT_SUITE if stage.suite in WITHOUT_APPTAINER else stage.suite)
    argv = [str(HERE / "enter.sh"), str(tools), str(cache()), str(inside / "tmp"), "apptainer", "build"]
    argv += ["--mksquashfs-args", SQUASHFS] if stage.suffix else ["--sandbox"]
    argv += ["--bind", f"{inside}/inputs:/mnt"]
    for name, value in values.items():
        argv += ["--build-arg", f"{name}={value}"]
    what = "Flatirons and the image file" if stage.suffix else "packages"
    return [*argv, str(inside / "out"), str(inside / "inputs/image.def")], f"{stage.name}: {what}"


def _environment() -> dict[str, str]:
    """The variables that Apptainer gets: access to registries."""
    return {name: value for name, value in os.environ.items() if REGISTRIES.match(name)}


def _write_host_environment(inputs: Path) -> None:
    """Writes what `%post` reads to access packages as this host does; Apptainer passes no variables on."""
    values = {name: value for name, value in os.environ.items() if PACKAGE_ACCESS.match(name)}
    named = [os.environ[name] for name in CERTIFICATES if os.environ.get(name)]
    for file in map(Path, [*named, DEBIAN_CERTIFICATES]):
        if file.is_file():
            shutil.copy(file, inputs / "certificates.crt")
            values["PIP_CERT"] = "/mnt/certificates.crt"
            break
    file = inputs / "host.env"
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))


def cluster_tree(suite: str) -> Path:
    """The virtual cluster's tree of a suite, with its Apptainer and its package sources."""
    argv = [str(ROOT / "scripts/cluster"), "tree", "--suite", suite]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise BuildError(f"the virtual cluster's {suite} tree, which has Apptainer, could not be built")
    return Path(done.stdout.strip())


def revision() -> str:
    """The commit of the checkout, with `+` if files differ from it; `unknown` outside of a checkout."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _prune(stage: Stage) -> None:
    """Removes the old stages of a family, apart from the newest few and those used a moment ago."""
    pattern = f"{stage.family}-{'[0-9a-f]' * len(stage.key)}{stage.suffix}"
    found = sorted(cache().glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[KEPT:]:
        if time.time() - old.stat().st_mtime > IN_USE_S:
            _remove(old)


def _remove(path: Path) -> None:
    """Removes a file or a directory; a directory first gets a name that marks it as incomplete."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith("."):
        path = path.rename(path.with_name(f".building-{path.name}"))
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)
