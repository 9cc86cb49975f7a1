"""The page of a start: its buttons, its changes of the waiting job, its stream; on a Slurm in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from flatirons.hub.handlers.start import is_within
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.estimate import Estimate, Kind
from flatirons.slurm.model import Cluster, JobSpec
from flatirons.slurm.watcher import Watcher
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.offers import SlurmOffers
from flatirons.spawners.form.waiting_change import NEEDS_NEW_JOB
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes import summit
from tests.fakes.slurm import FakeJob, FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import pretending
from tests.unit.spawners.run.test_server_run import QUICK
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KNL = {"partition": "sknl", "account": "knl", "qos": "normal", "runtime": "4h", "memory": "1G", "cpus": "1"}


class Waiting(SlurmSpawner):
    """A SlurmSpawner whose facts are those of tests/fakes/summit.py."""

    async def facts(self, fresh: bool) -> SlurmOffers:
        """What the user may use."""
        return summit.facts(self.user.name)


class FarFromNow:
    """Slurm's estimates: a job starts at once in shas or with a short time, else in five hours."""

    async def estimate(self, spec: JobSpec, *, user: str) -> Estimate:
        """As for the form."""
        if spec.partition == "shas" or 0 < spec.runtime_minutes <= 120 or spec.memory_mib < 1024:
            return Estimate(Kind.NOW, "Starts at once.")
        return Estimate(Kind.LATER, "Starts in about 5 hours.", 5 * 3600)

    async def find_sooner(self, estimate: Estimate, candidates: list[Any], *, user: str) -> list[Any]:
        """All that start at once."""
        asked = [(each, await self.estimate(each.spec, user=user)) for each in candidates]
        return [pair for pair in asked if estimate.is_long and pair[1].kind is Kind.NOW]


@pytest.fixture(scope="module")
def slurm() -> FakeSlurm:
    """A Slurm in which no job begins to run."""
    made = FakeSlurm()
    made.accounts = {"alice": ("general", "knl"), "bob": ("general", "knl")}
    made.partitions["sknl"].accounts = ("knl",)
    made.on_submit = lambda job: made.change(job.id, reason="Priority")
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(slurm: FakeSlurm, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.JupyterHub.spawner_class = Waiting
    config.SlurmSpawner.clusters = {"summit": {}}
    config.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0.05, "slow_stop_timeout": 5}
    config.Authenticator.admin_users = {"root"}
    async with running(config) as hub:
        client = SlurmClient(Cluster("summit"), slurm)
        watcher = Watcher(client, schedule=QUICK)
        watcher.start()
        estimators: Any = {"summit": FarFromNow()}
        registry = Registry("hub", {"summit": client}, hub.log, {"summit": watcher}, estimators)
        hub.users.settings[SETTINGS_KEY] = registry
        yield hub
        registry.stop_rounds()
        await watcher.stop()


async def visitor(hub: JupyterHub, name: str) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, name).log_in()
    yield someone
    await someone.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub, slurm: FakeSlurm) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "alice"):
        yield someone
        for name in ("", "second"):
            await act(someone, "cancel", name)
        slurm.heal()


@pytest_asyncio.fixture(loop_scope="module")
async def bob(hub: JupyterHub) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "bob"):
        yield someone


def place(server: str) -> str:
    return f"alice/{server}".rstrip("/")


async def act(who: Visitor, do: str, server: str = "", **options: str) -> httpx.Response:
    """Presses a button of the page of one of alice's servers."""
    values = {f"option.{name}": text for name, text in options.items()}
    body = {"do": do, "_xsrf": who.xsrf, **values}
    return await who.http.post(f"/hub/flatirons/start/{place(server)}", data=body)


async def waiting(alice: Visitor, slurm: FakeSlurm, server: str = "", **options: str) -> FakeJob:
    """A server of alice's that waits in the queue, as its job."""
    answer = await alice.rest({**KNL, **options}, server)
    assert answer.status_code == 202, answer.text
    run = alice.spawner(server).run
    await until(lambda: run.job and run.job.reason == "Priority")
    return slurm.jobs[run.job_id]


def alive(slurm: FakeSlurm) -> list[FakeJob]:
    return [job for job in slurm.jobs.values() if job.state == "PENDING"]


async def page(who: Visitor, server: str = "") -> str:
    return (await who.http.get(f"/hub/spawn-pending/{place(server)}")).text


