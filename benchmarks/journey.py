"""`scripts/bench journey`: what a person waits for, from the click on "Start" to the output of a cell.

README.md in this directory says what is measured, and how.
"""

import json
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as BrowserError

from cluster.demo.progress import Progress
from cluster.demo.service import HERE as DEMO
from cluster.demo.service import Demo
from cluster.layout import PEOPLE
from cluster.processes import wait_until
from cluster.state import Bind

from .coldstart import BINDS, HUB_API, IMAGES, PYTHON, create_token, stock_image
from .shared.browser import Journey, chromium, logged_in, travel
from .shared.hub_process import Peer
from .shared.job_times import FirstListener, last_submitted, script_began, start_noting_submissions
from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import printed
from .shared.slurmctld import end_jobs
from .shared.subjects import (
    BATCHSPAWNER,
    EMPTY_PEER,
    FLATIRONS,
    FLOOR,
    MOSS,
    PEER_RULE,
    PREPARE_PEERS,
    Subject,
)
from .shared.testbed import HERE, BenchFailure, Result, run_script_in_hub, running_testbed

USER = next(person for person in PEOPLE if person.name == "alice")
PARTITION = "shas"
QUICK_ROUNDS, FULL_ROUNDS = 1, 5
PARTS = ("hub", "slurm", "server", "page", "kernel")
# File in `node/` -> where the nodes see it.
PROGRAMS = {
    "batchspawner_singleuser.py": "/opt/batchspawner-singleuser",
    "time_server.py": "/opt/time_server.py",
}
PEER_PATH = "PATH=/opt/peers/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a stay in JupyterLab leaves in a home: settings, workspaces, notebooks.
LEAVE_NOTHING = (
    'cd "/home/$1" && rm -rf .jupyter .local .ipython .cache Untitled* .ipynb_checkpoints floor.txt'
)
LAST_LINES = 'cd "/home/$1" && tail -n 5 ./*.log 2>/dev/null || true'
# $1: the user, $2: the program and its input.
SUBMIT = """
cd "/home/$1"
sudo -n -u "$1" sbatch --parsable --export=NIL --output=floor.txt --partition="$2" --mem=1500M --time=60 \
    --chdir="/home/$1" <<END
#!/bin/bash
echo \\$EPOCHREALTIME
exec $3 /opt/time_server.py <<'INPUT'
$4
INPUT
END
"""


@dataclass(frozen=True)
class Case:
    """A subject with an image: our own, or the `stock` one of `coldstart`, as a peer's site would have it."""

    subject: Subject
    image: str = "flatirons"

    def __str__(self) -> str:
        return f"{self.subject.name}, image {self.image}"

    @property
    def facts(self) -> dict[str, str]:
        """The facts of the rows."""
        return {} if self.image == "flatirons" else {"image": self.image}


QUICK_PLAN = (Case(FLATIRONS), Case(FLOOR))
PEERS = tuple(Case(peer, image) for image in IMAGES for peer in (BATCHSPAWNER, MOSS))
FULL_PLAN = (*QUICK_PLAN, *PEERS)

# Seconds of "click_to_output" and of its parts.
Times = dict[str, float]


@dataclass
class Seen:
    """What was measured of a subject; the key is the state of the browser's cache."""

    times: dict[str, list[Times]] = field(default_factory=dict)
    journeys: dict[str, list[Journey]] = field(default_factory=dict)

    def add(self, cache: str, times: Times, journey: Journey | None = None) -> None:
        """Adds one start."""
        self.times.setdefault(cache, []).append(times)
        if journey:
            self.journeys.setdefault(cache, []).append(journey)


def run(options: Options) -> Result:
    """The subjects take turns; in each round a browser with an empty cache, then the same one again."""
    cases = plan_of(options)
    rounds = options.rounds or (QUICK_ROUNDS if options.is_quick else FULL_ROUNDS)
    progress, seen = Progress(), {case: Seen() for case in cases}
    with journey_testbed(progress, cases) as demo, chromium() as browser:
        about = {**machine(demo), "chromium": browser.version}
        for number in range(1, rounds + 1):
            for case in cases:
                with progress.step(f"{case}, round {number}"), running(demo, case):
                    measure(demo, browser, case.subject, seen[case], uncounted=0 if options.is_quick else 1)
                printed(progress, list(rows(case, seen[case])))
        demo.start_proxy()
        demo.start_hub()
        return Result(about, [row for case, found in seen.items() for row in rows(case, found)])


def plan_of(options: Options) -> Sequence[Case]:
    """What is measured in each round, in this order."""
    plan = QUICK_PLAN if options.is_quick else FULL_PLAN
    if not options.subjects:
        return plan
    return [case for case in FULL_PLAN if case.subject.name in options.subjects]


@contextmanager
def journey_testbed(progress: Progress, cases: Sequence[Case]) -> Iterator[Demo]:
    """The demo with the images, with the peers and their wrapper of the server on the nodes."""
    binds = [Bind(str(HERE / "node" / name), place, False) for name, place in PROGRAMS.items()]
    if any(case.image == "stock" for case in cases):
        with progress.step("stock image"):
            binds.append(Bind(str(stock_image()), IMAGES["stock"], False))
    with running_testbed(progress, DEMO / "site.toml", binds=binds) as demo:
        shutil.copyfile(HERE / "node" / "journey_config.py", demo.etc / "journey_config.py")
        run_script_in_hub(demo, PREPARE_PEERS, stdin=PEER_RULE)
        start_noting_submissions(demo)
        demo.stop_hub()
        demo.stop_proxy()
        yield demo


