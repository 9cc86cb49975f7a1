"""The page that says how to reach a server from elsewhere, and the tokens that people make there."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator
from html import escape, unescape
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm

from flatirons.hub.handlers.connect import SETTINGS_KEY, ConnectSettings, ssh_commands
from flatirons.slurm_form.form import slurm_form
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import pretending, with_slurm

in_module = pytest.mark.asyncio(loop_scope="module")
DAY_S = 24 * 3600
PAGE = "/hub/flatirons/connect/alice/work"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.Authenticator.admin_users = {"root"}
    config.JupyterHub.load_roles = [
        {"name": "watch", "scopes": ["access:servers!server=alice/work"], "users": ["carol"]},
    ]
    config.Authenticator.allowed_users = {"carol"}
    async with running(config) as hub:
        with_slurm(hub, FakeSlurm())
        yield hub


async def visitor(hub: JupyterHub, name: str) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, name).log_in()
    yield someone
    await someone.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    """Alice, who has the server `work`, and no token yet."""
    async for someone in visitor(hub, "alice"):
        hub.users["alice"].get_or_create_spawner("work", "work")
        for token in hub.users["alice"].api_tokens:
            if token.expires_at and token.client_id == "jupyterhub":
                hub.db.delete(token)
        hub.db.commit()
        yield someone


@pytest_asyncio.fixture(loop_scope="module")
async def bob(hub: JupyterHub) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "bob"):
        yield someone


async def page(who: Visitor, path: str = PAGE) -> str:
    answer = await who.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


async def make(who: Visitor, server: str = "alice/work", **fields: str) -> httpx.Response:
    """Makes a token as the page's form does; the redirect isn't followed."""
    body = {"_xsrf": who.xsrf, "note": "", "seconds": str(DAY_S), **fields}
    return await who.http.post(f"/hub/flatirons/connect-token/{server}", data=body)


def pasted(html: str, what: str) -> str:
    """What one of the page's blocks shows, as it is copied; "" if it isn't there."""
    found = re.search(rf'<pre[^>]* id="paste-{what}"[^>]*>(.*?)</pre>', html, re.DOTALL)
    return unescape(found[1]) if found else ""


def keys(html: str) -> list[str]:
    return re.findall(r'data-token="([^"]*)"', html)


async def as_token(hub: JupyterHub, token: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=Visitor(hub, "").http.base_url) as http:
        return await http.get(f"/hub/api{path}", headers={"Authorization": f"token {token}"})


def scopes(model: dict[str, Any]) -> list[str]:
    """What a token may do besides saying whose it is, which JupyterHub adds to those that reach a server."""
    return [
        each for each in model["scopes"] if not each.startswith(("read:users:name!", "read:users:groups!"))
    ]


async def new_token(who: Visitor, **fields: str) -> str:
    """Makes a token and reads it from the page."""
    assert (await make(who, **fields)).status_code == 302
    return pasted(await page(who), "token")


@in_module
async def test_a_token_reaches_that_server_and_sees_its_status_and_nothing_else(
    hub: JupyterHub, alice: Visitor
) -> None:
    token = await new_token(alice)
    who = (await as_token(hub, token, "/user")).json()
    assert who["name"] == "alice"
    assert scopes(who) == ["access:servers!server=alice/work", "read:servers!server=alice/work"]
    seen = (await as_token(hub, token, "/users/alice?include_stopped_servers=true")).json()
    assert list(seen["servers"]) == ["work"] and "roles" not in seen
    for path in ("/users", "/users/bob", "/users/alice/tokens", "/flatirons/operations"):
        assert (await as_token(hub, token, path)).status_code in (403, 404), path


@in_module
async def test_a_token_cant_make_another_nor_start_the_server(hub: JupyterHub, alice: Visitor) -> None:
    token = await new_token(alice)
    async with httpx.AsyncClient(base_url=alice.http.base_url) as http:
        headers = {"Authorization": f"token {token}"}
        for path in (
            "api/users/alice/tokens",
            "api/users/alice/servers/work",
            "flatirons/connect-token/alice/work",
        ):
            assert (await http.post(f"/hub/{path}", headers=headers, json={})).status_code == 403, path


@in_module
async def test_a_token_is_shown_once_in_each_block_that_needs_it(alice: Visitor) -> None:
    await make(alice)
    first, second = await page(alice), await page(alice)
    token = pasted(first, "token")
    assert len(token) >= 32 and first.count(token) == 2
    assert pasted(first, "vscode").endswith(f"work/?token={token}")
    assert token not in second and pasted(second, "token") == ""
    assert pasted(second, "vscode").endswith("work/?token=TOKEN")


@in_module
async def test_a_token_of_one_server_isnt_shown_on_the_page_of_another(
    hub: JupyterHub, alice: Visitor
) -> None:
    hub.users["alice"].get_or_create_spawner("work-2", "work-2")
    await make(alice)
    other = await page(alice, f"{PAGE}-2")
    assert pasted(other, "token") == "" and keys(other) == []
    assert pasted(await page(alice), "token")


@in_module
@pytest.mark.parametrize("days", [1, 7, 30])
async def test_a_token_expires_after_the_time_that_was_chosen(
    hub: JupyterHub, alice: Visitor, days: int
) -> None:
    token = orm.APIToken.find(hub.db, await new_token(alice, seconds=str(days * DAY_S)))
    assert token.expires_in == pytest.approx(days * DAY_S, abs=120)


@in_module
async def test_an_expired_token_is_refused_and_no_longer_listed(hub: JupyterHub, alice: Visitor) -> None:
    secret = await new_token(alice)
    token = orm.APIToken.find(hub.db, secret)
    assert keys(await page(alice)) == [token.api_id]
    token.expires_at = token.created
    hub.db.commit()
    assert keys(await page(alice)) == []
    assert (await as_token(hub, secret, "/user")).status_code == 403


@in_module
@pytest.mark.parametrize("seconds", ["", "1", "-1", "nan", str(31 * DAY_S), "86400.0", "9" * 400])
async def test_a_lifetime_that_the_page_doesnt_offer_is_refused(alice: Visitor, seconds: str) -> None:
    assert (await make(alice, seconds=seconds)).status_code == 400
    assert keys(await page(alice)) == []


@in_module
@pytest.mark.parametrize(
    ("longest", "jupyterhubs", "offered"),
    [
        (30 * DAY_S, 0, ["1 day", "7 days", "30 days"]),
        (7 * DAY_S, 0, ["1 day", "7 days"]),
        (30 * DAY_S, 8 * DAY_S, ["1 day", "7 days"]),
        (7200, 0, ["2 hours"]),
    ],
)
async def test_no_lifetime_is_longer_than_the_site_and_jupyterhub_allow(
    hub: JupyterHub, alice: Visitor, longest: int, jupyterhubs: int, offered: list[str]
) -> None:
    settings = hub.tornado_application.settings
    before = dict(settings)
    settings[SETTINGS_KEY] = ConnectSettings(longest_token=longest)
    settings["token_expires_in_max_seconds"] = jupyterhubs
    try:
        html = await page(alice)
        assert (await make(alice, seconds=str(60 * DAY_S))).status_code == 400
    finally:
        settings.clear()
        settings.update(before)
    assert re.findall(r'<option value="\d+">([^<]*)</option>', html) == offered


@in_module
async def test_tokens_are_listed_with_their_notes_and_can_be_revoked_one_by_one(
    hub: JupyterHub, alice: Visitor
) -> None:
    first = await new_token(alice, note="laptop")
    second = await new_token(alice, note="<b>")
    html = await page(alice)
    newest, oldest = keys(html)
    assert "<strong>laptop</strong>" in html and "<strong>&lt;b&gt;</strong>" in html
    body = {"_xsrf": alice.xsrf, "key": oldest}
    answer = await alice.http.post("/hub/flatirons/connect-revoke/alice/work", data=body)
    assert (answer.status_code, answer.headers["location"]) == (302, f"{PAGE}#tokens")
    assert keys(await page(alice)) == [newest]
    assert (await as_token(hub, first, "/user")).status_code == 403
    assert (await as_token(hub, second, "/user")).status_code == 200


@in_module
@pytest.mark.parametrize("key", ["", "a0", "a999999", "x", "a1 OR 1=1"])
async def test_revoking_what_isnt_there_changes_nothing(alice: Visitor, key: str) -> None:
    await new_token(alice)
    body = {"_xsrf": alice.xsrf, "key": key}
    assert (await alice.http.post("/hub/flatirons/connect-revoke/alice/work", data=body)).status_code == 302
    assert len(keys(await page(alice))) == 1


@in_module
async def test_tokens_that_were_made_elsewhere_are_neither_listed_nor_revoked(
    hub: JupyterHub, alice: Visitor
) -> None:
    reach = "access:servers!server=alice/work"
    user = hub.users["alice"]
    others = [
        user.new_api_token(expires_in=DAY_S),
        user.new_api_token(scopes=[reach]),  # never expires
        user.new_api_token(scopes=[reach, "servers!server=alice/work"], expires_in=DAY_S),
    ]
    assert keys(await page(alice)) == []
    for other in others:
        token = orm.APIToken.find(hub.db, other)
        body = {"_xsrf": alice.xsrf, "key": token.api_id}
        await alice.http.post("/hub/flatirons/connect-revoke/alice/work", data=body)
        assert orm.APIToken.find(hub.db, other) is not None
        hub.db.delete(token)
    hub.db.commit()


@in_module
async def test_nobody_without_rights_sees_the_page_or_makes_a_token(
    hub: JupyterHub, alice: Visitor, bob: Visitor
) -> None:
    before = hub.db.query(orm.APIToken).count()
    assert (await bob.http.get(PAGE)).status_code == 404
    assert (await make(bob)).status_code == 404
    assert (await make(alice, "alice/nosuch")).status_code == 404
    assert (await make(alice, "nosuch/work")).status_code == 404
    assert (await make(alice, _xsrf=bob.xsrf)).status_code == 403
    assert hub.db.query(orm.APIToken).count() == before


@in_module
@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("root", ["access:servers!server=alice/work", "read:servers!server=alice/work"]),
        ("carol", ["access:servers!server=alice/work"]),
    ],
    ids=["an administrator", "somebody who may access it"],
)
async def test_whoever_may_access_the_server_makes_a_token_of_their_own(
    hub: JupyterHub, alice: Visitor, name: str, held: list[str]
) -> None:
    async for other in visitor(hub, name):
        token = await new_token(other)
        who = (await as_token(hub, token, "/user")).json()
        assert (who["name"], scopes(who)) == (name, held)
        assert "This is a server of alice." in await page(other)
    assert keys(await page(alice)) == []


@in_module
async def test_a_server_that_doesnt_run_leads_to_its_start(alice: Visitor) -> None:
    html = await page(alice)
    assert "This server isn't running" in html
    assert 'href="/hub/spawn/alice/work"' in html
    assert 'href="/hub/spawn/alice"' in await page(alice, "/hub/flatirons/connect/alice/")


@in_module
@pytest.mark.parametrize("title", ["x" * 200, "خادم التحليل", "<i>'\"&"])
async def test_a_server_is_called_by_the_title_that_its_user_gave_it(
    hub: JupyterHub, alice: Visitor, title: str
) -> None:
    hub.users["alice"].get_or_create_spawner("titled", "titled").orm_spawner.display_name = title
    html = await page(alice, "/hub/flatirons/connect/alice/titled")
    assert f">{escape(title)}</em></h1>" in html.replace("&#39;", "&#x27;").replace("&#34;", "&quot;")
    assert pasted(html, "vscode").endswith("/user/alice/titled/?token=TOKEN")


@in_module
@pytest.mark.parametrize("name", ["x" * 200, "خادم", "a b", "a'b\"<i>", "semi;colon$(id)"])
async def test_names_from_earlier_releases_of_jupyterhub_are_quoted_in_all_that_is_pasted(
    hub: JupyterHub, alice: Visitor, name: str
) -> None:
    hub.db.add(orm.Spawner(user=hub.users["alice"].orm_user, name=name))
    hub.db.commit()
    where = f"alice/{quote(name, safe='')}"
    html = await page(alice, f"/hub/flatirons/connect/{where}")
    assert "<i>" not in html
    for what in ("vscode", "connect", "curl", "python"):
        assert f"/user/alice/{quote(name, safe='@~')}/" in pasted(html, what)
    answer = await make(alice, where)
    assert answer.status_code == 302
    token = pasted(await page(alice, answer.headers["location"].partition("#")[0]), "token")
    who = (await as_token(hub, token, "/user")).json()
    assert f"access:servers!server=alice/{name}" in who["scopes"]


@in_module
async def test_what_is_pasted_into_a_shell_holds_no_token_even_when_one_was_just_made(alice: Visitor) -> None:
    await make(alice)
    html = await page(alice)
    token = pasted(html, "token")
    for what in ("connect", "variable", "curl", "python"):
        assert pasted(html, what) and token not in pasted(html, what)
    compile(pasted(html, "python"), "pasted", "exec")


@pytest.mark.parametrize(
    ("options", "scheme", "tunnel", "shell"),
    [
        (ConnectSettings(), "http", None, None),
        (ConnectSettings(ssh_jump="in.org"), "http", "ssh -N -L 8888:n1:30001 ann@in.org", ""),
        (ConnectSettings(ssh_jump="in.org"), "https", "", ""),
        (
            ConnectSettings(ssh_jump="in.org", ssh_to_nodes=True),
            "http",
            "ssh -N -L 8888:n1:30001 -J ann@in.org ann@n1",
            "ssh -J ann@in.org ann@n1",
        ),
        (ConnectSettings(ssh_jump="in.org", ssh_to_nodes=True), "https", "", "ssh -J ann@in.org ann@n1"),
    ],
)
def test_ssh_is_shown_as_far_as_the_site_allows_it_and_the_server_answers(
    options: ConnectSettings, scheme: str, tunnel: str | None, shell: str | None
) -> None:
    shown = ssh_commands(options, "ann", "n1", f"{scheme}://n1:30001", "/user/ann/")
    assert (shown.get("tunnel"), shown.get("shell")) == (tunnel, shell)


def test_an_account_of_any_name_is_one_word_of_the_command() -> None:
    options = ConnectSettings(ssh_jump="in.org")
    shown = ssh_commands(options, "DOM\\a b;id", "n1", "http://[fe80::1]:3", "/user/x/")
    assert shlex.split(shown["tunnel"]) == ["ssh", "-N", "-L", "8888:[fe80::1]:3", "DOM\\a b;id@in.org"]
