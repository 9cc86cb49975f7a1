"""`scripts/bench form`: what it costs the hub to render the form of a large cluster once more.

README.md in this directory says what is measured, and how.
"""

import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .shared import large_cluster
from .shared.command_counts import count_calls, start_counting
from .shared.form_editor import FormEditor
from .shared.hub_process import Cpu, Hub, Peer, machine_ticks, percent_busy, request_times_ms
from .shared.options import Options
from .shared.report import Row, machine
from .shared.sessions import SCRIPT, Action, Load, Session, Watched, connections, log_in, watch
from .shared.testbed import HERE, BenchFailure, Result, run_script_in_hub, running_testbed

SITE = HERE / "site.toml"
MOSS = ["/opt/peers/bin/jupyterhub", "-f", "/etc/flatirons/moss_form_config.py"]
# MOSS runs its commands with `sudo -E -u USER`; this is the rule in batchspawner's documentation.
MOSS_RULE = "jupyterhub ALL=(ALL) NOPASSWD:SETENV: /usr/local/sbin/sinfo, /usr/local/sbin/squeue\n"
PREPARE_MOSS = """
cat > /etc/sudoers.d/moss
visudo -cqf /etc/sudoers.d/moss
install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/moss
"""


@dataclass(frozen=True)
class Plan:
    """The size of a run: its users, and the load of many sessions and of one."""

    users: int
    load: Load
    alone: Load


FULL = Plan(40, Load(200, 5.0, 15.0, 60.0), Load(1, 0.2, 2.0, 12.0))
QUICK = Plan(3, Load(12, 1.0, 1.0, 3.0), Load(1, 0.1, 0.2, 1.0))


@dataclass(frozen=True)
class Snapshot:
    """The counters of a hub at one moment."""

    log_bytes: int
    cpu: Cpu
    calls: int
    client_s: float
    machine: tuple[int, int]


