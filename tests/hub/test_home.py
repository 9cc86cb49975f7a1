"""Home and its forms in a hub in this process, for a visitor without JavaScript."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm

from flatirons.hub.handlers import server_events
from flatirons.servers.report import Report
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.presets import Preset
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import STARTED, Pretending, pretending

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARABIC = "خادم التجارب"
PRESETS = {
    "small": Preset("Small", {"cpus": 1, "memory": "1G"}, "1 core"),
    "huge": Preset("Huge", {"cpus": 9999}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}, "blanca": {}}, {"python": {}})
    config = pretending(
        form,
        tmp_path_factory.mktemp("state"),
        environments={"python": {}},
        site_presets=PRESETS,
        named_server_limit_per_user=45,
    )
    async with running(config) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    """Alice, without servers."""
    someone = await Visitor(hub, "alice").log_in()
    Pretending.started.clear()
    yield someone
    user = hub.users["alice"]
    for name in [*user.orm_spawners]:
        user.spawners.pop(name, None)
        hub.db.delete(user.orm_spawners[name])
    hub.db.commit()
    await someone.http.aclose()


async def home(visitor: Visitor) -> str:
    answer = await visitor.http.get("/hub/home")
    assert answer.status_code == 200
    return answer.text


def cards(page: str) -> dict[str, str]:
    """The cards by the ids of their elements."""
    found = re.findall(r'<article class="card flatirons-server" id="([^"]*)".*?</article>', page, re.DOTALL)
    whole = re.findall(r'<article class="card flatirons-server".*?</article>', page, re.DOTALL)
    return dict(zip(found, whole, strict=True))


def choices(page: str) -> list[str]:
    """What starts by one click."""
    return re.findall(r'name="_start_with" value="((?:site|own|last|defaults)[^"]*)"', page)


async def post(visitor: Visitor, path: str, **body: str) -> httpx.Response:
    return await visitor.http.post(f"/hub/flatirons/servers/{path}", data={**body, "_xsrf": visitor.xsrf})


def add(hub: JupyterHub, name: str, title: str = "", *reports: Report) -> Any:
    """A server that doesn't run, with its reports in the database."""
    user = hub.users["alice"]
    spawner = user.get_or_create_spawner(name, title or name)
    spawner.reports = list(reports)
    spawner.orm_spawner.state = spawner.get_state()
    hub.db.commit()
    return spawner


async def test_without_servers_home_offers_a_start_by_one_click(alice: Visitor) -> None:
    page = await home(alice)
    assert cards(page) == {}
    assert choices(page) == ["site:small", "defaults"], "the preset that nobody can have isn't shown"
    assert "Start a server" in page and "JupyterHub requires JavaScript" in page
    assert re.search(r"<noscript>\s*<meta http-equiv=.refresh.", page)


async def test_one_click_starts_what_the_preset_says(hub: JupyterHub, alice: Visitor) -> None:
    first = await post(alice, "new", _start_with="site:small")
    assert (first.status_code, first.headers["location"]) == (307, "/hub/spawn/alice")
    answer = await alice.http.post(
        first.headers["location"], data={"_start_with": "site:small", "_xsrf": alice.xsrf}
    )
    assert answer.status_code == STARTED
    [options] = Pretending.started
    assert (options["cpus"], options["memory"]) == (1, 1024)


async def test_a_start_that_is_refused_shows_the_form_with_the_messages(
    hub: JupyterHub, alice: Visitor
) -> None:
    for key, message in [
        ("site:huge", "9,?999"),
        ("own:gone", "These choices are gone"),
        ("last", "These choices are gone"),
        ("<script>", "These choices are gone"),
    ]:
        answer = await alice.post({"_start_with": key})
        assert re.search(message, answer.text), key
        assert 'id="spawn_form"' in answer.text and "Nothing has been started" in answer.text
    assert Pretending.started == []


