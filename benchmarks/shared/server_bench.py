"""What the benchmarks that start servers share: their site, their users, and numbers that several report."""

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .options import Options
from .report import Row
from .subjects import SUBJECTS, Subject, install_programs
from .testbed import HERE, running_testbed
from .users import NODES, add_users

SITE = HERE / "server_site.toml"
HEALTH_HZ = 20.0
# metric -> (value, unit)
Numbers = dict[str, tuple[float, str]]


@contextmanager
def server_testbed(progress: Progress, users: int) -> Iterator[Demo]:
    """A testbed without images, with that many users; neither the hub nor the proxy runs."""
    os.environ["FLATIRONS_IMAGE_FILE"] = os.devnull  # no server runs in a container, so no image is built
    with running_testbed(progress, SITE, NODES) as demo:
        with progress.step(f"{users} users"):
            demo.stop_hub()
            demo.stop_proxy()
            add_users(demo, users)
            install_programs(demo)
        yield demo


def selected(options: Options, subjects: Sequence[Subject]) -> Sequence[Subject]:
    """The subjects that the command line names, or else those of the plan."""
    return tuple(SUBJECTS[name] for name in options.subjects) or subjects


def printed(progress: Progress, rows: list[Row]) -> list[Row]:
    """The rows, printed to stderr as well: a long benchmark that fails at its end keeps what it measured."""
    for row in rows:
        progress.say(json.dumps(row.as_dict()))
    return rows


def health_numbers(spans: Sequence[Sequence[float]]) -> Numbers:
    """How long /hub/health took; `spans` are the client's (requested at, seconds, status), perhaps none."""
    waited_ms = [1000 * seconds for _, seconds, _ in spans]
    if not waited_ms:
        return {}
    several = waited_ms if len(waited_ms) > 1 else 2 * waited_ms  # quantiles needs two
    p99 = statistics.quantiles(several, n=100, method="inclusive")[98]
    return {"health_p99_ms": (p99, "ms"), "health_max_ms": (max(waited_ms), "ms")}
