"""`scripts/bench coldstart`: from a container's start to the first answer, compared with a stock image."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from cluster.demo.progress import Progress
from cluster.demo.service import HERE as DEMO
from cluster.demo.service import Demo
from cluster.state import Bind
from images import recipe
from images import stage as building
from images.errors import BuildError

from .shared.options import Options
from .shared.report import Row, machine
from .shared.testbed import HERE, BenchFailure, Result, run_script, running_testbed

NODE = "shas0101"
IMAGES = {"flatirons": "/srv/images/base.sif", "stock": "/srv/images/stock.sif"}
USERS = {"flatirons": "alice", "stock": "bob"}  # each has its own home
PYTHON = "/opt/peers/bin/python"
PROGRAMS = ("time_server.py", "slow_home.py")
HUB_API = "http://hub:8081/hub/api"
DELAY_MS = 5
BINDS = ["/run/munge", "/etc/slurm:/etc/slurm:ro", "/etc/passwd:/etc/passwd:ro", "/etc/group:/etc/group:ro"]
METRICS = ("first_answer", "first_page", "first_kernel")

# $1 user, $2 milliseconds. /run/home is the home itself; /home/USER becomes the slow one.
MOUNT_SLOW_HOME = f"""
mkdir -p /run/home
mount --bind "/home/$1" /run/home
setsid {PYTHON} /opt/slow_home.py /run/home "/home/$1" "$2" >/run/home.json 2>/run/home.log </dev/null &
echo $! >/run/home.pid
until mountpoint -q "/home/$1"; do
    kill -0 "$(cat /run/home.pid)" || {{ cat /run/home.log; exit 1; }}
    sleep 0.01
done
"""
UNMOUNT_SLOW_HOME = """
umount -l "/home/$1"
while kill -0 "$(cat /run/home.pid)" 2>/dev/null; do sleep 0.01; done
umount /run/home
cat /run/home.json
"""


@dataclass(frozen=True)
class Circumstances:
    """The state before each start, and the number of starts of each subject."""

    n: int
    cache: str = "warm"  # or "cold": the node's page cache is empty
    home: str = ""  # or "slow"

    def __str__(self) -> str:
        return f"{self.n} of each, {self.cache} cache, {self.home or 'fast'} home"

    @property
    def facts(self) -> dict[str, int | str]:
        """The facts of the rows."""
        return {"cache": self.cache, "n": self.n} | ({"home": self.home} if self.home else {})


QUICK = (Circumstances(1), Circumstances(1, cache="cold"), Circumstances(1, home="slow"))
FULL = (Circumstances(7), Circumstances(4, cache="cold"), Circumstances(5, home="slow"))


def run(options: Options) -> Result:
    """Both images take turns, one start at a time, under each of the circumstances."""
    progress = Progress()
    with progress.step("stock image"):
        image = stock_image()
    binds = [Bind(str(HERE / "node" / name), f"/opt/{name}", False) for name in PROGRAMS]
    binds.append(Bind(str(image), IMAGES["stock"], False))
    with running_testbed(progress, DEMO / "site.toml", binds=binds) as demo:
        tokens = {subject: create_token(demo, user) for subject, user in USERS.items()}

        def start(subject: str) -> dict[str, Any]:
            return time_server(demo, subject, tokens[subject])

        with progress.step("one of each, not counted"):
            check_packages({subject: packages(demo, subject) for subject in IMAGES})
            check_offers({subject: start(subject)["offers"] for subject in IMAGES})
        rows = []
        for circumstances in QUICK if options.is_quick else FULL:
            with progress.step(str(circumstances)):
                rows += measure(demo, circumstances, start)
        return Result(machine(demo), rows)


def stock_image() -> Path:
    """The file of an image with base's packages as pip installs them; built if the cache lacks it."""
    inputs = {"image.def": recipe.HERE / "packages.def", "install.sh": HERE / "stock-install.sh"}
    inputs["requirements.txt"] = recipe.HERE / "base" / "requirements.txt"
    suite = recipe.DEFAULT_SUITE
    try:
        return building.ensure(recipe.Stage("stock", suite, inputs, recipe.debian(suite), ".sif"))
    except BuildError as error:
        raise BenchFailure(f"the stock image could not be built: {error}") from error


