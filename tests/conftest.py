"""The virtual cluster for tests marked `cluster`: one for each process of tests, taken down at its end.

`FLATIRONS_TEST_DEMO=NAME` uses a demo that is up already and leaves it up. Start it so:
`scripts/demo --detach --name NAME --port PORT --site-extra tests/site-extra.toml`, with `--images r,pyspark`
for tests that are marked `images`.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from cluster import logs
from cluster.demo.build import build
from cluster.demo.progress import Progress
from cluster.demo.service import SITE, Demo, free_port
from cluster.layout import HUB, HUB_ACCOUNT
from cluster.state import RUN
from flatirons.runner import Launch, Runner
from flatirons.slurm.model import Cluster as SlurmCluster
from tests.full import IS_FULL, SEED
from tests.shards import DURATIONS, Durations, FileSharing, Summaries, note_needs, says_progress

EXTRA_SITE = Path(__file__).with_name("site-extra.toml")
TAIL_LINES = 40


hypothesis.settings.register_profile("any machine", deadline=None, database=None)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store-durations`, for developers who add slow tests."""
    parser.addoption("--store-durations", action="store_true", help=f"write {DURATIONS.name}")


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start get Ctrl-C and hang-ups, even if we were started with them ignored.

    `&` and nohup ignore these signals. Programs inherit that a signal is ignored, but no handler.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    config.pluginmanager.register(Summaries(config))
    if config.getoption("--store-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Notes what each test needs, for the stored durations."""
    if config.getoption("--store-durations"):
        note_needs(items)


def pytest_report_header() -> str:
    """How much is tested, and how to repeat it."""
    form = "in full" if IS_FULL else "in the form for a change; --full for all"
    return f"flatirons: {form}; FLATIRONS_SEED={SEED}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileSharing:
    """Files are assigned by what they need and how long they take."""
    return FileSharing(config, log)


class InHubNode(Runner):
    """Runs commands in the hub node, as the hub's account unless a user is named."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        given = [f"{key}={value}" for key, value in env.items()]
        return Launch((*self.demo.enter(HUB, user or HUB_ACCOUNT.name), *given, *argv), os.environ, {})

    async def host_names(self) -> frozenset[str]:
        """The name of the hub node."""
        return frozenset({HUB})


class RealCluster:
    """A hub on real Slurm, as tests see it."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.name = demo.instance.name
        self.hub_url = demo.url
        self.hub_log = demo.hub_log
        sites = demo.instance.settings().site.clusters
        self.clusters = {
            each.name: SlurmCluster(each.name, slurm_conf=f"/etc/slurm/{each.name}/slurm.conf")
            for each in sites
        }

    @property
    def token(self) -> str:
        """An API token that may do anything with users and servers."""
        return self.demo.token

    def runner(self) -> Runner:
        """Runs commands in the hub node."""
        return InHubNode(self.demo)

    def exec(
        self, node: str, argv: Sequence[str], user: str | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in a node, as root unless a user is named."""
        return self.demo.exec(node, argv, user, stdin)

    def renew_users(self) -> None:
        """Makes users without servers anew: the form would begin with what they chose in an earlier file."""
        headers = {"Authorization": f"token {self.token}"}
        with httpx.Client(base_url=f"{self.hub_url}/hub/api", headers=headers, timeout=60) as api:
            for user in api.get("/users").raise_for_status().json():
                has_server = any(each["ready"] or each["pending"] for each in user["servers"].values())
                if not (has_server or user["admin"]):  # the admin has no account in Slurm, and starts nothing
                    path = f"/users/{user['name']}"
                    api.delete(path).raise_for_status()
                    api.post(path).raise_for_status()

    def start_hub(self) -> None:
        """Starts the hub, and returns when it answers."""
        self.demo.start_hub()

    def stop_hub(self) -> None:
        """Ends the hub in good order."""
        self.demo.stop_hub()

    def kill_hub(self) -> None:
        """Ends the hub as a crash would."""
        self.demo.kill_hub()

    def start_proxy(self) -> None:
        """Starts the proxy."""
        self.demo.start_proxy()

    def kill_proxy(self) -> None:
        """Ends the proxy as a crash would."""
        self.demo.stop_proxy()

    def edit_hub_database(self, sql: str) -> None:
        """Runs SQL on the hub's database, while the hub is down."""
        code = (
            "import sqlite3, sys\n"
            "with sqlite3.connect('/var/lib/flatirons/jupyterhub.sqlite') as db:\n"
            "    db.execute(sys.argv[1])\n"
        )
        done = self.exec(HUB, ["python3", "-c", code, sql], HUB_ACCOUNT.name)
        assert done.returncode == 0, done.stderr

    def render(self, what: str) -> str:
        """What `flatirons render` prints in the hub node."""
        done = self.exec(HUB, ["/opt/flatirons/bin/flatirons", "render", what, "--site", SITE])
        assert done.returncode == 0, done.stderr
        return done.stdout


class Demos:
    """The demo of this process: booted when a test first needs it, and again for more images."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.demo = Demo(f"test-{os.getpid()}", free_port())
        self.images: set[str] = set()
        self.capture = session.config.pluginmanager.getplugin("capturemanager")

    def offering(self, images: set[str]) -> RealCluster:
        """The cluster of a demo that has these images besides `base`."""
        if not self.demo.is_up() or images - self.images:
            self.close()
            self.images |= images
            with self.capture.global_and_fixture_disabled():
                print()
                software = build(Progress(is_quiet=not says_progress()), more_images=sorted(self.images))
                self.demo.up(software, extra_site=EXTRA_SITE.read_text())
        return RealCluster(self.demo)

    def close(self) -> None:
        """Takes it down; shows its logs first if a test failed."""
        if not self.demo.is_up():
            return
        if self.session.testsfailed:
            with self.capture.global_and_fixture_disabled():
                _print_logs(self.demo)
        self.demo.down()


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The umask of before: whatever configures a hub makes that of its process private."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def demos(request: pytest.FixtureRequest) -> Iterator[Demos]:
    """The demo of this process, which is stopped at the end."""
    _end_forgotten()
    made = Demos(request.session)
    try:
        yield made
    finally:
        made.close()
        made.demo.forget()


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> RealCluster:
    """The virtual cluster with a hub, and with the images that the file's tests are marked with."""
    given = os.environ.get("FLATIRONS_TEST_DEMO")
    if given:
        real = RealCluster(Demo(given))
    else:
        demos: Demos = request.getfixturevalue("demos")
        real = demos.offering(_images(request))
    request.config.stash[KEY] = real
    real.renew_users()
    return real


KEY = pytest.StashKey[RealCluster]()


def _images(request: pytest.FixtureRequest) -> set[str]:
    """What the tests of this file need besides `base`: it takes minutes to build."""
    tests = [test for test in request.session.items if test.getparent(pytest.Module) is request.node]
    return {name for test in tests for mark in test.iter_markers("images") for name in mark.args}


def _end_forgotten() -> None:
    """Removes what a killed test run left behind."""
    for place in RUN.glob("test-*"):
        owner = place.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            Demo(place.name).down()


def _print_logs(demo: Demo) -> None:
    """The ends of all logs: hub, proxy, every daemon of every node."""
    print("\n\n======== logs, because something failed ========")
    for log in (demo.hub_log, demo.proxy_log):
        print(
            f"==> {log.name} <==", *log.read_text(errors="replace").splitlines()[-5 * TAIL_LINES :], sep="\n"
        )
    everything = io.StringIO()
    logs.show(demo.instance, to=everything)
    for section in everything.getvalue().split("\n==> "):
        print(
            f"\n==> {section.splitlines()[0].removeprefix('==> ')}",
            *section.splitlines()[1:][-TAIL_LINES:],
            sep="\n",
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Adds what the hub logged during a test to the report of its failure."""
    report = yield
    real = item.config.stash.get(KEY, None)
    if real is not None and "cluster" in getattr(item, "fixturenames", ()):
        began = item.stash.get(BEGAN, 0)
        if call.when == "setup":
            item.stash[BEGAN] = began = real.hub_log.stat().st_size
        if report.failed:
            with real.hub_log.open(errors="replace") as log:
                log.seek(began)
                report.sections.append(("hub's log", log.read()))
    return report


BEGAN = pytest.StashKey[int]()
