"""The page with the form where its server runs, or where nothing can be started."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Integer

from flatirons.forms import Form, Select
from flatirons.forms import Integer as IntegerField
from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.servers.report import Report
from flatirons.spawners.form.hooks import FormHooks
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, message, running, value
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = Form(
    [
        Select(
            "account",
            "Account",
            choices=lambda user: [] if user.startswith("dave") else ["general"],
            default="general",
            required=True,
            if_none="No account of yours may be charged.",
        ),
        IntegerField("nodes", "Nodes", minimum=1, maximum=4, default=1),
    ]
)


class Local(SimpleLocalProcessSpawner):
    """JupyterHub's own local spawner, with a trait for an option."""

    nodes = Integer(7)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    config = configuration(spawner_class=Local, allow_named_servers=True, named_server_limit_per_user=2)
    config.JupyterHub.extra_handlers = list(handlers)
    config.JupyterHub.template_paths = [str(TEMPLATES)]
    config.Authenticator.admin_users = {"root"}
    config.Spawner.cmd = [sys.executable, "-m", "jupyterhub.tests.mocksu"]
    config.SimpleLocalProcessSpawner.home_dir_template = str(tmp_path_factory.mktemp("hub") / "{username}")
    FormHooks(FORM).attach(config.Spawner)
    async with running(config) as hub:
        yield hub


async def left(someone: Visitor) -> None:
    """Ends what the visitor has started."""
    user = someone.hub.users[someone.name]
    for server, spawner in list(user.spawners.items()):
        if spawner.active:
            await user.stop(server)
    await someone.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub, request: pytest.FixtureRequest) -> AsyncIterator[Visitor]:
    """alice, whose default server runs with one node."""
    someone = await Visitor(hub, f"alice{abs(hash(request.node.name))}").log_in()
    assert (await someone.post({"account": "general", "nodes": "1"})).status_code == 302
    await until(lambda: someone.spawner().ready)
    yield someone
    await left(someone)


@pytest_asyncio.fixture(loop_scope="module")
async def dave(hub: JupyterHub) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, "dave").log_in()
    yield someone
    await left(someone)


async def followed(alice: Visitor, path: str) -> httpx.Response:
    """What a browser shows after it followed the hub's redirects; it stops at a server's own page."""
    for _ in range(5):
        answer = await alice.http.get(path)
        if answer.status_code not in (301, 302, 307):
            break
        path = answer.headers["Location"]
        if urlsplit(path).path.startswith("/user/"):
            break
    return answer


async def pressed(alice: Visitor, page: httpx.Response, **body: str) -> httpx.Response:
    """The answer after a click on a button of the page, as a browser without JavaScript gets it."""
    [action] = re.findall(r'id="spawn_form" action="([^"]*)"', page.text)
    files = [(key, (None, text)) for key, text in {**body, "_xsrf": alice.xsrf}.items()]
    path = action.replace("&amp;", "&")
    for _ in range(3):
        answer = await alice.http.post(path, files=files)
        if answer.status_code != 307:
            break
        path = answer.headers["Location"]
    return answer


LINKS = ["/hub/spawn?opt-nodes=3", "/hub/spawn/{name}?opt-nodes=3", "/hub/spawn?nodes=3"]


@pytest.mark.parametrize("link", LINKS)
async def test_a_link_shows_its_choices_while_the_server_runs_and_changes_nothing(
    alice: Visitor, link: str
) -> None:
    page = await followed(alice, link.format(name=alice.name))
    assert page.status_code == 200
    assert value(page, "nodes") == "3"
    assert "Filled in from the link: Nodes. Nothing has been started." in page.text
    assert "Your server is running, and nothing has been changed." in " ".join(page.text.split())
    assert f'href="/user/{alice.name}/">Go to it</a>' in page.text
    assert alice.spawner().ready and alice.spawner().nodes == 1
    assert list(alice.hub.users[alice.name].orm_spawners) == [""], "no other server has been made"


@pytest.mark.parametrize("link", ["/hub/spawn", "/hub/spawn?utm_source=mail", "/hub/spawn?next=/hub/home"])
async def test_what_asks_for_no_choices_leads_to_the_server_as_ever(alice: Visitor, link: str) -> None:
    answer = await alice.http.get(link)
    assert answer.status_code == 302
    assert "beside" not in answer.headers["Location"]


async def test_a_mistake_in_a_link_is_shown_at_its_field_while_the_server_runs(alice: Visitor) -> None:
    page = await followed(alice, "/hub/spawn?opt-nodes=99&opt-color=red")
    assert message(page, "nodes") == "Must be between 1 and 4."
    assert "There is no option &#34;color&#34;" in page.text


