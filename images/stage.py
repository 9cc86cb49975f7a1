"""Builds stages into the cache: each under a temporary name, and only a whole one gets its own."""

import datetime
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from . import base, debian, progress
from .errors import BuildError
from .recipe import DEFAULT_SUITE, HERE, ROOT, Stage, definition_arguments

# Older ones of a family are removed, unless another build may be standing on them at this moment; a running
# container keeps the file that it began with.
KEPT = 3
IN_USE_S = 600
# Debian 12 has no Apptainer: its images are built by the one in the default suite's tree.
WITHOUT_APPTAINER = ("bookworm",)
# Of the host's environment, what says how packages are reached.
REACHING = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|PROXY|DEFAULT_TIMEOUT|RETRIES)$|(https?|no)_proxy$",
    re.IGNORECASE,
)
REGISTRIES = re.compile(
    r"APPTAINER_(DOCKER_USERNAME|DOCKER_PASSWORD|NOHTTPS)$|(https?|no)_proxy$", re.IGNORECASE
)
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
DEBIAN_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Fast to write and to read; gzip takes five times as long for a file of nearly the same size.
SQUASHFS = "-comp zstd -Xcompression-level 3"
NEEDED_BYTES = 4 * 1024**3


def cache() -> Path:
    """The directory of the images; made if it isn't there."""
    place = Path(os.environ.get("FLATIRONS_CACHE") or "/var/cache/flatirons").absolute() / "images"
    place.mkdir(parents=True, exist_ok=True)
    return place


def is_built(stage: Stage) -> bool:
    """Whether the cache has it, whole."""
    return (cache() / stage.file_name).exists()


def ensure(stage: Stage) -> Path:
    """The path of a whole stage, built if it hasn't been yet, and its parents with it."""
    place = cache() / stage.file_name
    if is_built(stage):
        os.utime(place)
        return place
    if stage.parent and ensure(stage.parent).name != stage.parent.file_name:
        raise BuildError(f"the sources of {stage.parent.family} changed while they were read; run again")
    with _lock(cache() / f".{stage.family}{stage.suffix}.lock") as lock:
        return place if place.exists() else _build(stage, lock)


@contextmanager
def _lock(place: Path) -> Iterator[int]:
    """Holds the lock file; gives its descriptor, so that a child can go on holding it should we be killed."""
    with place.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another build of {place.name.removesuffix('.lock').lstrip('.')}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _build(stage: Stage, lock: int) -> Path:
    """Builds a stage from a copy of its inputs, under our lock; gives its path."""
    prefix = f".building-{stage.family}{stage.suffix}-"
    for stale in cache().glob(f"{prefix}*"):
        _remove(stale)
    free = shutil.disk_usage(cache()).free
    if free < NEEDED_BYTES:
        raise BuildError(
            f"too little disk: {cache()} has {free / 1e9:.1f} GB free of the {NEEDED_BYTES / 1e9:.1f} needed"
        )
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


def _snapshot(stage: Stage, place: Path) -> Stage:
    """The same stage of copied inputs, so that its key holds even if a source is edited meanwhile."""
    for name, file in stage.inputs.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / name)
    return replace(stage, inputs={name: place / name for name in stage.inputs})


def _debian_argv(stage: Stage, work: Path) -> tuple[list[str], str]:
    """The command that makes the Debian tree in `work`/out, and what to call it."""
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing; install it: apt-get install mmdebstrap")
    packages = debian.read_packages(stage.inputs["debian.txt"].read_text())
    argv = debian.mmdebstrap_argv(stage.suite, packages, work / "out", cluster_tree(stage.suite))
    return argv, f"{stage.suite}: Debian packages"


def _apptainer_argv(stage: Stage, work: Path) -> tuple[list[str], str]:
    """The command that builds from the stage's definition to `work`/out, and what to call it."""
    _write_host_environment(work / "inputs")
    (work / "tmp").mkdir()
    inside = Path("/mnt") / work.name
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    parent = f"/mnt/{stage.parent.file_name}" if stage.parent else base.place(stage.base, inside / "inputs")
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
    """What Apptainer is given of our environment: how registries are reached, and as whom."""
    return {name: value for name, value in os.environ.items() if REGISTRIES.match(name)}


def _write_host_environment(inputs: Path) -> None:
    """What `%post` reads to reach packages as this host does; Apptainer passes none of it on."""
    values = {name: value for name, value in os.environ.items() if REACHING.match(name)}
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
    """The virtual cluster's tree of a suite, which has Apptainer and says where packages come from."""
    argv = [str(ROOT / "scripts/cluster"), "tree", "--suite", suite]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise BuildError(f"the virtual cluster's {suite} tree, which has Apptainer, could not be had")
    return Path(done.stdout.strip())


def revision() -> str:
    """The commit of the checkout, with `+` if it is changed; `unknown` outside of one."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _prune(stage: Stage) -> None:
    """Removes all but the newest few of a family, and what was asked for a moment ago."""
    pattern = f"{stage.family}-{'[0-9a-f]' * len(stage.key)}{stage.suffix}"
    found = sorted(cache().glob(pattern), key=lambda place: place.stat().st_mtime, reverse=True)
    for old in found[KEPT:]:
        if time.time() - old.stat().st_mtime > IN_USE_S:
            _remove(old)


def _remove(place: Path) -> None:
    """Removes a file, or a directory under a name that says it is not whole."""
    if not place.is_dir():
        place.unlink(missing_ok=True)
        return
    if not place.name.startswith("."):
        place = place.rename(place.with_name(f".building-{place.name}"))
    subprocess.run(["rm", "-rf", "--one-file-system", str(place)], check=True)
