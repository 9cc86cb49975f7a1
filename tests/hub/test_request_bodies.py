"""Bodies are judged before JupyterHub stores anything, and what is refused isn't kept as a default."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm
from jupyterhub.spawner import Spawner
from tornado.web import HTTPError

from flatirons.forms import Form, Select, Text
from flatirons.forms import Integer as IntegerField
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.jupyterhub.compat_handlers import LARGEST_BODY
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTED = 418
RIGHTS: dict[str, Iterator[bool]] = {}
"""Accounts that are open for as many looks at the rights as there are items."""

DEMANDED: set[str] = set()
"""Users who must say how many hours they need."""


def must_be_open(value: str) -> str | None:
    is_open = value not in RIGHTS or next(RIGHTS[value], False)
    return None if is_open else f"{value} is closed."


FORM = Form(
    [
        Select("partition", "Partition", choices=["shas", "sknl"], default="shas"),
        IntegerField("nodes", "Nodes", minimum=1, maximum=4, default=1),
        Text("account", "Account", must=must_be_open),
        IntegerField("hours", "Hours", minimum=1, required=lambda user: user in DEMANDED),
    ]
)


class Recording(Spawner):
    """Starts nothing."""

    started: ClassVar[list[dict[str, Any]]] = []

    async def start(self) -> str:
        self.started.append(dict(self.user_options))
        raise HTTPError(STARTED, "Nothing real is started here")

    async def stop(self, now: bool = False) -> None:
        """There is nothing to stop."""

    async def poll(self) -> int | None:
        return 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[JupyterHub]:
    config = configuration(spawner_class=Recording, allow_named_servers=True)
    FormHooks(FORM).attach(config.Spawner)
    async with running(config) as hub:
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub, request: pytest.FixtureRequest) -> AsyncIterator[Visitor]:
    Recording.started.clear()
    visitor = await Visitor(hub, f"alice{abs(hash(request.node.name))}").log_in()
    yield visitor
    await visitor.http.aclose()


def stored(alice: Visitor) -> dict[str, Any]:
    """The options in the database for each server of alice's."""
    alice.hub.db.expire_all()
    return {name: row.user_options for name, row in alice.hub.users[alice.name].orm_spawners.items()}


def rows(alice: Visitor) -> list[int]:
    """How many rows JupyterHub makes when it begins a start."""
    return [alice.hub.db.query(table).count() for table in (orm.Server, orm.APIToken, orm.Spawner)]


async def send(alice: Visitor, method: str, body: Any, server: str = "") -> httpx.Response:
    where = f"servers/{server}" if server else "server"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"X-XSRFToken": alice.xsrf}
    return await alice.http.request(
        method, f"/hub/api/users/{alice.name}/{where}", content=content, headers=headers
    )


BAD = {
    "a value": (b'{"nodes": 99}', "nodes: Must be between 1 and 4."),
    "a key": (b'{"color": "red"}', 'There is no option "color".'),
    "a type": (b'{"nodes": {"a": [1]}}', "nodes: One line of text is expected here."),
    "a long text": (b'{"account": "%s"}' % (b"x" * 1_000_000), "account: Too long"),
    "many keys": (
        json.dumps({f"k{n}": n for n in range(5000)}).encode(),
        "Too many options were sent: 5,000.",
    ),
    "a key twice": (b'{"nodes": 1, "nodes": 2}', '"nodes" is given more than once'),
    "a key twice, once escaped": (b'{"nodes": 1, "n\\u006fdes": 2}', '"nodes" is given more than once'),
}


@pytest.mark.parametrize("server", ["", "named"])
@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("kind", BAD)
async def test_a_start_by_rest_with_bad_options_stores_nothing(
    alice: Visitor, kind: str, server: str, is_wrapped: bool
) -> None:
    before, known = rows(alice), stored(alice)
    body, sentence = BAD[kind]
    answer = await send(alice, "POST", b'{"user_options": %s}' % body if is_wrapped else body, server)
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]
    assert (rows(alice), stored(alice)) == (before, known)
    assert Recording.started == []


