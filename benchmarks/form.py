"""`scripts/bench form`: what one more look at the form costs the hub, with a large centre behind it.

See README.md in this directory for what is measured, and how.
"""

import asyncio
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from . import counting, estate
from .editing import Editor
from .hubs import Cpu, Hub, Peer, busy_share, requests
from .load import SCRIPT, Act, Load, Session, Watched, connections, log_in, watch
from .report import Row, machine
from .stage import HERE, BenchFailure, Findings, in_hub, stage

SITE = HERE / "site.toml"
MOSS = ["/opt/peers/bin/jupyterhub", "-f", "/etc/flatirons/moss_config.py"]
# MOSS runs its commands by `sudo -E -u USER`: the rule that batchspawner's documentation asks for.
MOSS_RULE = "jupyterhub ALL=(ALL) NOPASSWD:SETENV: /usr/local/sbin/sinfo, /usr/local/sbin/squeue\n"
PREPARE_MOSS = """
cat > /etc/sudoers.d/moss
visudo -cqf /etc/sudoers.d/moss
install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/moss
"""


@dataclass(frozen=True)
class Plan:
    """How large a run is."""

    people: int
    load: Load
    alone: Load


FULL = Plan(40, Load(200, 5.0, 15.0, 60.0), Load(1, 0.2, 2.0, 12.0))
QUICK = Plan(3, Load(12, 1.0, 1.0, 3.0), Load(1, 0.1, 0.2, 1.0))


@dataclass(frozen=True)
class Look:
    """The counters of a hub at one moment."""

    log_bytes: int
    cpu: Cpu
    calls: int
    client_s: float
    machine: tuple[int, int]


class Scene:
    """People at one hub: does acts with them and turns what was seen into rows."""

    def __init__(self, demo: Demo, hub: Hub, subject: str) -> None:
        self.demo, self.hub, self.subject = demo, hub, subject

    def look(self) -> Look:
        """The counters now."""
        calls = sum(counting.calls(self.demo).values())
        log_bytes, cpu = self.hub.log.stat().st_size, Cpu.of(self.hub.process)
        return Look(log_bytes, cpu, calls, time.process_time(), busy_share())

    async def rows(
        self, name: str, what: str, load: Load, sessions: Sequence[Session], act: Act
    ) -> list[Row]:
        """Has the first `load.sessions` do an act; `what` is the method and the path that the log shows."""
        watched = await watch(load, list(sessions[: load.sessions]), act, self.look)
        before, after = watched.before, watched.after
        method, path = what.split()
        good = requests(self.hub.log, before.log_bytes, after.log_bytes, method, path)
        if len(good) < 2 or len(watched.waits_ms) < 2:
            raise BenchFailure(f"{self.subject} answered no {what} well; see {self.hub.log}")
        facts = {"sessions": load.sessions, "n": len(good)}
        numbers = [
            (f"{name}_p95_ms", percentile(good, 95), "ms"),
            (f"{name}_median_ms", statistics.median(good), "ms"),
            (f"{name}_waited_p95_ms", percentile(watched.waits_ms, 95), "ms"),
            (f"{name}_failed", watched.failed, "1"),
            *per_act(name, len(good), watched),
        ]
        return [Row(self.subject, metric, round(value, 3), unit, facts) for metric, value, unit in numbers]


def per_act(name: str, count: int, watched: Watched) -> list[tuple[str, float, str]]:
    """What each of that many acts took of the hub and of Slurm, and how busy hub and client were."""
    before, after, seconds = watched.before, watched.after, watched.seconds
    cpu = after.cpu - before.cpu
    busy, ticks = (now - then for now, then in zip(after.machine, before.machine, strict=True))
    return [
        (f"slurm_commands_per_{name}", (after.calls - before.calls) / count, "1"),
        (f"hub_cpu_ms_per_{name}", cpu.own_ms / count, "ms"),
        (f"commands_cpu_ms_per_{name}", cpu.commands_ms / count, "ms"),
        (f"{name}s_per_second", count / seconds, "1/s"),
        (f"{name}_hub_cpu_percent", cpu.own_ms / 10 / seconds, "%"),
        (f"{name}_client_cpu_percent", 100 * (after.client_s - before.client_s) / seconds, "%"),
        (f"{name}_machine_cpu_percent", 100 * busy / ticks, "%"),
    ]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which that many percent of them lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def alone(rows: Sequence[Row]) -> list[Row]:
    """Of one person's rows those that say something without a crowd: the times."""
    return [row for row in rows if row.metric.endswith(("_p95_ms", "_median_ms"))]