@pytest.mark.parametrize("server", ["", "second"])
async def test_a_start_is_cancelled_by_a_form(alice: Visitor, slurm: FakeSlurm, server: str) -> None:
    job = await waiting(alice, slurm, server)
    assert 'value="cancel"' in await page(alice, server)
    answer = await act(alice, "cancel", server)
    assert (answer.status_code, answer.headers["location"]) == (303, "/hub/home")
    assert slurm.jobs[job.id].state == "CANCELLED" and not alice.spawner(server).active


async def test_the_form_comes_when_the_start_has_ended_and_leads_where_the_page_did(
    alice: Visitor, slurm: FakeSlurm
) -> None:
    await waiting(alice, slurm, "second")
    path = "/hub/flatirons/start/alice/second?next=/user/alice/second/tree"
    answer = await alice.http.post(path, data={"do": "options", "_xsrf": alice.xsrf})
    where = answer.headers["location"]
    assert where == "/hub/spawn/alice/second?next=%2Fuser%2Falice%2Fsecond%2Ftree"
    assert alice.has_started_nothing() and "flatirons-form" in (await alice.http.get(where)).text


async def test_a_change_goes_into_the_waiting_job_and_into_what_was_asked_for(
    alice: Visitor, slurm: FakeSlurm
) -> None:
    job = await waiting(alice, slurm)
    answer = await act(alice, "change", partition="shas", account="general", runtime="30m")
    assert (answer.status_code, answer.headers["location"]) == (303, "/hub/spawn-pending/alice")
    now = slurm.jobs[job.id]
    assert [each.id for each in alive(slurm)] == [job.id]
    assert (now.partition, now.account, now.limit, now.submit) == ("shas", "general", "30:00", job.submit)
    spawner = alice.spawner()
    assert (spawner.user_options["runtime"], spawner.partition) == (30, "shas")
    assert spawner.orm_spawner.user_options["partition"] == "shas", "the next start has it, too"
    await until(lambda: spawner.run.job.partition == "shas")
    shown = await page(alice)
    assert "30 minutes" in shown and "Changed: " in shown and "4 hours" not in shown


async def test_a_change_that_slurm_refuses_changes_nothing_and_says_why(
    alice: Visitor, slurm: FakeSlurm
) -> None:
    job = await waiting(alice, slurm)
    slurm.fail("scontrol", "Requested <b>partition</b> is closed for job 1\n")
    answer = await act(alice, "change", runtime="30m")
    assert answer.status_code == 409
    assert "Requested &lt;b&gt;partition&lt;/b&gt; is closed" in answer.text
    spawner = alice.spawner()
    assert (spawner.user_options["runtime"], spawner.runtime) == (240, 240)
    assert slurm.jobs[job.id].limit == "4:00:00" and "4 hours" in answer.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"runtime": "3d"}, "Run time: "),
        ({"partition": "bobs"}, "partition"),
        ({"nonsense": "1"}, "nonsense"),
        ({"runtime": "<b>"}, "&lt;b&gt;"),
    ],
)
@pytest.mark.parametrize("do", ["change", "anew"])
async def test_a_change_passes_the_checks_of_the_form_before_anything_is_done(
    alice: Visitor, slurm: FakeSlurm, do: str, options: dict[str, str], sentence: str
) -> None:
    job, asked = await waiting(alice, slurm), slurm.count("scontrol")
    answer = await act(alice, do, **options)
    assert answer.status_code == 409 and sentence in answer.text
    assert [each.id for each in alive(slurm)] == [job.id] and slurm.count("scontrol") == asked
    assert alice.spawner().user_options["runtime"] == 240


async def test_what_needs_a_new_job_is_done_only_when_it_is_asked_for(
    alice: Visitor, slurm: FakeSlurm
) -> None:
    job = await waiting(alice, slurm, "second", memory="4G")
    answer = await act(alice, "change", "second", memory="2G")
    assert answer.status_code == 409 and NEEDS_NEW_JOB.replace("'", "&#39;") in answer.text
    assert [each.id for each in alive(slurm)] == [job.id]
    answer = await act(alice, "anew", "second", memory="2G")
    assert answer.headers["location"] == "/hub/spawn-pending/alice/second"
    [new] = alive(slurm)
    assert new.id > job.id and new.options["mem"] == "2048M"
    assert alice.spawner("second").user_options["memory"] == 2048