async def test_the_same_as_last_time_starts_with_the_stored_options(hub: JupyterHub, alice: Visitor) -> None:
    assert (await alice.post({"cpus": "2", "memory": "2G", "partition": "shas"})).status_code == STARTED
    page = await home(alice)
    assert choices(page)[0] == "last"
    assert (await alice.post({"_start_with": "last"}, "another")).status_code == STARTED
    before, again = Pretending.started
    assert before == again


async def test_start_again_has_the_fix_of_the_report(hub: JupyterHub, alice: Visitor) -> None:
    report = Report(
        "out_of_memory", "Too little.", options={"memory": "1G", "cpus": "1"}, fix={"memory": "2G"}
    )
    add(hub, "", "", report)
    found = cards(await home(alice))["server"]
    assert "Start again with 2 GB of memory" in found and "Too little." in found
    assert (await alice.post({"_start_with": "again"})).status_code == STARTED
    assert Pretending.started[0]["memory"] == 2048


async def test_a_new_server_beside_the_default_one_is_named_after_the_choice(
    hub: JupyterHub, alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(hub.users["alice"].spawner), "active", property(lambda self: self.name == ""))
    page = await home(alice)
    assert "Start another server" in page and "server" in cards(page)
    for name, choice, place in [
        ("", "site:small", "small"),
        ("", "site:small", "small-2"),
        ("", "defaults", "server-2"),
        ("gpu-2", "defaults", "gpu-2"),
    ]:
        answer = await post(alice, "new", _start_with=choice, name=name)
        assert answer.headers["location"] == f"/hub/spawn/alice/{place}"
        assert place in hub.users["alice"].orm_spawners
    answer = await post(alice, "new", _start_with="", name=ARABIC)
    assert answer.status_code == 303
    name = answer.headers["location"].rpartition("/")[2]
    assert hub.users["alice"].orm_spawners[name].display_name == ARABIC
    assert f"<bdi>{ARABIC}</bdi>" in await home(alice)


async def test_a_name_that_cant_be_taken_is_said_beside_it(
    hub: JupyterHub, alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(hub.users["alice"].spawner), "active", property(lambda self: self.name == "gpu"))
    add(hub, "gpu")
    for name, problem in [("gpu", "The server “gpu” runs already"), ("x" * 256, "at most 255 characters")]:
        answer = await post(alice, "new", _start_with="defaults", name=name)
        assert answer.status_code == 400
        assert re.search(problem.replace("“", ".").replace("”", "."), unescape(answer.text)), answer.text
        assert f'value="{name}"' in answer.text and 'role="alert"' in answer.text
    assert set(hub.users["alice"].orm_spawners) <= {"", "gpu"}


@pytest.mark.parametrize("number", [1, 40, 45])
async def test_many_servers_each_have_a_card(hub: JupyterHub, alice: Visitor, number: int) -> None:
    report = Report("time_limit", "The time was up.", was_up=True, ended_at=1.0, job_id=7)
    for each in range(number):
        add(hub, f"server-{each}", "", report)
        hub.users["alice"].spawners.pop(f"server-{each}")
    found = cards(await home(alice))
    assert len(found) == number
    assert all("The time was up." in each and "Dismiss" in each for each in found.values())
    made = {name for name in hub.users["alice"].spawners if name}
    assert not made, "no spawner is made for a server that doesn't run"


async def test_names_and_reports_are_escaped(hub: JupyterHub, alice: Visitor) -> None:
    hostile = "<script>alert(1)</script>\"'"
    add(hub, "x", hostile + "y" * 200, Report("failed", hostile, advice=hostile))
    page = await home(alice)
    assert hostile not in page and hostile in unescape(page)


async def test_a_report_that_was_read_leaves_the_card(hub: JupyterHub, alice: Visitor) -> None:
    add(hub, "", "", Report("failed", "It failed.", job_id=7))
    add(hub, "work", "", Report("failed", "It failed.", job_id=8))
    assert set(cards(await home(alice))) == {"server", "server-work"}
    for path in ("alice", "alice/work"):
        answer = await alice.http.post(
            f"/hub/flatirons/report/{path}", data={"_xsrf": alice.xsrf, "job": "8" if "w" in path else "7"}
        )
        assert answer.status_code == 303
    found = cards(await home(alice))
    assert set(found) == {"server-work"} and "It failed" not in found["server-work"]
    assert "Not running" in found["server-work"]