async def test_the_choices_start_another_server(alice: Visitor) -> None:
    page = await followed(alice, "/hub/spawn?opt-nodes=3")
    assert 'name="_server_name" value="server-2"' in page.text
    answer = await pressed(
        alice, page, account="general", nodes="3", _server_name="server-2", _start="another"
    )
    assert answer.status_code == 302
    assert f"/spawn-pending/{alice.name}/server-2" in answer.headers["Location"]
    assert (alice.spawner().nodes, alice.spawner("server-2").nodes) == (1, 3)
    assert alice.spawner().ready, "the first one runs on"


async def test_the_choices_start_the_server_again(alice: Visitor) -> None:
    before = alice.spawner().server.port
    page = await followed(alice, "/hub/spawn?opt-nodes=2&next=/hub/home")
    assert 'href="/hub/home">Go to it</a>' in page.text
    answer = await pressed(alice, page, account="general", nodes="2", _server_name="x", _start="restart")
    assert answer.status_code == 302
    target = urlsplit(answer.headers["Location"])
    assert target.path == f"/hub/spawn-pending/{alice.name}"
    assert parse_qs(target.query)["next"] == ["/hub/home"]
    await until(lambda: alice.spawner().ready)
    assert alice.spawner().nodes == 2
    assert alice.spawner().server.port != before
    assert list(alice.hub.users[alice.name].orm_spawners) == [""]


@pytest.mark.parametrize("start", ["restart", "another"])
async def test_refused_choices_neither_end_nor_start_a_server(alice: Visitor, start: str) -> None:
    page = await followed(alice, "/hub/spawn?opt-nodes=2")
    again = await pressed(alice, page, account="general", nodes="9", _server_name="mine", _start=start)
    assert again.status_code == 400
    assert message(again, "nodes") == "Must be between 1 and 4."
    assert (value(again, "nodes"), 'name="_server_name" value="mine"' in again.text) == ("9", True)
    assert alice.spawner().ready and alice.spawner().nodes == 1
    assert list(alice.hub.users[alice.name].orm_spawners) == [""]


@pytest.mark.parametrize("name", ["", "Big One", "../x", "x" * 100, "a--b", "<b>"])
async def test_a_bad_name_for_another_server_gets_a_sentence_and_keeps_the_choices(
    alice: Visitor, name: str
) -> None:
    page = await followed(alice, "/hub/spawn?opt-nodes=2")
    again = await pressed(alice, page, account="general", nodes="4", _server_name=name, _start="another")
    assert again.status_code == 400
    assert 'id="error-server-name"' in again.text
    assert value(again, "nodes") == "4"
    assert list(alice.hub.users[alice.name].orm_spawners) == [""]


async def test_enter_never_restarts_a_server(alice: Visitor) -> None:
    page = await followed(alice, "/hub/spawn?opt-nodes=2")
    await pressed(alice, page, account="general", nodes="2", _server_name="server-2")
    assert alice.spawner().ready and alice.spawner().nodes == 1


async def test_who_has_as_many_servers_as_allowed_is_told_and_can_use_one_of_them(alice: Visitor) -> None:
    for name in ("one", "two"):
        await alice.page(name)
    page = await followed(alice, "/hub/spawn?opt-nodes=2")
    assert "_server_name" not in page.text and "Restart with these choices" in page.text
    body = {"account": "general", "nodes": "2", "_start": "another"}
    again = await pressed(alice, page, _server_name="three", **body)
    assert again.status_code == 400 and "as many servers as you may have" in again.text
    assert (await pressed(alice, page, _server_name="one", **body)).status_code == 302
    assert alice.spawner("one").nodes == 2


async def test_a_link_to_a_named_server_is_about_that_one(alice: Visitor) -> None:
    assert (await alice.post({"account": "general", "nodes": "1"}, "gpu")).status_code == 302
    await until(lambda: alice.spawner("gpu").ready)
    page = await followed(alice, f"/hub/spawn/{alice.name}/gpu?opt-nodes=2")
    assert "The server <b>gpu</b> is running" in page.text
    answer = await pressed(alice, page, account="general", nodes="2", _start="restart")
    assert f"/spawn-pending/{alice.name}/gpu" in answer.headers["Location"]
    await until(lambda: alice.spawner("gpu").ready)
    assert (alice.spawner().nodes, alice.spawner("gpu").nodes) == (1, 2)
    stopped = await followed(alice, f"/hub/spawn/{alice.name}/other?opt-nodes=2")
    assert "flatirons-beside" not in stopped.text, "it doesn't run"


async def test_the_page_of_a_server_that_stopped_meanwhile_is_the_ordinary_one(alice: Visitor) -> None:
    await alice.hub.users[alice.name].stop("")
    page = await followed(alice, f"/hub/flatirons/beside?user={alice.name}&server=&opt-nodes=2")
    assert value(page, "nodes") == "2" and "flatirons-beside" not in page.text
    assert "Filled in from the link: Nodes." in page.text