async def test_options_given_twice_as_a_whole_are_refused(alice: Visitor) -> None:
    answer = await send(alice, "POST", b'{"user_options": {"nodes": 1}, "user_options": {"nodes": 2}}')
    assert answer.status_code == 400
    assert '"user_options" is given more than once' in answer.json()["message"]


@pytest.mark.parametrize("kind", BAD)
async def test_a_server_is_neither_made_nor_changed_with_bad_options(alice: Visitor, kind: str) -> None:
    assert (await send(alice, "PUT", {"user_options": {"nodes": 2}}, "good")).status_code == 201
    before, known = rows(alice), stored(alice)
    assert known["good"] == {"nodes": 2}
    body, sentence = BAD[kind]
    wrapped = b'{"user_options": %s}' % body
    for answer in (
        await send(alice, "PUT", wrapped, "bad"),
        await send(alice, "PATCH", wrapped, "good"),
        await send(alice, "PATCH", wrapped),
    ):
        assert answer.status_code == 400, answer.text
        assert sentence in answer.json()["message"]
    assert (rows(alice), stored(alice)) == (before, known)
    assert (await send(alice, "POST", b"", "good")).status_code == STARTED
    assert [options["nodes"] for options in Recording.started] == [2]


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"user_options": null}', b'{"display_name": "x"}'])
async def test_a_start_without_options_has_the_stored_ones_even_where_the_form_demands_some(
    alice: Visitor, body: bytes
) -> None:
    DEMANDED.add(alice.name)
    assert (await send(alice, "POST", {"nodes": 3, "hours": 5}, "stored")).status_code == STARTED
    assert (await send(alice, "POST", body, "stored")).status_code == STARTED
    assert [(options["nodes"], options["hours"]) for options in Recording.started] == [(3, 5), (3, 5)]
    assert (await send(alice, "POST", {"user_options": {}}, "stored")).status_code == 400
    for method, status in {"PUT": 201, "PATCH": 200}.items():
        answer = await send(alice, method, {"display_name": "y", "user_options": {}}, "fresh")
        assert answer.status_code == status


async def test_a_long_name_for_display_is_not_stored(alice: Visitor) -> None:
    assert (await send(alice, "PUT", {"display_name": "Good"}, "good")).status_code == 201
    for method in ("POST", "PATCH"):
        answer = await send(alice, method, {"display_name": "x" * 1_000_000}, "good")
        assert answer.status_code == 400
        assert "at most 255 characters" in answer.json()["message"]
    assert alice.hub.users[alice.name].orm_spawners["good"].display_name == "Good"


@pytest.mark.parametrize("server", ["", "named"])
async def test_after_a_refusal_an_empty_start_has_what_was_accepted_before(
    alice: Visitor, server: str
) -> None:
    assert (await send(alice, "POST", {"nodes": 3}, server)).status_code == STARTED
    assert (await send(alice, "POST", {"nodes": 98}, server)).status_code == 400
    assert (await alice.post({"nodes": "97"}, server)).status_code == 400
    assert (await send(alice, "POST", b"", server)).status_code == STARTED
    assert [options["nodes"] for options in Recording.started] == [3, 3]
    assert 'value="3"' in (await alice.page(server)).text


@pytest.mark.parametrize("way", ["rest", "page"])
@pytest.mark.parametrize("earlier", [{}, {"nodes": 2}])
async def test_options_that_the_last_check_refuses_are_not_kept(
    alice: Visitor, way: str, earlier: dict[str, int]
) -> None:
    """A right that is lost between the two checks of a start: JupyterHub has stored the options by then."""
    if earlier:
        assert (await send(alice, "POST", earlier)).status_code == STARTED
    RIGHTS["lost"] = iter([True])
    options = {"nodes": "4", "account": "lost"}
    answer = await (alice.post(options) if way == "page" else send(alice, "POST", options))
    assert answer.status_code == 400
    assert "lost is closed." in answer.text
    assert next(RIGHTS["lost"], None) is None, "it was open at the first check"
    assert (stored(alice)[""] or {}) == earlier
    assert (await send(alice, "POST", b"")).status_code == STARTED
    assert Recording.started[-1]["nodes"] == earlier.get("nodes", 1)
    assert Recording.started[-1]["account"] is None