async def test_a_job_that_runs_is_not_changed(alice: Visitor, slurm: FakeSlurm) -> None:
    job = await waiting(alice, slurm)
    slurm.run_job(job.id)
    await until(lambda: alice.spawner().run.phase == "starting")
    answer = await act(alice, "change", runtime="30m")
    assert answer.status_code == 409 and "wait any more" in answer.text
    assert slurm.jobs[job.id].limit == "4:00:00"


async def sooner(who: Visitor, server: str = "") -> str:
    answer = await who.http.get(f"/hub/flatirons/sooner/{place(server)}")
    assert answer.status_code == 200
    return answer.text


async def test_what_would_start_sooner_says_what_it_costs(
    alice: Visitor, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(alice, slurm, memory="4G")
    found = await sooner(alice)
    assert "Ask for 2 hours" in found and found.count('value="change"') >= 2
    assert 'value="anew"' not in found

    async def permits(argv: Any, *, user: str | None) -> bool:
        return False

    monkeypatch.setattr(slurm, "permits", permits)  # a site without the sudo rule
    found = await sooner(alice)
    assert 'value="change"' not in found and "loses its place" in found


async def test_nothing_would_start_sooner_for_a_server_that_does_not_wait(alice: Visitor) -> None:
    assert (await sooner(alice)).strip() == ""


async def test_nobody_else_cancels_or_changes_or_watches_a_start(
    alice: Visitor, bob: Visitor, slurm: FakeSlurm
) -> None:
    job = await waiting(alice, slurm)
    for do in ("cancel", "options", "change", "anew"):
        assert (await act(bob, do, runtime="30m")).status_code == 404
    for path in ("flatirons/sooner", "api/flatirons/start"):
        assert (await bob.http.get(f"/hub/{path}/alice")).status_code == 404
    body = {"do": "cancel", "_xsrf": bob.xsrf}
    assert (await alice.http.post("/hub/flatirons/start/alice", data=body)).status_code == 403
    assert [each.id for each in alive(slurm)] == [job.id]


async def test_the_stream_sends_what_changed_and_ends_with_the_start(
    alice: Visitor, slurm: FakeSlurm
) -> None:
    job = await waiting(alice, slurm, "second")
    events: list[dict[str, Any]] = []
    async with alice.http.stream("GET", "/hub/api/flatirons/start/alice/second") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "html" not in event:
                assert event.keys() == {"now"}
                continue
            events.append(event)
            if len(events) == 1:
                slurm.change(job.id, reason="Dependency")
            elif len(events) == 2:
                slurm.end_job(job.id, "CANCELLED", cancelled_by=0)
    assert 'data-phase="waiting"' in events[0]["html"] and "is waiting in the queue" in events[0]["html"]
    assert "waits for another job" in events[1]["html"], events[1]["html"]
    assert events[-1].get("ended") and "flatirons-report" in events[-1]["html"]
    assert [each["html"] for each in events] == list(dict.fromkeys(each["html"] for each in events))


async def test_somebody_elses_page_names_the_owner(hub: JupyterHub, alice: Visitor, slurm: FakeSlurm) -> None:
    await waiting(alice, slurm)
    root = await Visitor(hub, "root").log_in()
    async with root.http.stream("GET", "/hub/api/flatirons/start/alice") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                html = json.loads(line.removeprefix("data: "))["html"]
                break
    await root.http.aclose()
    assert 'For <span class="flatirons-name" dir="auto">alice</span>' in html and "What was asked for" in html


OWN, SECOND = "/user/alice/", "/user/alice/second/"


@pytest.mark.parametrize(
    ("url", "own", "is_inside"),
    [
        ("/user/alice/lab/tree/a%20b?x=1", OWN, True),
        ("/hub/user/alice/lab", OWN, True),
        ("/user/alice/second/lab", OWN, False),
        ("/user/alice/second/lab", SECOND, True),
        ("/hub/user/alice/second", SECOND, True),
        ("/user/alice/lab", SECOND, False),
        ("/user/bob/lab", OWN, False),
        ("/hub/admin", OWN, False),
        ("/hub/user-redirect/lab", OWN, True),
        ("/user/alice", OWN, True),
    ],
)
async def test_a_page_leads_to_nothing_but_its_server(url: str, own: str, is_inside: bool) -> None:
    more = ["/hub/user-redirect/"] if own == OWN else []
    others = [SECOND if own == OWN else OWN]
    assert is_within(url, own, others, "/hub/", more) is is_inside
