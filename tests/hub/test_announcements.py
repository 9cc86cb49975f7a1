"""Announcements on the pages of a hub in this process: who sees, posts and removes them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
import pytest_asyncio

from flatirons.hub.announcements import SETTING, Announcements
from flatirons.slurm_form.form import slurm_form
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import pretending

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "</textarea></div><script>alert('x')</script>\" onfocus=\"x https://example.org/?a=1&b=2'"
POST = "/hub/flatirons/operations/announcements"
NAMES = ("alice", "bob", "root")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}, "blanca": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.JupyterHub.template_vars.update({"announcement": "<b>From JupyterHub's configuration</b>"})
    config.JupyterHub.load_roles = [{"name": "operators", "scopes": ["admin:servers"], "users": ["root"]}]
    async with running(config) as hub:
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(hub: JupyterHub) -> AsyncIterator[dict[str, Visitor]]:
    """Everybody, logged in."""
    found = {name: await Visitor(hub, name).log_in() for name in NAMES}
    yield found
    for each in found.values():
        await each.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def root(hub: JupyterHub, people: dict[str, Visitor]) -> AsyncIterator[Visitor]:
    """The operator; there are no announcements before and after."""
    yield people["root"]
    for each in store(hub).all():
        store(hub).remove(each.id)


def store(hub: JupyterHub) -> Announcements:
    found: Announcements = hub.tornado_settings[SETTING]
    return found


async def posted(root: Visitor, text: str, **more: str) -> httpx.Response:
    return await root.http.post(POST, data={"text": text, "_xsrf": root.xsrf, **more})


async def seen(visitor: Visitor, path: str = "/hub/home") -> str:
    """The announcements on a page."""
    page = (await visitor.http.get(path)).text
    found = re.search(r'<section[^>]*id="flatirons-announcements".*?</section>', page, re.DOTALL)
    return found[0] if found else ""


@pytest.mark.parametrize("path", ["/hub/home", "/hub/spawn/alice", "/hub/token", "/hub/user/alice/nosuch"])
async def test_an_announcement_is_on_top_of_every_page(
    people: dict[str, Visitor], root: Visitor, path: str
) -> None:
    assert (await posted(root, "Maintenance on Monday")).status_code == 302
    page = (await people["alice"].http.get(path, follow_redirects=True)).text
    assert page.count("Maintenance on Monday") == 1
    assert page.index("Maintenance on Monday") < page.index("<h1" if "<h1" in page else 'type="submit"')
    assert "<b>From JupyterHub's configuration</b>" in page, "JupyterHub's own announcement stays"


async def test_the_page_for_the_log_in_shows_what_is_for_everybody_only(
    hub: JupyterHub, root: Visitor
) -> None:
    await posted(root, "for everybody")
    await posted(root, "for bob", user="bob")
    async with Visitor(hub, "nobody").http as http:
        page = (await http.get("/hub/login")).text
    assert "for everybody" in page and "for bob" not in page


async def test_a_message_to_one_person_is_shown_to_nobody_else_and_its_reader_can_dismiss_it(
    people: dict[str, Visitor], root: Visitor
) -> None:
    alice, bob = people["alice"], people["bob"]
    await posted(root, "Your job writes to /tmp", user="bob")
    assert "Your job" not in await seen(alice)
    assert (await alice.http.get("/hub/api/flatirons/announcements")).json() == {"announcements": []}
    [message] = (await bob.http.get("/hub/api/flatirons/announcements")).json()["announcements"]
    assert message["is_personal"] and message["until"] > message["at"] and "author" not in message
    assert "Dismiss" in await seen(bob)

    path, body = "/hub/flatirons/announcements/dismiss", {"id": message["id"]}
    await alice.http.post(path, data={**body, "_xsrf": alice.xsrf})
    assert (await bob.http.post(path, data=body)).status_code == 403, "without the token"
    assert "Your job" in await seen(bob)
    before = f"http://{bob.http.base_url.netloc.decode()}/hub/spawn/bob?x=1"
    answer = await bob.http.post(path, data={**body, "_xsrf": bob.xsrf}, headers={"Referer": before})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/spawn/bob?x=1")
    assert await seen(bob) == ""


@pytest.mark.parametrize(
    "before", ["https://elsewhere.example/hub/home", "//x", "", "http://[", "/etc/passwd"]
)
async def test_dismissing_never_leads_to_another_site(people: dict[str, Visitor], before: str) -> None:
    bob = people["bob"]
    answer = await bob.http.post(
        "/hub/flatirons/announcements/dismiss",
        data={"id": "1", "_xsrf": bob.xsrf},
        headers={"Referer": before},
    )
    assert (answer.status_code, answer.headers["Location"]) == (302, "/hub/home")


async def test_hostile_text_is_shown_as_text_everywhere(people: dict[str, Visitor], root: Visitor) -> None:
    await posted(root, HOSTILE, level="warning")
    for page in (await seen(people["alice"]), (await root.http.get("/hub/flatirons/operations")).text):
        assert "<script>alert(" not in page and 'onfocus="x' not in page
        assert 'href="https://example.org/?a=1&amp;b=2"' in page
        assert "<script>alert('x')</script>" in unescape(page)


async def test_a_refused_announcement_is_shown_again_with_what_was_typed(
    hub: JupyterHub, root: Visitor
) -> None:
    answer = await posted(root, HOSTILE, user='no"such', level="warning", until="2030-01-02T03:04")
    assert answer.status_code == 400
    assert "There is no user &#34;no&#34;such&#34; here." in answer.text
    assert f">{HOSTILE}</textarea>" in unescape(answer.text) and "<script>alert(" not in answer.text
    assert 'value="no&#34;such"' in answer.text and 'value="2030-01-02T03:04"' in answer.text
    assert '<option value="warning" selected>' in answer.text
    assert store(hub).all() == []


async def test_an_operator_removes_an_announcement(hub: JupyterHub, root: Visitor) -> None:
    await posted(root, "over soon")
    [made] = store(hub).all()
    path = f"{POST}/remove"
    assert (await root.http.post(path, data={"id": made.id})).status_code == 403, "without the token"
    assert (await root.http.post(path, data={"id": made.id, "_xsrf": root.xsrf})).status_code == 302
    assert store(hub).all() == []
    assert (await root.http.post(path, data={"id": made.id, "_xsrf": root.xsrf})).status_code == 302


async def test_only_operators_post_and_remove(
    hub: JupyterHub, people: dict[str, Visitor], root: Visitor
) -> None:
    alice = people["alice"]
    assert (await posted(alice, "mine")).status_code == 403
    assert (await root.http.post(POST, data={"text": "without the token"})).status_code == 403
    await posted(root, "theirs")
    [made] = store(hub).all()
    body = {"id": made.id, "_xsrf": alice.xsrf}
    assert (await alice.http.post(f"{POST}/remove", data=body)).status_code == 403
    assert [each.text for each in store(hub).all()] == ["theirs"]


async def api(hub: JupyterHub, method: str, path: str, body: Any = None) -> httpx.Response:
    """A call of a program of the operator's."""
    token = hub.users["root"].new_api_token(scopes=["admin:servers"])
    async with httpx.AsyncClient(base_url=Visitor(hub, "").http.base_url) as http:
        headers = {"Authorization": f"Bearer {token}"}
        return await http.request(method, f"/hub/api/flatirons{path}", json=body, headers=headers)