async def test_accepted_options_that_are_refused_later_stay_the_users_choice(alice: Visitor) -> None:
    RIGHTS["open"] = iter([True, True])
    assert (await send(alice, "POST", {"account": "open"})).status_code == STARTED
    for _ in range(2):
        answer = await send(alice, "POST", b"")
        assert answer.status_code == 400
        assert "open is closed." in answer.json()["message"]
    assert stored(alice)[""] == {"account": "open"}


async def test_others_learn_nothing_of_a_server_by_bad_options(alice: Visitor, hub: JupyterHub) -> None:
    bob = await Visitor(hub, "bob").log_in()
    for method in ("POST", "PUT", "PATCH"):
        answer = await bob.http.request(
            method,
            f"/hub/api/users/{alice.name}/servers/x",
            content=b'{"user_options": {"nodes": 99}}',
            headers={"X-XSRFToken": bob.xsrf},
        )
        assert answer.status_code in (403, 404)
        assert "nodes" not in answer.text
    await bob.http.aclose()


# -- large bodies

BIG = b"x" * (LARGEST_BODY + 1)


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(body), 1 << 16):
        yield body[first : first + (1 << 16)]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(
    "path",
    ["/hub/spawn/{name}", "/hub/api/users/{name}/server", "/hub/api/users/{name}/servers/x", "/hub/login"],
)
async def test_a_large_body_is_discarded_as_it_comes_in_whoever_sends_it(
    alice: Visitor, path: str, is_chunked: bool
) -> None:
    before, known = rows(alice), stored(alice)
    for start in (b"", b"nodes=1&account=", b'{"user_options": {"account": "'):
        body = start + BIG
        content = in_pieces(body) if is_chunked else body
        answer = await alice.http.post(path.format(name=alice.name), content=content)
        assert answer.status_code == 413
        assert "at most 4 MiB" in answer.json()["message"]
    assert (rows(alice), stored(alice)) == (before, known)
    assert (await alice.page()).status_code == 200


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/hub/api/users/{name}/server", "", b'{"account": [' + b"[]," * 200_000 + b"1]}"),
        ("/hub/api/users/{name}/tokens", "application/json", b"[" * 200_000),
        (
            "/hub/api/users/{name}/server",
            "text/plain",
            json.dumps(dict.fromkeys(map(str, range(200_000)))).encode(),
        ),
        ("/hub/login", "application/x-www-form-urlencoded", b"a&" * 200_000),
        ("/hub/spawn/{name}", "Application/X-WWW-Form-Urlencoded; charset=utf-8", b"a=1&" * 200_000),
    ],
)
async def test_a_body_of_very_many_values_is_discarded_before_it_is_parsed(
    alice: Visitor, path: str, kind: str, body: bytes
) -> None:
    """A few megabytes of brackets took seconds to parse."""
    headers = {"X-XSRFToken": alice.xsrf} | ({"Content-Type": kind} if kind else {})
    answer = await alice.http.post(path.format(name=alice.name), content=body, headers=headers)
    assert answer.status_code == 413
    assert "100,000 values" in answer.json()["message"]


async def test_a_long_text_may_have_any_characters_but_the_field_refuses_it(alice: Visitor) -> None:
    for text in ("x" * 1_000_000, "," * 90_000, "<&" * 40_000):
        answer = await send(alice, "POST", {"account": text})
        assert answer.status_code == 400 and "account: Too long" in answer.json()["message"]


async def test_a_large_upload_is_discarded(alice: Visitor) -> None:
    file = {"account": ("evil.txt", b"x" * 20_000_000, "text/plain")}
    answer = await alice.http.post(f"/hub/spawn/{alice.name}?_xsrf={alice.xsrf}", files=file)
    assert answer.status_code == 413


async def test_a_connection_serves_again_after_a_large_body(alice: Visitor) -> None:
    """Also where the proxy keeps the connection open."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with httpx.AsyncClient(base_url=alice.http.base_url, limits=limits) as one:
        assert (await one.post("/hub/api/users/x/server", content=BIG)).status_code == 413
        assert (await one.get("/hub/health")).status_code == 200