class LoadedHub:
    """A hub under load: lets sessions act and turns the observations into rows."""

    def __init__(self, demo: Demo, hub: Hub, subject: str) -> None:
        self.demo, self.hub, self.subject = demo, hub, subject

    def snapshot(self) -> Snapshot:
        """The counters now."""
        calls = sum(count_calls(self.demo).values())
        log_bytes, cpu = self.hub.log.stat().st_size, Cpu.of(self.hub.process)
        return Snapshot(log_bytes, cpu, calls, time.process_time(), machine_ticks())

    async def rows(
        self, name: str, what: str, load: Load, sessions: Sequence[Session], action: Action
    ) -> list[Row]:
        """Measures an action of the first `load.sessions`; `what` is METHOD PATH as in the hub's log."""
        watched = await watch(load, list(sessions[: load.sessions]), action, self.snapshot)
        before, after = watched.before, watched.after
        method, path = what.split()
        good = request_times_ms(self.hub.log, before.log_bytes, after.log_bytes, method, path)
        if len(good) < 2 or len(watched.waits_ms) < 2:
            raise BenchFailure(f"{self.subject} answered {what} with errors; see {self.hub.log}")
        facts = {"sessions": load.sessions, "n": len(good)}
        numbers = [
            (f"{name}_p95_ms", percentile(good, 95), "ms"),
            (f"{name}_median_ms", statistics.median(good), "ms"),
            (f"{name}_waited_p95_ms", percentile(watched.waits_ms, 95), "ms"),
            (f"{name}_failed", watched.failed, "1"),
            *numbers_per_action(name, len(good), watched),
        ]
        return [Row(self.subject, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def numbers_per_action(name: str, count: int, watched: Watched) -> list[tuple[str, float, str]]:
    """What each of `count` actions cost the hub and Slurm, and how busy hub, client and machine were."""
    before, after, seconds = watched.before, watched.after, watched.seconds
    cpu = after.cpu - before.cpu
    return [
        (f"slurm_commands_per_{name}", (after.calls - before.calls) / count, "1"),
        (f"hub_cpu_ms_per_{name}", cpu.own_ms / count, "ms"),
        (f"commands_cpu_ms_per_{name}", cpu.commands_ms / count, "ms"),
        (f"{name}s_per_second", count / seconds, "1/s"),
        (f"{name}_hub_cpu_percent", cpu.own_ms / 10 / seconds, "%"),
        (f"{name}_client_cpu_percent", 100 * (after.client_s - before.client_s) / seconds, "%"),
        (f"{name}_machine_cpu_percent", percent_busy(before.machine, after.machine), "%"),
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which this percentage of the values lies."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def only_times(rows: Sequence[Row]) -> list[Row]:
    """The rows that mean something for a single session: the times."""
    return [row for row in rows if row.metric.endswith(("_p95_ms", "_median_ms"))]


def run(options: Options) -> Result:
    """Starts a large cluster and measures the form of Flatirons, then that of MOSS."""
    plan, progress = QUICK if options.is_quick else FULL, Progress()
    os.environ["FLATIRONS_IMAGE_FILE"] = os.devnull  # no server starts, so no image is built
    with running_testbed(progress, SITE) as demo:
        users = large_cluster.user_names(plan.users)
        size = f"{large_cluster.NODES} nodes, {large_cluster.PARTITIONS} partitions, {len(users)} users"
        with progress.step(size):
            large_cluster.enlarge(demo, users)
            start_counting(demo)
            demo.stop_hub()
            demo.start_hub()
        about = machine(demo)
        with progress.step("flatirons"):
            rows = asyncio.run(_measure_flatirons(demo, plan, users))
        demo.stop_hub()
        demo.stop_proxy()
        with progress.step("moss"):
            rows += _measure_moss(demo, plan, users)
        return Result(about, rows)


async def _measure_flatirons(demo: Demo, plan: Plan, users: list[str]) -> list[Row]:
    hub = Hub.of(demo)
    floor, ours = LoadedHub(demo, hub, "floor"), LoadedHub(demo, hub, "flatirons")
    async with connections() as transport:
        sessions = await log_in(demo.url, users, plan.load.sessions, transport)
        editors = {session: FormEditor(session) for session in sessions}
        for editor in editors.values():
            await editor.open()

        async def edit(session: Session) -> httpx.Response:
            return await editors[session].edit()

        rows = await ours.rows("render", "POST /hub/flatirons/form", plan.load, sessions, edit)
        # Right afterwards, because the machine may be slower a minute later.
        rows += await floor.rows("render", "GET /hub/api/user", plan.load, sessions, get_own_record)
        rows += ratios(rows)
        alone = await ours.rows("render_alone", "POST /hub/flatirons/form", plan.alone, sessions, edit)
        rows += only_times(alone)
        rows += await ours.rows("page", "GET /hub/spawn/", plan.load, sessions, open_spawn_page)
    return rows


def ratios(rows: Sequence[Row]) -> list[Row]:
    """The times of a re-render, as multiples of those of the floor: the only numbers that travel."""
    values = {(row.subject, row.metric): row for row in rows}
    found = []
    for metric in ("render_p95_ms", "render_waited_p95_ms"):
        ours, floor = values["flatirons", metric], values["floor", metric]
        name = metric.replace("_ms", "_to_floor")
        found.append(Row("flatirons", name, round(ours.value / floor.value, 2), "1", ours.facts))
    return found


def _measure_moss(demo: Demo, plan: Plan, users: list[str]) -> list[Row]:
    """MOSS renders nothing on the hub after a change: its page holds everything, so the page is measured."""
    partitions = run_script_in_hub(demo, "sinfo --all --noheader --format=%R").split()
    (demo.etc / "partitions.json").write_text(json.dumps(sorted(set(partitions))))
    shutil.copyfile(HERE / "node" / "moss_form_config.py", demo.etc / "moss_form_config.py")
    run_script_in_hub(demo, PREPARE_MOSS, stdin=MOSS_RULE)
    peer = Peer(demo, MOSS)
    try:
        return asyncio.run(_moss_rows(LoadedHub(demo, peer.start(), "moss"), plan, users))
    finally:
        peer.stop()


async def _moss_rows(moss: LoadedHub, plan: Plan, users: list[str]) -> list[Row]:
    async with connections() as transport:
        sessions = await log_in(moss.demo.url, users, plan.load.sessions, transport)
        rows = await moss.rows("render", "GET /hub/spawn/", plan.load, sessions, open_spawn_page)
        alone = await moss.rows("render_alone", "GET /hub/spawn/", plan.alone, sessions, open_spawn_page)
    return rows + only_times(alone)


async def open_spawn_page(session: Session) -> httpx.Response:
    """Opens the spawn page; BenchFailure if another page comes back."""
    answer = await session.view(f"/hub/spawn/{session.user}")
    if answer.status_code == 200 and 'id="spawn_form"' not in answer.text:
        raise BenchFailure(f"{session.user} requested a form and got {answer.url.path}")
    return answer


async def get_own_record(session: Session) -> httpx.Response:
    """Requests the user's own record: a request with a log-in and without a form."""
    return await session.http.get("/hub/api/user", headers={**SCRIPT, "X-XSRFToken": session.xsrf})
