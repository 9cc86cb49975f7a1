"""The pages that say how a server ended, and the buttons on them that start it again."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm

from flatirons.servers.report import Report
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, message, running, value
from tests.hub.pretending import STARTED, Pretending, pretending, with_slurm

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDED = Report(
    "out_of_memory",
    "The job ran out of memory and was killed.",
    "Ask for more memory.",
    cluster="summit",
    job_id=7,
    node="shas0101",
    ended_at=time.time(),
    was_up=True,
    options={"partition": "shas", "account": "general", "cpus": "2", "memory": "2G", "runtime": "1:00:00"},
    fix={"memory": "4G"},
    log=["\x1b[31mKilled\x1b[0m <script>alert(1)</script>", "مرحبا\x00"],
)
LONG = "x" * 200
NAMES = ["", "gpu", "خادمي", LONG, "a<b>&c", "100%"]
"""Names of servers. JupyterHub makes no more servers with most of them, but has those that it had."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.Authenticator.admin_users = {"root"}
    async with running(config) as hub:
        with_slurm(hub, FakeSlurm())
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, "alice").log_in()
    yield someone
    await someone.http.aclose()


def ended(hub: JupyterHub, name: str, *reports: Report) -> SlurmSpawner:
    """alice's server of this name, which has these reports."""
    user = hub.users["alice"]
    if name and name not in user.orm_spawners:
        hub.db.add(orm.Spawner(user=user.orm_user, name=name, display_name=name))
        hub.db.commit()
    spawner = user.spawners[name]
    spawner.reports = list(reports)
    return spawner


def buttons(page: httpx.Response) -> dict[str, tuple[str, dict[str, str]]]:
    """Where each button of the page posts what, by its label."""
    found = {}
    for action, inside in re.findall(
        r'<form method="post" action="([^"]*)"[^>]*>(.*?)</form>', page.text, re.S
    ):
        label = unescape(" ".join(re.findall(r"<button[^>]*>(.*?)</button>", inside, re.S)))
        inputs = re.findall(r'name="([^"]*)" value="([^"]*)"', inside)
        found[label] = unescape(action), {name: unescape(text) for name, text in inputs}
    return found


@pytest.mark.parametrize("name", NAMES)
async def test_a_report_is_shown_and_dismissed_whatever_its_server_is_called(
    hub: JupyterHub, alice: Visitor, name: str
) -> None:
    spawner = ended(hub, name, ENDED)
    url = f"/hub/flatirons/report/alice/{quote(name, safe='')}"
    page = await alice.http.get(url)
    assert page.status_code == 200 and "ran out of memory" in page.text
    assert "<script>alert" not in page.text and "\x1b" not in page.text and "\x00" not in page.text
    assert "<b>&c" not in page.text
    action, body = buttons(page)["Dismiss"]
    assert (await alice.http.post(action, data=body)).headers["Location"] == "/hub/home"
    assert spawner.reports[0].dismissed
    assert "Dismiss" not in buttons(await alice.http.get(url))


@pytest.mark.parametrize("path", ["/hub/flatirons/report/alice/gpu", "/hub/user/alice/gpu/lab"])
@pytest.mark.parametrize(
    ("label", "memory"), [("Start again with 4 GB of memory", 4096), ("Start again as it was", 2048)]
)
async def test_a_click_starts_the_server_again_with_the_fix_or_as_it_was(
    hub: JupyterHub, alice: Visitor, path: str, label: str, memory: int
) -> None:
    ended(hub, "gpu", ENDED)
    action, body = buttons(await alice.http.get(path, follow_redirects=True))[label]
    before = len(Pretending.started)
    answer = await alice.http.post(action, data=body)
    assert answer.status_code == STARTED, answer.text
    [options] = Pretending.started[before:]
    assert (options["memory"], options["cpus"], options["runtime"]) == (memory, 2, 60)


async def test_a_start_that_the_form_no_longer_takes_shows_the_form_with_the_reason(
    hub: JupyterHub, alice: Visitor
) -> None:
    ended(hub, "gpu", replace(ENDED, options={**ENDED.options, "cpus": "4000"}))
    action, body = buttons(await alice.http.get("/hub/flatirons/report/alice/gpu"))["Start again as it was"]
    before = len(Pretending.started)
    page = await alice.http.post(action, data=body)
    assert "At most" in message(page, "cpus") or "between" in message(page, "cpus"), page.text
    assert (value(page, "cpus"), value(page, "memory")) == ("4000", "2G")
    assert len(Pretending.started) == before


async def test_the_form_can_be_opened_with_the_fix_instead(hub: JupyterHub, alice: Visitor) -> None:
    ended(hub, "gpu", ENDED)
    page = await alice.http.get("/hub/flatirons/report/alice/gpu")
    [link] = re.findall(r'href="([^"]*opt-[^"]*)">Change options', page.text)
    form = await alice.http.get(unescape(link))
    assert (value(form, "memory"), value(form, "cpus")) == ("4G", "2")


async def test_earlier_runs_are_listed_below_the_newest(hub: JupyterHub, alice: Visitor) -> None:
    ended(hub, "gpu", ENDED, replace(ENDED, job_id=6, sentence="Once more.", ended_at=1.0, log=()))
    page = await alice.http.get("/hub/flatirons/report/alice/gpu")
    assert (
        page.text.index("ran out of memory") < page.text.index("Earlier runs") < page.text.index("Once more.")
    )


async def test_who_may_only_read_a_report_gets_no_buttons(hub: JupyterHub, alice: Visitor) -> None:
    ended(hub, "gpu", ENDED)
    reader = orm.Role(name="readers", description="read reports", scopes=["read:servers"])
    helper = await Visitor(hub, "helper").log_in()
    hub.db.add(reader)
    reader.users.append(hub.users["helper"].orm_user)
    hub.db.commit()
    page = await helper.http.get("/hub/flatirons/report/alice/gpu")
    assert page.status_code == 200 and "This is a server of" in page.text
    assert buttons(page) == {}
    action = "/hub/flatirons/report/alice/gpu"
    assert (await helper.http.post(action, data={"_xsrf": helper.xsrf})).status_code == 404
    await helper.http.aclose()