def run(is_quick: bool) -> Findings:
    """Boots a large cluster and measures the form of Flatirons, then that of MOSS."""
    plan, progress = QUICK if is_quick else FULL, Progress()
    with stage(progress, SITE) as demo:
        people = estate.names(plan.people)
        with progress.step(f"{estate.NODES} nodes, {estate.PARTITIONS} partitions, {len(people)} people"):
            estate.enlarge(demo, people)
            counting.install(demo)
            demo.stop_hub()
            demo.start_hub()
        about = machine(demo)
        with progress.step("flatirons"):
            rows = asyncio.run(_flatirons(demo, plan, people))
        demo.stop_hub()
        demo.stop_proxy()
        with progress.step("moss"):
            rows += _with_moss(demo, plan, people)
        return Findings(about, rows)


async def _flatirons(demo: Demo, plan: Plan, people: list[str]) -> list[Row]:
    process = demo.hub_process
    if process is None:
        raise BenchFailure("the hub does not run")
    hub = Hub(demo.hub_log, process)
    floor, ours = Scene(demo, hub, "floor"), Scene(demo, hub, "flatirons")
    async with connections() as transport:
        sessions = await log_in(demo.url, people, plan.load.sessions, transport)
        editors = {session: Editor(session) for session in sessions}
        for editor in editors.values():
            await editor.open()

        async def edit(session: Session) -> httpx.Response:
            return await editors[session].edit()

        rows = await ours.rows("render", "POST /hub/flatirons/form", plan.load, sessions, edit)
        rows += alone(await ours.rows("render_alone", "POST /hub/flatirons/form", plan.alone, sessions, edit))
        rows += await ours.rows("page", "GET /hub/spawn/", plan.load, sessions, spawn_page)
        rows += await floor.rows("render", "GET /hub/api/user", plan.load, sessions, who_am_i)
    return rows


def _with_moss(demo: Demo, plan: Plan, people: list[str]) -> list[Row]:
    """MOSS has no re-render on the hub: its page holds all that it knows, so its page view is measured."""
    partitions = in_hub(demo, "sinfo --all --noheader --format=%R").split()
    (demo.etc / "partitions.json").write_text(json.dumps(sorted(set(partitions))))
    shutil.copyfile(HERE / "moss_config.py", demo.etc / "moss_config.py")
    in_hub(demo, PREPARE_MOSS, stdin=MOSS_RULE)
    peer = Peer(demo, MOSS)
    try:
        return asyncio.run(_moss(Scene(demo, peer.start(), "moss"), plan, people))
    finally:
        peer.stop()


async def _moss(scene: Scene, plan: Plan, people: list[str]) -> list[Row]:
    async with connections() as transport:
        sessions = await log_in(scene.demo.url, people, plan.load.sessions, transport)
        rows = await scene.rows("render", "GET /hub/spawn/", plan.load, sessions, spawn_page)
        rows += alone(await scene.rows("render_alone", "GET /hub/spawn/", plan.alone, sessions, spawn_page))
    return rows


async def spawn_page(session: Session) -> httpx.Response:
    """Opens the page on which a server is set up; BenchFailure if it isn't that."""
    answer = await session.view(f"/hub/spawn/{session.user}")
    if answer.status_code == 200 and 'id="spawn_form"' not in answer.text:
        raise BenchFailure(f"{session.user} asked for a form and got {answer.url.path}")
    return answer


async def who_am_i(session: Session) -> httpx.Response:
    """Asks for something of one's own that needs a log-in and no form."""
    return await session.http.get("/hub/api/user", headers={**SCRIPT, "X-XSRFToken": session.xsrf})