def create_token(demo: Demo, user: str) -> str:
    """A new token of this user, for a server and for requests to it."""
    users = f"{demo.url}/hub/api/users/{user}"
    headers = {"Authorization": f"token {demo.token}"}
    try:
        with urlopen(Request(users, b"", headers)):  # creates the user
            pass
    except HTTPError as error:
        if error.code != 409:  # the user exists
            raise BenchFailure(f"the hub answered {error.code} to the new user {user}") from error
    with urlopen(Request(f"{users}/tokens", b"{}", headers)) as answer:
        return str(json.load(answer)["token"])


def time_server(demo: Demo, subject: str, token: str) -> dict[str, Any]:
    """Starts a subject's server once; returns what `node/time_server.py` prints."""
    settings = {"image": IMAGES[subject], "binds": BINDS, "user": USERS[subject], "token": token}
    text = json.dumps({**settings, "hub": HUB_API, "has_own_directory": subject == "flatirons"})
    try:
        done = demo.exec(NODE, [PYTHON, "/opt/time_server.py"], USERS[subject], stdin=text, deadline_s=180)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"the server of {subject} did not start within 3 minutes") from error
    if done.returncode:
        raise BenchFailure(f"the server of {subject} failed: {done.stderr.strip()[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def packages(demo: Demo, subject: str) -> set[str]:
    """Every Python distribution in a subject's image, as NAME==VERSION."""
    code = (
        "from importlib.metadata import distributions as d; print(*{f'{i.name}=={i.version}' for i in d()})"
    )
    done = demo.exec(
        NODE, ["apptainer", "-s", "exec", IMAGES[subject], "python", "-Ic", code], USERS[subject]
    )
    if done.returncode:
        raise BenchFailure(f"the packages of {subject} can't be listed: {done.stderr.strip()[-500:]}")
    return set(done.stdout.split())


def check_packages(found: dict[str, set[str]]) -> None:
    """Raises BenchFailure unless both images have the same packages, apart from Flatirons itself."""
    differing = found["flatirons"] ^ found["stock"]
    if others := sorted(name for name in differing if not name.startswith("flatirons==")):
        raise BenchFailure(f"the images differ in their packages: {', '.join(others)}")


def check_offers(found: dict[str, dict[str, list[str]]]) -> None:
    """Raises BenchFailure if our image lacks a kernel or an extension that the stock image has."""
    for kind, theirs in found["stock"].items():
        if missing := set(theirs) - set(found["flatirons"][kind]):
            raise BenchFailure(f"the image lacks {kind} that a stock image has: {', '.join(sorted(missing))}")


def measure(demo: Demo, circumstances: Circumstances, start: Callable[[str], dict[str, Any]]) -> list[Row]:
    """The rows of both subjects, which take turns."""
    seen: dict[str, list[dict[str, Any]]] = {subject: [] for subject in IMAGES}
    for _ in range(circumstances.n):
        for subject in IMAGES:
            if circumstances.cache == "cold":
                empty_page_cache()
            if circumstances.home == "slow":
                with slow_home(demo, USERS[subject]) as operations:
                    found = start(subject)
                seen[subject].append({**found, "operations": sum(operations.values())})
            else:
                seen[subject].append(start(subject))
    return [row for subject in IMAGES for row in _rows(subject, seen[subject], circumstances)]


def empty_page_cache() -> None:
    """Empties the page cache of this machine, and so of all nodes."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError as error:
        raise BenchFailure(f"the page cache can't be emptied here: {error.strerror}") from error


@contextmanager
def slow_home(demo: Demo, user: str) -> Iterator[dict[str, int]]:
    """The user's home is slow until the end; then the dictionary holds the count of each operation."""
    operations: dict[str, int] = {}
    run_script(demo, NODE, MOUNT_SLOW_HOME, user, str(DELAY_MS))
    try:
        yield operations
    finally:
        operations |= json.loads(run_script(demo, NODE, UNMOUNT_SLOW_HOME, user))


def _rows(subject: str, seen: list[dict[str, Any]], circumstances: Circumstances) -> Iterator[Row]:
    for metric in METRICS:
        took = sorted(each[metric] for each in seen)
        for what, value in {"s": statistics.median(took), "min_s": took[0], "max_s": took[-1]}.items():
            yield Row(subject, f"{metric}_{what}", round(value, 3), "s", circumstances.facts)
    if circumstances.home == "slow":
        operations = statistics.median(each["operations"] for each in seen)
        yield Row(subject, "home_operations", operations, "1", {**circumstances.facts, "delay_ms": DELAY_MS})