@contextmanager
def running(demo: Demo, case: Case) -> Iterator[None]:
    """The subject's hub and its proxy; Flatirons' own for the floor."""
    if not case.subject.is_peer:
        demo.start_proxy()
        demo.start_hub()
        yield
        demo.stop_hub()
        demo.stop_proxy()
        return
    run_script_in_hub(demo, EMPTY_PEER)
    environment = ["env", f"PEER={case.subject.name}", f"IMAGE={IMAGES[case.image]}", PEER_PATH]
    peer = Peer(demo, [*environment, "/opt/peers/bin/jupyterhub", "-f", "/etc/flatirons/journey_config.py"])
    peer.start()
    try:
        yield
    finally:
        peer.stop()


def measure(demo: Demo, browser: Browser, subject: Subject, seen: Seen, uncounted: int) -> None:
    """One start with an empty cache and one with a warm one; `uncounted` starts come between the two.

    Chromium keeps the compiled code of a page's scripts only after several visits.
    """
    if subject == FLOOR:
        seen.add("none", floor_times(demo))
        return
    with logged_in(browser, demo.url, USER.name) as page:
        seen.add("empty", *journey_times(demo, page))
        for _ in range(uncounted):
            journey_times(demo, page)
        seen.add("warm", *journey_times(demo, page))


def journey_times(demo: Demo, page: Page) -> tuple[Times, Journey]:
    """How long a start took, in all and in parts. The server is stopped afterwards."""
    nodes = compute_nodes(demo)
    run_script_in_hub(demo, LEAVE_NOTHING, USER.name)
    listener = FirstListener(demo, nodes, USER.uid)
    try:
        with listener.watching():
            journey = travel(page, USER.name)
    except BrowserError as error:
        logs = run_script_in_hub(demo, LAST_LINES, USER.name).strip()
        sentence = f"the journey ended at {page.url}: {error.message.splitlines()[0]}"
        raise BenchFailure(f"{sentence} The job wrote: {logs or 'nothing'}") from error
    submitted, began = last_submitted(demo), script_began(demo, nodes, USER.uid)
    stop_server(demo, page)
    # On a busy machine this program may notice late that the server listens.
    listened = min(listener.at or journey.page_requested, journey.page_requested)
    times = {
        "click_to_output": journey.output - journey.clicked,
        "hub": submitted - journey.clicked + journey.page_requested - listened,
        "slurm": began - submitted,
        "server": listened - began,
        "page": journey.usable - journey.page_requested,
        "kernel": journey.output - journey.usable,
    }
    return times, journey


def compute_nodes(demo: Demo) -> list[str]:
    """The names of the nodes on which jobs run."""
    return [node.name for node in demo.instance.settings().site.nodes if node.cluster]


def stop_server(demo: Demo, page: Page) -> None:
    """Stops the user's server, and returns when hub and Slurm have forgotten it."""
    page.goto("/hub/home")
    where = f"{demo.url}/hub/api/users/{USER.name}/server"
    with urlopen(Request(where, method="DELETE", headers={"Authorization": f"token {demo.token}"})):
        pass
    wait_until(lambda: not demo.ask_hub(f"/users/{USER.name}")["servers"], "stopping the server", 60, 0.2)
    end_jobs(demo)


def floor_times(demo: Demo) -> Times:
    """The same server in the same container, submitted without a hub, and a cell by its API."""
    run_script_in_hub(demo, LEAVE_NOTHING, USER.name)
    settings = {"image": IMAGES["flatirons"], "binds": BINDS, "user": USER.name, "hub": HUB_API}
    text = json.dumps({**settings, "token": create_token(demo, USER.name), "has_own_directory": True})
    run_script_in_hub(demo, SUBMIT, USER.name, PARTITION, PYTHON, text)
    submitted = last_submitted(demo)
    lines: list[str] = []

    def has_ended() -> bool:
        lines[:] = run_script_in_hub(demo, 'cat "/home/$1/floor.txt" || true', USER.name).splitlines()
        return len(lines) > 1

    wait_until(has_ended, "the server without a hub", 120, 0.2)
    if not lines[-1].startswith("{"):
        raise BenchFailure(f"the server without a hub: {lines[-1]}")
    found = json.loads(lines[-1])
    end_jobs(demo)
    parts = {
        "slurm": float(lines[0]) - submitted,
        "server": found["first_answer"],
        "kernel": found["first_kernel"] - found["first_page"],
    }
    return {"click_to_output": sum(parts.values()), **parts}


def rows(case: Case, seen: Seen) -> Iterator[Row]:
    """The medians of the whole and of its parts, the extremes of the whole, and what the browser loaded."""
    for cache, times in seen.times.items():
        subject, facts = case.subject.name, {"cache": cache, "n": len(times), **case.facts}
        whole = [each["click_to_output"] for each in times]
        numbers = {"click_to_output_s": statistics.median(whole)}
        numbers |= {"click_to_output_min_s": min(whole), "click_to_output_max_s": max(whole)}
        numbers |= {
            f"{part}_s": statistics.median(each[part] for each in times) for part in PARTS if part in times[0]
        }
        for metric, value in numbers.items():
            yield Row(subject, metric, round(value, 3), "s", facts)
        if journeys := seen.journeys.get(cache):
            yield Row(subject, "requests", statistics.median(each.requests for each in journeys), "1", facts)
            yield Row(
                subject, "loaded_kib", round(statistics.median(each.kib for each in journeys)), "KiB", facts
            )
        yield Row(subject, "load_before", round(os.getloadavg()[0], 2), "1", facts)