async def test_a_program_posts_and_removes(
    hub: JupyterHub, people: dict[str, Visitor], root: Visitor
) -> None:
    body = {"text": "x", "level": "warning", "user": "bob", "until": "2030-01-02T03:04:00+00:00"}
    made = await api(hub, "POST", "/operations/announcements", body)
    assert made.status_code == 201
    assert made.json().items() >= {"user": "bob", "author": "root", "until": 1893553440.0}.items()
    [listed] = (await api(hub, "GET", "/operations")).json()["announcements"]
    assert (listed["text"], listed["user"], listed["author"]) == ("x", "bob", "root")
    path = f"/operations/announcement/{made.json()['id']}"
    assert (await api(hub, "DELETE", path)).status_code == 204
    assert (await api(hub, "DELETE", path)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        *(None, [], "x", {}, {"text": ""}, {"text": 1}, {"text": "x", "more": 1}, {"text": "x", "user": 1}),
        *({"text": "x", "until": []}, {"text": "x", "until": "soon"}, {"text": "x", "user": "nosuch"}),
        *({"text": "x", "level": "danger"}, {"text": "x" * 2000}, {"text": "x", "until": 1e400}),
    ],
)
async def test_a_body_that_isnt_an_announcement_is_refused(hub: JupyterHub, root: Visitor, body: Any) -> None:
    text = b"" if body is None else None
    if isinstance(body, dict) and body.get("until") == float("inf"):
        text = b'{"text": "x", "until": 1e400}'
    token = hub.users["root"].new_api_token(scopes=["admin:servers"])
    async with httpx.AsyncClient(base_url=Visitor(hub, "").http.base_url) as http:
        answer = await http.post(
            "/hub/api/flatirons/operations/announcements",
            headers={"Authorization": f"Bearer {token}"},
            **({"content": text} if text is not None else {"json": body}),
        )
    assert answer.status_code == 400, answer.text
    assert store(hub).all() == []