async def test_a_named_server_is_deleted_and_the_default_one_stays(hub: JupyterHub, alice: Visitor) -> None:
    add(hub, "work")
    add(hub, "", "", Report("failed", ""))
    found = cards(await home(alice))
    assert "Delete it" in found["server-work"] and "Delete it" not in found["server"]
    answer = await post(alice, "delete/alice/work")
    assert (answer.status_code, answer.headers["location"]) == (303, "/hub/home")
    assert "work" not in hub.users["alice"].orm_spawners
    assert (await post(alice, "delete/alice/work")).status_code == 404
    assert (await post(alice, "delete/alice")).status_code == 400


async def test_stopping_a_server_that_doesnt_run_leads_home_or_to_the_form(alice: Visitor) -> None:
    assert (await post(alice, "stop/alice")).headers["location"] == "/hub/home"
    assert (await post(alice, "stop/alice", then="form")).headers["location"] == "/hub/spawn/alice"


async def test_programs_get_the_same_servers(hub: JupyterHub, alice: Visitor) -> None:
    report = Report("failed", "It failed.", job_id=7, ended_at=5.0)
    add(hub, "work", ARABIC, report)
    hub.users["alice"].spawners.pop("work")
    for path in ("servers", "servers/alice"):
        found = (await alice.http.get(f"/hub/api/flatirons/{path}")).json()
        default, work = found["servers"]
        assert (found["user"], default["name"], default["phase"]) == ("alice", "", "stopped")
        assert (work["title"], work["phase"]) == (ARABIC, "ended")
        assert work["url"].split("/")[1:] == ["user", "alice", "work", ""]
        assert work["report"]["sentence"] == "It failed." and work["since"] == 5.0
    assert (await alice.http.get("/hub/api/flatirons/servers/nobody")).status_code == 404


async def test_a_stream_sends_what_changed_and_nothing_else(hub: JupyterHub, alice: Visitor) -> None:
    spawner = add(hub, "", "", Report("failed", "First."))
    add(hub, "work")
    events: asyncio.Queue[Any] = asyncio.Queue()

    async def listen() -> None:
        async with alice.http.stream("GET", "/hub/flatirons/servers/events") as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    events.put_nowait(json.loads(line.removeprefix("data: ")))

    listening = asyncio.ensure_future(listen())
    first = await asyncio.wait_for(events.get(), 30)
    assert [each["id"] for each in first["changed"]] == first["order"] == ["server", "server-work"]
    assert "Start a server" in first["start"]
    shown = cards(await home(alice))
    assert all(f'data-version="{each["version"]}"' in shown[each["id"]] for each in first["changed"])
    spawner.add_report(Report("failed", "Second."))  # which rings
    second = await asyncio.wait_for(events.get(), 30)
    [changed] = second["changed"]
    assert changed["id"] == "server" and "Second." in changed["html"] and "start" not in second
    assert f'value="{alice.xsrf}"' in changed["html"], "its forms can be sent"
    await post(alice, "delete/alice/work")
    third = await asyncio.wait_for(events.get(), 30)
    assert (third["changed"], third["order"]) == ([], ["server"])
    listening.cancel()


async def test_a_stream_that_nobody_reads_any_more_ends(
    hub: JupyterHub, alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    monkeypatch.setattr(server_events.ServerEvents, "on_finish", lambda self: ended.set())
    async with alice.http.stream("GET", "/hub/flatirons/servers/events") as answer:
        assert answer.status_code == 200
    await asyncio.wait_for(ended.wait(), 30)


async def test_invalid_names_of_servers_are_named(hub: JupyterHub, alice: Visitor) -> None:
    row = orm.Spawner(name="Not Valid", user=hub.users["alice"].orm_user)  # of an earlier JupyterHub
    hub.db.add(row)
    hub.db.commit()
    page = await home(alice)
    assert "new restrictions on servernames" in page and "server-Not%20Valid" in page
