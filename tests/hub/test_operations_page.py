"""The operators' page of a hub in this process, with many servers that don't exist, and hostile names."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from flatirons.slurm.model import Allocation, Job, JobState
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.run.used_memory import UsedMemory
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import pretending, with_slurm

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "/hub/flatirons/operations"
HOSTILE = "<script>alert('x')</script>\"'&"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, slurm: FakeSlurm) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}, "blanca": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.JupyterHub.load_roles = [{"name": "operators", "scopes": ["admin:servers"], "users": ["carol"]}]
    async with running(config) as hub:
        with_slurm(hub, slurm)
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def carol(hub: JupyterHub) -> AsyncIterator[Visitor]:
    """The operator."""
    someone = await Visitor(hub, "carol").log_in()
    yield someone
    await someone.http.aclose()


@pytest.fixture
def registry(hub: JupyterHub) -> Iterator[Registry[Any]]:
    """What the servers share; it has none before and after."""
    found: Registry[Any] = hub.users.settings[SETTINGS_KEY]
    yield found
    found._by_code.clear()


def add(registry: Registry[Any], user: str, server: str = "", **more: Any) -> None:
    """A server in this phase (`up`), with this job."""
    number, now = len(registry._by_code) + 1, time.time()
    known: dict[str, Any] = {"phase": "up", "cluster": "summit", "node": "shas0101", "reason": "", **more}
    state = {"up": JobState.RUNNING, "waiting": JobState.PENDING}.get(known["phase"], JobState.UNKNOWN)
    job = Job(
        id=number,
        state=state,
        reason=known["reason"],
        submit=datetime.fromtimestamp(now - 4000, UTC),
        start=datetime.fromtimestamp(now - known.get("ran", 3600), UTC),
        end=datetime.fromtimestamp(now + known.get("left", 3600), UTC),
        batch_host=known["node"],
        allocation=Allocation(memory_mib=4096),
    )
    owner = SimpleNamespace(
        escaped_name=user.replace("/", "%2F"), server_url=lambda name: f"/user/{user}/{name}/"
    )
    registry._by_code[str(number)] = SimpleNamespace(
        user=user,
        spawner=SimpleNamespace(name=server, user=owner),
        attempt=Attempt(
            known["cluster"], "spawn", "", job_id=number, host=known["node"], requested_at=int(now)
        ),
        job=job,
        phase=known["phase"],
        progress=SimpleNamespace(waited=2.0),
        steps=[],
        memory=UsedMemory(1536),
    )


def rows(html: str, table: str = "servers") -> list[list[str]]:
    """The cells of a table of the page, as a reader sees them."""
    found = re.search(rf'<table[^>]* id="{table}">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    if not found:
        return []
    lines = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<td.*?</td>", line, re.DOTALL) for line in lines]
    return [[" ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split()) for cell in line] for line in cells]


async def seen(visitor: Visitor, query: str = "") -> str:
    answer = await visitor.http.get(PAGE + query)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_without_servers_the_page_says_so(carol: Visitor, registry: Registry[Any]) -> None:
    page = await seen(carol)
    assert "No server runs or starts at the moment." in page and rows(page) == []


async def test_each_server_has_a_row_with_its_times_and_its_links(
    carol: Visitor, registry: Registry[Any]
) -> None:
    add(registry, "alice", "gpu", ran=3600, left=5400)
    add(registry, "bob", phase="waiting", node="", reason="Resources", cluster="blanca")
    page = await seen(carol)
    assert [row[:-1] for row in rows(page)] == [
        ["bob", "(default)", "waiting", "67 minutes", "", "blanca 2 PENDING (Resources)", ""],
        ["alice", "gpu", "up", "1 hour", "90 minutes", "summit 1 RUNNING", "shas0101 1.5 GB of 4 GB"],
    ]
    for link in (
        "/hub/flatirons/report/alice/gpu",
        "/hub/flatirons/report/bob",
        "/hub/spawn-pending/bob",
        f"{PAGE}?q=alice",
        f"{PAGE}?to=alice#announce-text",
    ):
        assert f'href="{link}"' in unescape(page), link
    assert "/user/alice/gpu/" not in page, "an operator may stop a server, but not open it"


async def test_the_page_asks_slurm_nothing(carol: Visitor, registry: Registry[Any], slurm: FakeSlurm) -> None:
    add(registry, "alice")
    before = len(slurm.calls)
    await seen(carol)
    await carol.http.get("/hub/api/flatirons/operations")
    assert len(slurm.calls) == before


@pytest.mark.parametrize("number", [40, 1000])
async def test_many_servers_come_in_pages(carol: Visitor, registry: Registry[Any], number: int) -> None:
    for one in range(number):
        add(registry, f"user{one:04}", phase="waiting" if one % 2 else "up")
    first = await seen(carol, "?sort=person")
    assert f'Servers <span class="badge text-bg-secondary">{number:,}</span>' in first
    assert rows(first)[0][0] == "user0000" and len(rows(first)) == min(number, 50)
    assert ('id="pages"' in first) == (number > 50)
    last = rows(await seen(carol, "?sort=person&page=999"))
    assert last[-1][0] == f"user{number - 1:04}"
    [only] = rows(await seen(carol, f"?q=USER{number - 1:04}"))
    assert only[0] == f"user{number - 1:04}"
    waiting = await seen(carol, "?phase=waiting&sort=person")
    assert f"waiting {number // 2}" in waiting and {row[2] for row in rows(waiting)} == {"waiting"}
    everything = (await carol.http.get("/hub/api/flatirons/operations")).json()["servers"]
    assert len(everything) == number


async def test_filtering_a_thousand_servers_takes_no_time_that_one_notices(
    carol: Visitor, registry: Registry[Any]
) -> None:
    """Compared with the same page without servers, in the same run: machines differ."""

    async def took(query: str) -> float:
        began = time.perf_counter()
        await seen(carol, query)
        return time.perf_counter() - began

    await seen(carol)
    floor = min([await took("") for _ in range(5)])
    for one in range(1000):
        add(registry, f"user{one:04}")
    full = min([await took("?q=user0&sort=left") for _ in range(5)])
    print(f"empty {1000 * floor:.1f} ms, 1,000 servers {1000 * full:.1f} ms")
    assert full < 0.2 or full < 10 * floor


@pytest.mark.parametrize(
    ("query", "users"),
    [
        ("sort=left", ["b", "c", "a"]),
        ("sort=time", ["c", "b", "a"]),
        ("sort=node", ["c", "a", "b"]),
        ("sort=nosuch&page=x&phase=nosuch", ["a", "b", "c"]),
        ("q=n2", ["b"]),
        ("q=b+n2", ["b"]),
        ("q=b+n1", []),
        ("cluster=blanca", ["b"]),
        ("cluster=nosuch", []),
        ("q=" + "x" * 5000, []),
        ("page=0", ["a", "b", "c"]),
        ("page=%F0%9F%98%80", ["a", "b", "c"]),
        ("page=%E2%85%A7", ["a", "b", "c"]),
    ],
)
async def test_servers_are_filtered_and_sorted(
    carol: Visitor, registry: Registry[Any], query: str, users: list[str]
) -> None:
    add(registry, "a", ran=10, left=3000, node="n1")
    add(registry, "b", ran=20, left=100, node="n2", cluster="blanca")
    add(registry, "c", ran=30, left=200, node="n0")
    page = await seen(carol, f"?{query}")
    assert [row[0] for row in rows(page)] == users
    assert users or "None of the 3 servers is like that." in page


async def test_names_and_filters_are_shown_as_text(carol: Visitor, registry: Registry[Any]) -> None:
    add(registry, HOSTILE, "x" * 200, node=HOSTILE)
    add(registry, "مستخدم", HOSTILE, phase="waiting", reason=HOSTILE)
    registry.metrics.count_failure("<b>", user=HOSTILE, server=HOSTILE)
    page = await seen(carol)
    assert "<script>alert(" not in page and "<b>" not in page
    assert {row[0] for row in rows(page)} == {HOSTILE, "مستخدم"}
    filtered = await seen(carol, "?q=%3Cscript%3Ealert(&cluster=%22%3E%3Cb%3E")
    assert "<script>alert(" not in filtered and "<b>" not in filtered


async def test_failures_are_counted_by_reason_in_words_with_links_to_their_reports(
    carol: Visitor, registry: Registry[Any]
) -> None:
    count = registry.metrics.count_failure
    for server in ("", "gpu", "gpu"):
        count("out_of_memory", user="alice", server=server)
    count("time_limit", user="bob", server="")
    count("completed", user="bob", server="")
    page = await seen(carol)
    found = {row[0]: row for row in rows(page, "failures")}
    assert found["out of memory"][1:3] == ["3", "3"] and found["time limit reached"][1:3] == ["1", "1"]
    assert found["out of memory"][3].startswith("alice/gpu 0 seconds ago , alice")
    assert 'href="/hub/flatirons/report/alice/gpu"' in page and "completed" not in found
    answer = (await carol.http.get("/hub/api/flatirons/operations")).json()
    by_kind = {each["kind"]: each for each in answer["failures"]}
    assert by_kind["out_of_memory"]["last_day"] == 3
    assert [each["server"] for each in by_kind["out_of_memory"]["newest"]] == ["gpu", ""]
    assert answer["history"]["failures"][-1] >= 4 and len(answer["history"]["submissions"]) == 180


async def test_the_last_hours_are_drawn_with_words_for_those_who_see_no_drawing(
    carol: Visitor, registry: Registry[Any]
) -> None:
    registry.metrics.count_submission("summit")
    registry.metrics.count_command("summit", "squeue", "ok", 0.25)
    page = await seen(carol)
    assert 'aria-label="Submissions in the last three hours: 1, at most 1 in a minute"' in page
    assert "last 250 ms, slowest 250 ms" in page and 'd="M179 24v-24h1v24z"' in page


async def stopped(visitor: Visitor, user: str, server: str = "", **more: Any) -> Any:
    body = {"user": user, "server": server, "_xsrf": visitor.xsrf}
    return await visitor.http.post(f"{PAGE}/stop", data=body, **more)


async def test_a_stop_needs_the_scope_for_that_server_and_a_token(
    hub: JupyterHub, carol: Visitor, registry: Registry[Any]
) -> None:
    alice = await Visitor(hub, "alice").log_in()
    assert (await stopped(alice, "carol")).status_code == 404, "others' servers are as if they weren't"
    assert (await alice.http.post(f"{PAGE}/stop", data={"user": "alice"})).status_code == 403
    await alice.http.aclose()
    before = {"Referer": f"http://hub{PAGE}?phase=up"}
    answer = await stopped(carol, "alice", headers=before)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{PAGE}?phase=up")
    assert (await stopped(carol, "nosuch")).status_code == 404
    assert (await stopped(carol, "alice", "nosuch")).status_code == 404
