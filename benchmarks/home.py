"""`scripts/bench home`: what the page with a user's servers costs the hub, opened and kept open.

README.md in this directory says what is measured, and how.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import httpx

from cluster.demo.progress import Progress
from cluster.demo.service import Demo

from .form import LoadedHub, get_own_record
from .shared.command_counts import SHOWING, count_calls, start_counting
from .shared.hub_process import Cpu, Hub
from .shared.options import Options
from .shared.report import Row, machine
from .shared.server_bench import printed, server_testbed
from .shared.sessions import SCRIPT, Load, Session, connections, log_in
from .shared.subjects import FLATIRONS, running_hub, start_servers
from .shared.testbed import BenchFailure, Result
from .shared.users import user_names

EVENTS = "/hub/flatirons/servers/events"
GROUP = 50  # servers that start at once
SETTLE_S = 10.0


@dataclass(frozen=True)
class Plan:
    """How many servers run, how Home is opened again and again, and how long open pages are watched."""

    servers: int
    load: Load
    watch_s: float


QUICK = Plan(10, Load(20, 1.0, 1.0, 5.0), 10.0)
FULL = Plan(200, Load(200, 5.0, 10.0, 60.0), 60.0)


def run(options: Options) -> Result:
    """Starts a server for each user, then opens Home in many browsers, and keeps it open."""
    plan, progress = QUICK if options.is_quick else FULL, Progress()
    users = user_names(options.servers[0] if options.servers else plan.servers)
    with server_testbed(progress, len(users)) as demo:
        about = machine(demo)
        start_counting(demo, SHOWING)
        with running_hub(demo, FLATIRONS, users) as hub:
            with progress.step(f"{len(users)} servers"):
                for first in range(0, len(users), GROUP):
                    start_servers(demo, FLATIRONS, users[first : first + GROUP], at_once=True)
                time.sleep(SETTLE_S)  # the last starts are noted, and their routes
            with progress.step(f"{plan.load.sessions} browsers"):
                rows = asyncio.run(_measure(demo, hub, plan, users))
        return Result(about, printed(progress, rows))


async def _measure(demo: Demo, hub: Hub, plan: Plan, users: list[str]) -> list[Row]:
    floor, ours = LoadedHub(demo, hub, "floor"), LoadedHub(demo, hub, "flatirons")
    async with connections() as transport:
        sessions = await log_in(demo.url, users, plan.load.sessions, transport)
        rows = await ours.rows("home", "GET /hub/home", plan.load, sessions, open_home)
        rows += await floor.rows("home", "GET /hub/api/user", plan.load, sessions, get_own_record)
        rows += await _watched(demo, hub, plan.watch_s, [])
        rows += await _watched(demo, hub, plan.watch_s, sessions)
    return [
        Row(each.subject, each.metric, each.value, each.unit, {**each.facts, "n": len(users)})
        for each in rows
    ]


async def open_home(session: Session) -> httpx.Response:
    """Opens Home; BenchFailure if it shows no card of a server."""
    answer = await session.view("/hub/home")
    if answer.status_code == 200 and 'class="card flatirons-server"' not in answer.text:
        raise BenchFailure(f"Home of {session.user} shows no server")
    return answer


async def _watched(demo: Demo, hub: Hub, seconds: float, sessions: Sequence[Session]) -> list[Row]:
    """What the hub does while these sessions keep Home open and nobody does anything."""
    async with AsyncExitStack() as streams:
        for session in sessions:
            answer = await streams.enter_async_context(_stream(session))
            if answer.status_code != 200:
                raise BenchFailure(f"the stream of Home was answered with {answer.status_code}")
        await asyncio.sleep(SETTLE_S)  # each stream begins with what the page shows already
        before, calls, began = Cpu.of(hub.process), sum(count_calls(demo).values()), time.monotonic()
        await asyncio.sleep(seconds)
        used, took = Cpu.of(hub.process) - before, time.monotonic() - began
        return list(_rows(used, sum(count_calls(demo).values()) - calls, took, len(sessions)))


def _stream(session: Session) -> AbstractAsyncContextManager[httpx.Response]:
    """The stream that Home opens."""
    return session.http.stream("GET", EVENTS, headers={**SCRIPT, "Accept": "text/event-stream"})


def _rows(used: Cpu, calls: int, seconds: float, streams: int) -> Iterator[Row]:
    numbers = [
        ("open_hub_cpu_percent", used.own_ms / 10 / seconds, "%"),
        ("open_commands_per_min", calls * 60 / seconds, "1/min"),
    ]
    for metric, value, unit in numbers:
        yield Row("flatirons", metric, round(value, 2), unit, {"streams": streams})