async def test_without_javascript_the_choices_are_updated_on_the_same_page(alice: Visitor) -> None:
    answer = await alice.http.post(
        f"/hub/flatirons/form?user={alice.name}&server=",
        data={"account": "general", "nodes": "3", "_server_name": "mine", "_xsrf": alice.xsrf},
    )
    assert answer.status_code == 200
    assert "flatirons-beside" in answer.text and value(answer, "nodes") == "3"


# -- nothing to start


async def test_who_can_start_nothing_gets_no_start_and_no_cards(dave: Visitor) -> None:
    page = await dave.page()
    assert "You can't start a server here. No account of yours may be charged." in page.text
    buttons = [tag for tag in re.findall(r"<button[^>]*>", page.text) if "formaction" not in tag]
    starts = [tag for tag in buttons if 'type="submit"' in tag]
    assert starts and all(" disabled" in tag for tag in starts)
    assert "data-dead-end" in page.text
    assert not re.search(r'name="_preset"', page.text)
    assert (await dave.post({"nodes": "1"})).status_code == 400


async def test_who_can_start_something_gets_an_active_start(alice: Visitor) -> None:
    page = await alice.page("second")
    [start] = re.findall(r"<button[^>]*>Start</button>", page.text)[-1:]
    assert "disabled" not in start


async def test_a_link_opens_the_page_after_a_log_in(alice: Visitor, hub: JupyterHub) -> None:
    link = "/hub/spawn?opt-nodes=3"
    stranger = Visitor(hub, alice.name)
    answer = await stranger.http.get(link)
    assert answer.status_code == 302
    log_in: Any = answer.headers["Location"]
    await stranger.http.get(log_in)
    body = {"username": alice.name, "password": "any", "_xsrf": stranger.xsrf}
    answer = await stranger.http.post(log_in, data=body)
    page = await followed(stranger, answer.headers["Location"])
    assert value(page, "nodes") == "3"
    await stranger.http.aclose()


# -- what the page is about


def heading(page: httpx.Response) -> str:
    [inside] = re.findall(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", inside)).split())


async def test_the_heading_says_which_server_the_options_are_for(alice: Visitor) -> None:
    assert heading(await alice.http.get("/hub/spawn/" + alice.name + "/gpu")) == "Options for server gpu"
    link = await alice.http.get(f"/hub/spawn/{alice.name}/gpu?opt-nodes=2")
    assert heading(link) == "Options for server gpu"
    refused = await alice.post({"account": "general", "nodes": "9"}, "gpu")
    assert message(refused, "nodes") and heading(refused) == "Options for server gpu"
    assert f"user={alice.name}&amp;server=gpu" in refused.text, "changes are evaluated for that server"
    beside = await followed(alice, "/hub/spawn?opt-nodes=2")
    assert heading(beside) == "Options for your server"


async def test_an_admin_reads_whose_server_the_options_are_for(hub: JupyterHub, alice: Visitor) -> None:
    root = await Visitor(hub, "root").log_in()
    assert heading(await root.http.get("/hub/spawn")) == "Options for your server"
    other = f"/hub/spawn/{alice.name}"
    assert heading(await root.http.get(f"{other}/gpu")) == f"Options for server gpu of {alice.name}"
    await alice.hub.users[alice.name].stop("")
    assert heading(await root.http.get(other)) == f"Options for the server of {alice.name}"
    await root.http.aclose()


ENDED = Report("time_limit", "The job reached its time limit.", job_id=7, fix={"nodes": "2"})


@pytest.mark.parametrize("path", ["/hub/spawn", "/hub/spawn/dave", "/hub/spawn/dave/gpu"])
async def test_the_form_says_how_its_server_ended_until_its_user_knows(dave: Visitor, path: str) -> None:
    """JupyterLab's dialog about a lost server leads to this page."""
    await dave.http.get(path)
    spawner = dave.spawner("gpu" if path.endswith("gpu") else "")
    spawner.reports = [replace(ENDED, ended_at=time.time())]
    page = await dave.http.get(path)
    assert "The job reached its time limit." in page.text and "Start again with 2 nodes" in page.text
    [details] = re.findall(r'href="([^"]*)">Details and log', page.text)
    assert (await dave.http.get(details)).status_code == 200
    for known in (
        replace(ENDED, ended_at=time.time(), dismissed=True),
        replace(ENDED, ended_at=time.time() - 2 * 86400),
        replace(ENDED, ended_at=time.time(), kind="stopped"),
    ):
        spawner.reports = [known]
        assert "time limit" not in (await dave.http.get(path)).text
    spawner.reports = []
