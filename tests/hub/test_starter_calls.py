"""Calls that don't come from the right starter: over HTTP, to a whole hub on a Slurm in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm

from flatirons.hub.handlers import handlers
from flatirons.hub.handlers.starter import MAX_BODY_BYTES
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.server_status import server_status
from flatirons.spawners.shared import host_names
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import PATIENCE_S, JupyterHub, configuration, running
from tests.job_scripts import starter_config
from tests.unit.spawners.run.test_server_run import QUICK
from tests.waiting import until

in_module = pytest.mark.asyncio(loop_scope="module")

HERE, ELSEWHERE = "localhost", "192.0.2.1"  # nodes: the one that these tests call from, and another one
KEY, THIEF = "the starter's own secret", "a secret of somebody else"
NUMBERS = count(1)


class Lines(logging.Handler):
    """The lines that the hub logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Event loop was unresponsive" not in record.msg:  # the machine is busy
            self.texts.append(record.getMessage())


@dataclass
class Start:
    """A server of alice that is starting, and what is known about it."""

    hub: JupyterHub
    slurm: FakeSlurm
    http: httpx.AsyncClient
    name: str
    spawning: asyncio.Task[Any]
    code: str = ""
    id: int = 0

    @property
    def spawner(self) -> SlurmSpawner:
        found: SlurmSpawner = self.hub.users["alice"].spawners[self.name]
        return found

    @property
    def run(self) -> ServerRun:
        assert self.spawner.run
        return self.spawner.run

    @property
    def told(self) -> str:
        """What the user was told last."""
        return str(self.run.progress.events[-1]["message"])

    @property
    def job(self) -> int:
        return self.run.attempt.job_id

    async def begin(self) -> None:
        """Waits for the job, and reads its script."""
        await until(lambda: self.spawner.run and self.job)
        self.id = self.job
        self.code = starter_config(self.slurm.jobs[self.job].script)["code"]

    async def runs_on(self, node: str) -> None:
        self.slurm.run_job(self.job, node)
        await until(lambda: self.run.job and self.run.job.batch_host == node)

    async def call(self, name: str, body: Any, *, key: str = KEY, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Authorization": f"Bearer {key}", **headers}
        return await self.http.post(f"/hub/api/flatirons/{name}", content=content, headers=given)

    async def make(self, name: str) -> None:
        """A call as the starter makes it."""
        assert (await self.call(name, good(name, self))).status_code == 200

    async def settled(self) -> Any:
        """Everything, once nothing has changed by itself for half a second, such as a report."""
        seen, same = self.everything(), 0
        while same < 50:
            await asyncio.sleep(0.01)
            seen, before = self.everything(), seen
            same = same + 1 if seen == before else 0
        return seen

    def everything(self) -> Any:
        """All that a call could change: the run, its reports, and the hub's database."""
        self.hub.db.expire_all()
        row = self.hub.db.query(orm.Spawner).filter_by(name=self.name).one()
        run, registry = self.run, self.run.registry
        outcome = (run.outcome.error, run.outcome._starter_end, run.outcome.stopped_for, run.exit_status())
        indexes = (set(registry._by_code), set(registry._by_key))
        tokens = self.hub.db.query(orm.APIToken).count()
        used = (run.memory.now_mib, run.memory.peak_mib)
        return run.attempt, run.phase, used, outcome, row.state, self.spawner.reports, indexes, tokens


def good(name: str, start: Start) -> dict[str, Any]:
    """The body of a call as the starter makes it."""
    return {
        "boot": {"job_id": start.job, "code": start.code, "key": KEY},
        "ready": {"port": 4321},
        "usage": {"memory_mib": 300},
        "end": {
            **{"exit_code": 3, "signal": None, "kind": "image_missing", "values": {"image": "/x.sif"}},
            **{"message": "", "log": ["last line"]},
        },
    }[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(slurm: FakeSlurm) -> AsyncIterator[JupyterHub]:
    config = configuration(spawner_class=SlurmSpawner, allow_named_servers=True)
    config.JupyterHub.log_level = "WARN"
    config.JupyterHub.extra_handlers = list(handlers)
    config.SlurmSpawner.clusters = {"summit": {}}
    config.SlurmSpawner.environments = {"python": {"kind": "none"}}
    async with running(config) as hub:
        hub.db.add(orm.User(name="alice"))
        hub.db.commit()
        client = SlurmClient(Cluster("summit"), slurm)
        watcher = Watcher(client, schedule=QUICK)
        watcher.start()
        registry: Registry[ServerRun] = Registry("hub1", {"summit": client}, hub.log, {"summit": watcher})
        hub.users.settings[SETTINGS_KEY] = registry
        yield hub
        registry.stop_rounds()
        await watcher.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def start(hub: JupyterHub, slurm: FakeSlurm) -> AsyncIterator[Start]:
    name, user = f"s{next(NUMBERS)}", hub.users["alice"]
    user.get_or_create_spawner(name, name)
    url = hub.hub.bind_url.rstrip("/").removesuffix("/hub")
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
        made = Start(hub, slurm, http, name, asyncio.ensure_future(user.spawn(name)))
        await made.begin()
        yield made
        slurm.end_job(made.id, "CANCELLED")
        made.spawning.cancel()
        await asyncio.gather(made.spawning, return_exceptions=True)
        await user.stop(name)


@pytest.fixture
def lines(hub: JupyterHub) -> Any:
    made = Lines()
    hub.log.addHandler(made)
    yield made
    hub.log.removeHandler(made)


# -- the state of the server when the call comes


async def waiting(start: Start) -> None:
    """Its position in the queue is known too: nothing more becomes known by itself."""
    await until(lambda: "It is number " in str(start.run.progress.events[-1:]))


async def waiting_unchecked(start: Start) -> None:
    """The same for a site that doesn't check addresses."""
    await waiting(start)
    start.spawner.check_address = False


async def on_its_node(start: Start) -> None:
    await start.runs_on(HERE)


async def on_another_node(start: Start) -> None:
    await start.runs_on(ELSEWHERE)


async def on_no_known_node(start: Start) -> None:
    await start.runs_on("nosuch.invalid")


async def booted(start: Start) -> None:
    await on_its_node(start)
    await start.make("boot")


async def up(start: Start) -> None:
    await booted(start)
    await start.make("ready")


async def moved(start: Start) -> None:
    """It is up on another node than the one that the call comes from."""
    await up(start)
    await start.run._change(host=ELSEWHERE)


async def told(start: Start) -> None:
    """Its starter has reported how it ended; Slurm hasn't yet."""
    await up(start)
    await start.make("end")


async def told_before_it_listened(start: Start) -> None:
    await booted(start)
    await start.make("end")


async def over(start: Start) -> None:
    """Slurm has reported its end; its starter hasn't."""
    await up(start)
    start.slurm.end_job(start.job, "TIMEOUT")
    await until(lambda: start.run.outcome._explained.is_set())


async def stopped(start: Start) -> None:
    await up(start)
    before, stopping = start.slurm.count("scancel"), asyncio.ensure_future(start.run.stop())
    await until(lambda: start.slurm.count("scancel") > before)
    start.slurm.end_job(start.job, "CANCELLED")
    await stopping


# -- what is wrong with it

Wrong = Callable[[dict[str, Any]], Any]


def more(**keys: Any) -> Wrong:
    return lambda body: {**body, **keys}


def as_it_is(body: dict[str, Any]) -> Any:
    return body


def other_job(body: dict[str, Any]) -> Any:
    return {**body, "job_id": body["job_id"] + 1}


def huge(body: dict[str, Any]) -> Any:
    return json.dumps(body).encode() + b" " * MAX_BODY_BYTES


def twice_in_one(body: dict[str, Any]) -> Any:
    return [body, body]


def no_json(body: dict[str, Any]) -> Any:
    return b"\xff{"


PAST_A_PROXY = {"X-Forwarded-For": ELSEWHERE}
PAST_A_PROXY_WITH_A_LIE = {"X-Forwarded-For": f"127.0.0.1, {ELSEWHERE}", "X-Real-Ip": "127.0.0.1"}
TWO_ANSWERS = {"X-Forwarded-For": f"{ELSEWHERE}, 127.0.0.1", "X-Real-Ip": "192.0.2.9"}
NEW = more(key=THIEF)
TABLE: dict[str, tuple[Any, ...]] = {
    # boot
    "wrong code": (on_its_node, "boot", more(code="c" * 43), 403),
    "used code": (up, "boot", NEW, 403),
    "used code, before the server listens": (booted, "boot", NEW, 403),
    "boot twice": (up, "boot", as_it_is, 403),
    "expired code": (stopped, "boot", as_it_is, 403),
    "expired code, of a job that is over": (over, "boot", as_it_is, 403),
    "code after the end": (told, "boot", as_it_is, 403),
    "code after an early end": (told_before_it_listened, "boot", as_it_is, 403),
    "stolen code, while the job waits": (waiting, "boot", NEW, 403),
    "stolen code, while the job waits, unchecked": (waiting_unchecked, "boot", NEW, 403),
    "stolen code, from another node": (on_another_node, "boot", NEW, 403),
    "stolen code, through the proxy": (on_its_node, "boot", NEW, 403, PAST_A_PROXY),
    "stolen code, with a lie": (on_its_node, "boot", NEW, 403, PAST_A_PROXY_WITH_A_LIE),
    "stolen code, of a node unknown": (on_no_known_node, "boot", NEW, 403),
    "code for another job": (on_its_node, "boot", other_job, 403),
    "boot with another key": (on_its_node, "boot", more(host="evil"), 400),
    "boot with many keys": (on_its_node, "boot", more(**{f"\n{n}": n for n in range(5000)}), 400),
    "boot, huge": (on_its_node, "boot", huge, 413),
    "boot, two in one": (on_its_node, "boot", twice_in_one, 400),
    "boot, no JSON": (on_its_node, "boot", no_json, 400),
    # ready
    "ready by a wrong key": (booted, "ready", as_it_is, 403, {"Authorization": f"Bearer {THIEF}"}),
    "ready by no key": (booted, "ready", as_it_is, 403, {"Authorization": ""}),
    "ready by a token": (booted, "ready", as_it_is, 403, {"Authorization": f"token {KEY}"}),
    "ready before boot": (on_its_node, "ready", as_it_is, 403),
    "ready from another node": (moved, "ready", as_it_is, 403),
    "ready through the proxy": (booted, "ready", as_it_is, 403, PAST_A_PROXY),
    "ready with another key": (booted, "ready", more(host="evil"), 400),
    "ready for another job": (booted, "ready", more(job_id=1), 400),
    "ready on no port": (booted, "ready", more(port=0), 400),
    "ready twice, elsewhere": (up, "ready", more(port=4322), 409),
    "ready, huge": (booted, "ready", huge, 413),
    "ready, huge, by a wrong key": (booted, "ready", huge, 403, {"Authorization": f"Bearer {THIEF}"}),
    "ready, no JSON": (booted, "ready", no_json, 400),
    "ready after the end": (told, "ready", as_it_is, 409),
    "ready after an early end": (told_before_it_listened, "ready", as_it_is, 409),
    "ready of a job that is over": (over, "ready", as_it_is, 409),
    "ready of a server that is stopped": (stopped, "ready", as_it_is, 409),
    # usage
    "usage by a wrong key": (up, "usage", as_it_is, 403, {"Authorization": f"Bearer {THIEF}"}),
    "usage by no key": (up, "usage", as_it_is, 403, {"Authorization": ""}),
    "usage by a token": (up, "usage", as_it_is, 403, {"Authorization": f"token {KEY}"}),
    "usage from another node": (moved, "usage", as_it_is, 403),
    "usage through the proxy": (up, "usage", as_it_is, 403, PAST_A_PROXY),
    "usage for another job": (up, "usage", more(job_id=1), 400),
    "usage below nothing": (up, "usage", more(memory_mib=-1), 400),
    "usage beyond all memory": (up, "usage", more(memory_mib=2**50), 400),
    "usage of a text": (up, "usage", more(memory_mib="300"), 400),
    "usage, huge": (up, "usage", huge, 413),
    "usage, huge, by a wrong key": (up, "usage", huge, 403, {"Authorization": f"Bearer {THIEF}"}),
    "usage, no JSON": (up, "usage", no_json, 400),
    "usage before boot": (on_its_node, "usage", as_it_is, 403),
    "usage before the server listens": (booted, "usage", as_it_is, 409),
    "usage after the end": (told, "usage", as_it_is, 409),
    "usage of a job that is over": (over, "usage", as_it_is, 409),
    "usage of a server that is stopped": (stopped, "usage", as_it_is, 409),
    # end
    "end by a wrong key": (up, "end", as_it_is, 403, {"Authorization": f"Bearer {THIEF}"}),
    "end by no key": (up, "end", as_it_is, 403, {"Authorization": ""}),
    "end before boot": (on_its_node, "end", as_it_is, 403),
    "end from another node": (moved, "end", as_it_is, 403),
    "end through the proxy": (up, "end", as_it_is, 403, PAST_A_PROXY),
    "end with another key": (up, "end", more(host="evil"), 400),
    "end for another job": (up, "end", more(job_id=1), 400),
    "end with values that are no texts": (up, "end", more(values={"image": {"path": "/x.sif"}}), 400),
    "end with many values": (up, "end", more(values={str(n): "" for n in range(11)}), 400),
    "end, huge": (up, "end", huge, 413),
    "end, huge, by a wrong key": (up, "end", huge, 403, {"Authorization": f"Bearer {THIEF}"}),
    "end, no JSON": (up, "end", no_json, 400),
    "end twice": (told, "end", as_it_is, 409),
    "end twice, otherwise": (told, "end", more(exit_code=0, message="It was the thief."), 409),
    "end after the end": (over, "end", as_it_is, 409),
}


@in_module
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_what_is_not_expected_is_refused_logged_once_and_changes_nothing(
    start: Start, lines: Lines, row: tuple[Any, ...]
) -> None:
    stage, name, wrong, status, *headers = row
    await stage(start)
    await start.spawner.save()  # reports are stored a moment after they are made
    before, code = start.everything(), start.code
    lines.texts.clear()
    answer = await start.call(name, wrong(good(name, start)), **(headers[0] if headers else {}))
    assert answer.status_code == status, answer.text
    assert len(answer.text) < 1500 and "JUPYTERHUB_API_TOKEN" not in answer.text
    assert start.everything() == before
    [ours, jupyterhubs] = lines.texts
    assert ours.startswith(f"Refused {name}: ") and len(ours) < 1500 and "\n" not in ours
    assert jupyterhubs.startswith(f"{status} POST /hub/api/flatirons/{name} ")
    assert not any(secret in ours for secret in (code, KEY, THIEF, "c" * 43))


ADDRESSES = "The hub refused a call for this server from 127.0.0.1: its job runs on"
TOLD: dict[str, tuple[Any, ...]] = {
    "from another address": (
        on_another_node,
        "boot",
        as_it_is,
        f"{ADDRESSES} {ELSEWHERE}, which has {ELSEWHERE}",
    ),
    "of a node unknown here": (
        on_no_known_node,
        "boot",
        as_it_is,
        f"{ADDRESSES} nosuch.invalid, which has no",
    ),
    "with two answers": (on_its_node, "boot", as_it_is, "X-Forwarded-For says one", TWO_ANSWERS),
    "for another job": (on_its_node, "boot", other_job, "because its job is"),
    "with a key of a later version": (on_its_node, "boot", more(host="evil"), "Not a valid body"),
    "ready from another address": (booted, "ready", as_it_is, "has 127.0.0.1", PAST_A_PROXY),
    "ready on no port": (booted, "ready", more(port=0), "Not a valid body"),
    "ready, huge": (booted, "ready", huge, "The body is too large"),
}


@in_module
@pytest.mark.parametrize("row", TOLD.values(), ids=TOLD)
async def test_the_user_is_told_at_once_why_a_starter_was_refused_and_reads_it_in_the_report(
    start: Start, row: tuple[Any, ...]
) -> None:
    stage, name, wrong, told, *headers = row
    await stage(start)
    await start.call(name, wrong(good(name, start)), **(headers[0] if headers else {}))
    assert told in start.told
    run = start.run  # JupyterHub forgets it
    start.slurm.end_job(
        start.job, "FAILED", exit_code="77:0", reason="NonZeroExitCode"
    )  # as the starter does
    await until(run.outcome._explained.is_set)
    [report] = start.spawner.reports
    assert report.kind == "call_refused" and told in report.sentence and "operator" in report.advice


@in_module
async def test_an_error_of_the_hub_itself_is_told_until_the_starters_next_call_succeeds(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_its_node(start)

    async def fail() -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(start.spawner, "boot", fail)
        assert (await start.call("boot", good("boot", start))).status_code == 500
    assert "because of an error of its own" in start.told
    await start.make("boot")
    assert start.told == "The container is starting." and start.run.refusal == ""


@in_module
@pytest.mark.parametrize("stage", [booted, up], ids=["booted", "up"])
async def test_nothing_is_told_of_a_thief_once_the_starter_has_called(start: Start, stage: Any) -> None:
    await stage(start)
    before = start.told
    await start.call("boot", NEW(good("boot", start)), **PAST_A_PROXY)
    await start.call("ready", good("ready", start), key=THIEF)
    assert (start.told, start.run.refusal) == (before, "")


@in_module
async def test_nothing_is_told_of_a_thief_while_the_job_waits(start: Start) -> None:
    await waiting(start)
    before = start.told
    await start.call("boot", NEW(good("boot", start)))
    assert start.told == before


@in_module
async def test_a_code_of_a_server_that_is_gone_is_refused(
    hub: JupyterHub, start: Start, lines: Lines
) -> None:
    await stopped(start)
    body = good("boot", start)
    start.spawner.clear_state()
    lines.texts.clear()
    assert (await start.call("boot", body)).status_code == 403
    assert (await start.call("end", {**END})).status_code == 403
    assert [line.partition(":")[0] for line in lines.texts[::2]] == ["Refused boot", "Refused end"]
    assert len(lines.texts) == 4


END = {"exit_code": 0, "signal": None, "message": "", "log": []}


@in_module
async def test_a_starter_still_starts_its_server_after_a_thief_tried_its_code(
    start: Start, lines: Lines
) -> None:
    await on_its_node(start)
    for _ in range(3):
        assert (await start.call("boot", NEW(good("boot", start)), **PAST_A_PROXY)).status_code == 403
    answer = await start.call("boot", good("boot", start))
    assert answer.json()["environment"]["JUPYTERHUB_API_TOKEN"]
    await start.make("ready")
    assert start.run.attempt.port == 4321 and start.run.attempt.host == HERE


@in_module
async def test_while_names_cant_be_looked_up_a_starter_is_asked_to_try_again(
    start: Start, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_answer(name: str) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    await start.runs_on("elsewhere.invalid")
    before = start.everything()
    lines.texts.clear()
    with monkeypatch.context() as patched:
        patched.setattr(host_names, "_look_up", no_answer)
        assert (await start.call("boot", good("boot", start))).status_code == 503
    assert start.everything() == before
    assert "elsewhere.invalid can't be looked up: Temporary failure in name resolution" in start.told
    [ours, _] = lines.texts
    assert "elsewhere.invalid can't be looked up: Temporary failure in name resolution" in ours


@in_module
async def test_a_call_whose_answer_was_lost_is_answered_again(start: Start) -> None:
    await on_its_node(start)
    for name in ("boot", "boot", "ready", "ready"):
        await start.make(name)


@in_module
async def test_what_a_server_uses_is_shown_to_those_who_look_and_stays_in_its_report(start: Start) -> None:
    await up(start)
    await until(lambda: start.spawner.ready)
    assert server_status(start.spawner).used_memory_mib is None
    change = asyncio.ensure_future(start.run.registry.changes.next("alice"))
    for used in (300, 940, 500):
        assert (await start.call("usage", {"memory_mib": used})).json() == {}
    assert await change
    found = server_status(start.spawner)
    assert (found.used_memory_mib, found.memory_percent, found.is_memory_tight) == (500, 50, False)
    await start.make("end")
    report = start.spawner.reports[0]
    assert (report.used_memory_mib, report.requested_memory_mib, report.memory_percent) == (940, 1000, 94)
    assert server_status(start.spawner).used_memory_mib is None


@in_module
async def test_if_the_site_allows_it_a_call_may_come_from_anywhere(start: Start) -> None:
    await on_another_node(start)
    start.spawner.check_address = False
    for name in ("boot", "ready", "end"):
        await start.make(name)


@in_module
@pytest.mark.parametrize(
    ("node", "known"), [(ELSEWHERE, ELSEWHERE), ("nosuch.invalid", "no address")], ids=["other", "unknown"]
)
async def test_after_a_refused_address_the_user_reads_why_and_the_operator_what_to_do(
    start: Start, lines: Lines, node: str, known: str
) -> None:
    await start.runs_on(node)
    run = start.run  # JupyterHub forgets it
    assert (await start.call("boot", good("boot", start))).status_code == 403
    start.slurm.end_job(start.job, "FAILED", exit_code="1:0", reason="NonZeroExitCode")  # as the starter does
    await until(run.outcome._explained.is_set)
    [report] = start.spawner.reports
    assert "127.0.0.1" in report.sentence and f"{node}, which has {known}" in report.sentence
    assert "operator" in report.advice
    [line] = [line for line in lines.texts if line.startswith("Refused boot")]
    assert "127.0.0.1" in line and known in line and "check_address = false" in line
