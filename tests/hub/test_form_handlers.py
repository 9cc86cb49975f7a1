"""Every URL that Flatirons adds to a hub: who may call it, and that others can't change anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jupyterhub import orm

from flatirons.forms.page import STATIC
from flatirons.hub.handlers import handlers, server_events
from flatirons.servers.report import Report
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, running
from tests.hub.pretending import Pretending, pretending, with_slurm

in_module = pytest.mark.asyncio(loop_scope="module")

SAVE = {"_save_preset": "1", "_preset_name": "saved", "cpus": "1"}
FORM_PATH, ESTIMATE_PATH, BESIDE_PATH = "/flatirons/form", "/flatirons/estimate", "/flatirons/beside"


@dataclass(frozen=True)
class Call:
    """How a URL is called for alice's server, and what each caller gets.

    `narrow` is a token of alice that can only read her name; `server` is one that can do anything with her
    server `work` and nothing else. Pages take no token at all (BaseHandler), calls of programs do.
    """

    method: str
    path: str
    stranger: int
    bob: int
    alice: int
    admin: int
    without_xsrf: int
    narrow: int
    server: int


FORMS = {
    "stranger": 403,
    "bob": 404,
    "alice": 200,
    "admin": 200,
    "without_xsrf": 403,
    "narrow": 403,
    "server": 403,
}
CALLERS = ("stranger", "bob", "alice", "admin", "without_xsrf", "narrow", "server")
BOOTING = dict.fromkeys(CALLERS, 400)  # what they post is no boot
STARTERS = dict.fromkeys(CALLERS, 403)
READERS = {"bob": 404, "alice": 200, "admin": 200, "without_xsrf": 200}
OPERATORS = {"bob": 403, "alice": 403, "admin": 200, "without_xsrf": 403}
POSTING = {**dict.fromkeys(CALLERS, 403), "admin": 400}  # what they post is no announcement
PAGES = {"stranger": 302, "narrow": 302, "server": 302}
TOKENS = {"stranger": 403, "narrow": 403}
EVERYBODY = dict.fromkeys(CALLERS, 200)
LINKS = {"bob": 404, "alice": 302, "admin": 302, "without_xsrf": 302, **PAGES}  # to the ordinary form
BACK = {**FORMS, "alice": 302, "admin": 302}  # to the page with the tokens
UNNAMED = {**FORMS, "alice": 400, "admin": 400}  # another server without a name
ENDS = {**FORMS, "alice": 303, "admin": 303, "server": 404}  # as JupyterHub's API, which takes tokens
EVENTS = {**EVERYBODY, "stranger": 403, "narrow": 403, "server": 403}
TABLE = {
    "/api/flatirons/boot": Call("POST", "/api/flatirons/boot", **BOOTING),
    "/api/flatirons/ready": Call("POST", "/api/flatirons/ready", **STARTERS),
    "/api/flatirons/usage": Call("POST", "/api/flatirons/usage", **STARTERS),
    "/api/flatirons/end": Call("POST", "/api/flatirons/end", **STARTERS),
    FORM_PATH: Call("POST", f"{FORM_PATH}?user=alice", **FORMS),
    BESIDE_PATH: Call("GET", f"{BESIDE_PATH}?user=alice", **LINKS),
    f"{BESIDE_PATH}/start": Call("POST", f"{BESIDE_PATH}/start?user=alice", **UNNAMED),
    ESTIMATE_PATH: Call("POST", f"{ESTIMATE_PATH}?user=alice", **FORMS),
    "/flatirons/static/([A-Za-z.]+)": Call("GET", "/flatirons/static/form.js", **EVERYBODY),
    "/flatirons/pages/([A-Za-z_.]+)": Call("GET", "/flatirons/pages/flatirons.css", **EVERYBODY),
    "/flatirons/report": Call("GET", "/flatirons/report/alice", **READERS, **PAGES),
    "/api/flatirons/report": Call("GET", "/api/flatirons/report/alice", **READERS, **TOKENS, server=404),
    "/flatirons/start": Call("GET", "/flatirons/start/alice", **LINKS),
    "/flatirons/sooner": Call("GET", "/flatirons/sooner/alice", **READERS, **PAGES),
    "/api/flatirons/start": Call("GET", "/api/flatirons/start/alice", **READERS, **TOKENS, server=404),
    "/flatirons/operations": Call("GET", "/flatirons/operations", **OPERATORS, **PAGES),
    "/flatirons/operations/stop": Call(
        "POST", "/flatirons/operations/stop", **{**FORMS, "bob": 400, "alice": 400, "admin": 400}
    ),
    "/api/flatirons/operations": Call("GET", "/api/flatirons/operations", **OPERATORS, **TOKENS, server=403),
    "/flatirons/operations/announcements": Call("POST", "/flatirons/operations/announcements", **POSTING),
    "/flatirons/operations/announcements/remove": Call(
        "POST", "/flatirons/operations/announcements/remove", **POSTING
    ),
    "/flatirons/announcements/dismiss": Call(
        "POST", "/flatirons/announcements/dismiss", **{**FORMS, "bob": 400, "alice": 400, "admin": 400}
    ),
    "/api/flatirons/announcements": Call(
        "GET", "/api/flatirons/announcements", **{**EVERYBODY, "stranger": 403}
    ),
    "/api/flatirons/operations/announcements": Call(
        "POST",
        "/api/flatirons/operations/announcements",
        **{**POSTING, "admin": 403},  # a form is no JSON
    ),
    "/api/flatirons/operations/announcement": Call(
        "DELETE", "/api/flatirons/operations/announcement/12ab", **{**POSTING, "admin": 404}
    ),
    "/flatirons/connect": Call("GET", "/flatirons/connect/alice", **READERS, **PAGES),
    "/flatirons/flatirons-connect.pyz": Call("GET", "/flatirons/flatirons-connect.pyz", **EVERYBODY),
    "/flatirons/connect-token": Call("POST", "/flatirons/connect-token/alice", **BACK),
    "/flatirons/connect-revoke": Call("POST", "/flatirons/connect-revoke/alice", **BACK),
    "/flatirons/servers/new": Call(
        "POST", "/flatirons/servers/new", **{**FORMS, "bob": 303, "alice": 303, "admin": 303}
    ),
    "/flatirons/servers/stop": Call("POST", "/flatirons/servers/stop/alice", **ENDS),
    "/flatirons/servers/events": Call("GET", "/flatirons/servers/events", **EVENTS),
    "/api/flatirons/servers": Call("GET", "/api/flatirons/servers/alice", **READERS, **TOKENS, server=404),
    "/flatirons/servers/delete": Call(
        "POST", "/flatirons/servers/delete/alice", **{**ENDS, "alice": 400, "admin": 400}
    ),
}
"""By the URL's pattern, without what names a user and a server."""

PROGRAMS = {**TOKENS, "without_xsrf": 403, "bob": 404, "alice": 204, "admin": 204, "server": 404}
ALSO = {
    "POST /flatirons/report": Call(
        "POST", "/flatirons/report/alice", **{**FORMS, "alice": 303, "admin": 303}
    ),
    "POST /flatirons/start": Call("POST", "/flatirons/start/alice", **UNNAMED),  # no button
    "DELETE /api/flatirons/report": Call("DELETE", "/api/flatirons/report/alice", **PROGRAMS),
}
"""What a URL of the table does besides."""


@pytest.fixture(scope="module", autouse=True)
def short_streams() -> Iterator[None]:
    """A stream of events ends soon, so that it can be called like anything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_events, "LIFETIME_SECONDS", 0.1)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterHub]:
    form = slurm_form({}, {"summit": {}, "blanca": {}}, {"python": {}})
    config = pretending(form, tmp_path_factory.mktemp("state"), environments={"python": {}})
    config.JupyterHub.services = [{"name": "robot", "api_token": "r" * 32}]
    config.JupyterHub.load_roles = [{"name": "robots", "scopes": ["servers"], "services": ["robot"]}]
    config.Authenticator.admin_users = {"root"}
    async with running(config) as hub:
        with_slurm(hub, FakeSlurm())
        yield hub


async def visitor(hub: JupyterHub, name: str) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, name).log_in()
    yield someone
    await someone.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "alice"):
        yield someone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(hub: JupyterHub) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "bob"):
        yield someone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def root(hub: JupyterHub) -> AsyncIterator[Visitor]:
    async for someone in visitor(hub, "root"):
        yield someone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stranger(hub: JupyterHub) -> AsyncIterator[Visitor]:
    """A visitor who has only seen the log-in page."""
    someone = Visitor(hub, "alice")
    await someone.http.get("/hub/login")
    yield someone
    await someone.http.aclose()


def everything(hub: JupyterHub) -> tuple[Any, ...]:
    """What a call could change: users, servers, started servers, saved choices."""
    hub.db.expire_all()
    servers = {(row.user.name, row.name, row.server_id) for row in hub.db.query(orm.Spawner)}
    users = {row.name for row in hub.db.query(orm.User)}
    folder: Path = FormHooks.of(hub.users["alice"].spawner)._presets.folder  # type: ignore[union-attr,assignment]
    files = {path.name: path.read_bytes() for path in folder.glob("*")}
    return servers, users, list(Pretending.started), files


async def called(who: Visitor, call: Call, *, xsrf: bool = True, body: Any = None) -> httpx.Response:
    headers = {"X-XSRFToken": who.xsrf} if xsrf else {}
    return await who.http.request(call.method, f"/hub{call.path}", headers=headers, data=body or SAVE)


async def called_by_token(hub: JupyterHub, token: str, call: Call) -> httpx.Response:
    async with httpx.AsyncClient(base_url=Visitor(hub, "").http.base_url) as http:
        headers = {"Authorization": f"Bearer {token}"}
        return await http.request(call.method, f"/hub{call.path}", headers=headers, data=SAVE)


def key_of(pattern: str) -> str:
    return pattern.partition("/(?P<")[0]


def test_every_handler_is_in_the_table() -> None:
    assert {key_of(pattern) for pattern, *_ in handlers} == set(TABLE)
    assert len({pattern for pattern, *_ in handlers}) == len(handlers)


CALLS = pytest.mark.parametrize("call", [*TABLE.values(), *ALSO.values()], ids=[*TABLE, *ALSO])


def methods_of(path: str) -> set[str]:
    return {each.method for each in (*TABLE.values(), *ALSO.values()) if each.path == path}


@in_module
@CALLS
async def test_each_caller_gets_what_the_table_says(
    hub: JupyterHub, alice: Visitor, bob: Visitor, root: Visitor, stranger: Visitor, call: Call
) -> None:
    before = everything(hub)
    assert (await called(stranger, call)).status_code == call.stranger
    assert (await called(bob, call)).status_code == call.bob
    assert (await called(alice, call, xsrf=False)).status_code == call.without_xsrf
    narrow = hub.users["alice"].new_api_token(scopes=["read:users:name!user=alice"])
    assert (await called_by_token(hub, narrow, call)).status_code == call.narrow
    hub.users["alice"].get_or_create_spawner("work", "work")
    before = (everything(hub)[0], *before[1:])
    server = hub.users["alice"].new_api_token(
        scopes=["servers!server=alice/work", "read:servers!server=alice/work"]
    )
    assert (await called_by_token(hub, server, call)).status_code == call.server
    assert (await called_by_token(hub, "no such token", call)).status_code in (call.stranger, 403)
    assert everything(hub) == before
    assert (await called(root, call)).status_code == call.admin
    assert (await called(alice, call)).status_code == call.alice


@in_module
@CALLS
async def test_no_other_method_does_anything(hub: JupyterHub, alice: Visitor, call: Call) -> None:
    before = everything(hub)
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods_of(call.path):
        answer = await alice.http.request(
            method, f"/hub{call.path}", headers={"X-XSRFToken": alice.xsrf}, content=b""
        )
        assert answer.status_code in (403, 405), method
    assert everything(hub) == before


@in_module
@pytest.mark.parametrize("path", [FORM_PATH, ESTIMATE_PATH])
async def test_another_users_xsrf_token_is_refused(
    hub: JupyterHub, alice: Visitor, bob: Visitor, path: str
) -> None:
    before = everything(hub)
    answer = await alice.http.post(f"/hub{path}", data={**SAVE, "_xsrf": bob.xsrf})
    assert answer.status_code == 403
    assert everything(hub) == before


@in_module
@pytest.mark.parametrize("path", [FORM_PATH, ESTIMATE_PATH])
@pytest.mark.parametrize(
    "user",
    ["nosuch", "*", "a%2Fb", "alice%21server=alice/", "bob%2Cuser=alice", "..", "%3Cb%3E", "x" * 300],
)
async def test_an_unknown_user_gives_404_and_isnt_made(
    hub: JupyterHub, alice: Visitor, root: Visitor, path: str, user: str
) -> None:
    before = everything(hub)
    for who in (alice, root):
        answer = await called(who, Call("POST", f"{path}?user={user}", **FORMS))
        assert answer.status_code in (400, 404)
        assert "<b>" not in answer.text
    assert everything(hub) == before


@in_module
@pytest.mark.parametrize("path", [FORM_PATH, ESTIMATE_PATH])
async def test_an_empty_user_gives_404(alice: Visitor, path: str) -> None:
    answer = await called(alice, Call("POST", f"{path}?user=", **FORMS))
    assert answer.status_code in (200, 400, 404)


@in_module
async def test_without_a_user_it_is_the_callers_own_server(hub: JupyterHub, alice: Visitor) -> None:
    answer = await called(alice, Call("POST", FORM_PATH, **FORMS))
    assert answer.status_code == 200
    assert "user=alice&amp;server=" in answer.text


@in_module
@pytest.mark.parametrize(
    "server",
    ["a%20b", "UPPER", "..", "%2e%2e%2fx", "x" * 300, "%3Cb%3E", "-x", "a/b", "a%0Ab", "%F0%9F%98%80"],
)
async def test_a_server_with_an_impossible_name_is_refused_and_isnt_made(
    hub: JupyterHub, alice: Visitor, server: str
) -> None:
    before = everything(hub)
    for path in (FORM_PATH, ESTIMATE_PATH):
        answer = await called(alice, Call("POST", f"{path}?user=alice&server={server}", **FORMS))
        assert answer.status_code == 404
        assert "<b>" not in answer.text
    assert everything(hub) == before


@in_module
async def test_filling_in_a_form_makes_no_server(hub: JupyterHub, bob: Visitor) -> None:
    """Otherwise the form's refresh would create a named server again that was just deleted."""
    before = everything(hub)
    for path in (FORM_PATH, ESTIMATE_PATH):
        assert (await called(bob, Call("POST", f"{path}?server=fresh", **FORMS))).status_code == 404
    assert everything(hub) == before
    assert (await bob.page("fresh")).status_code == 200
    assert (await called(bob, Call("POST", f"{FORM_PATH}?server=fresh", **FORMS))).status_code == 200


@in_module
@pytest.mark.parametrize("user", ["", "?user=alice"])
async def test_a_service_cant_fill_in_a_form(hub: JupyterHub, user: str) -> None:
    before = everything(hub)
    for path in (FORM_PATH, ESTIMATE_PATH):
        assert (
            await called_by_token(hub, "r" * 32, Call("POST", f"{path}{user}", **FORMS))
        ).status_code == 403
    assert everything(hub) == before


@in_module
@pytest.mark.parametrize("path", ["/flatirons/report", "/api/flatirons/report"])
@pytest.mark.parametrize("whose", ["/nosuch", "/alice/nosuch", "/%2e%2e/x", "/alice/%3Cb%3E", "/alice/%00"])
async def test_a_report_of_an_unknown_server_gives_404(
    hub: JupyterHub, alice: Visitor, root: Visitor, path: str, whose: str
) -> None:
    before = everything(hub)
    for who in (alice, root):
        answer = await who.http.get(f"/hub{path}{whose}")
        assert answer.status_code == 404
        assert "<b>" not in answer.text
    assert everything(hub) == before


@in_module
@pytest.mark.parametrize("path", ["/flatirons/report", "/api/flatirons/report"])
async def test_a_named_server_that_was_stopped_has_a_report(
    hub: JupyterHub, alice: Visitor, path: str
) -> None:
    hub.users["alice"].get_or_create_spawner("work", "work")
    hub.users["alice"].spawners.pop("work", None)  # as User.stop() does
    assert (await alice.http.get(f"/hub{path}/alice/work")).status_code == 200


REPORTS = [Report("failed", "It failed.", job_id=number) for number in (9, 8, 7)]


@pytest_asyncio.fixture(loop_scope="module")
async def ended(hub: JupyterHub) -> SlurmSpawner:
    """alice's server `gpu`, which has three reports."""
    spawner = hub.users["alice"].get_or_create_spawner("gpu", "gpu")
    spawner.reports = REPORTS
    await spawner.save()
    return spawner


def unread(hub: JupyterHub) -> list[int]:
    """The jobs whose reports Home would show, as the database has them."""
    hub.db.expire_all()
    stored = hub.users["alice"].orm_spawners["gpu"].state["reports"]
    return [each["job_id"] for each in stored if not each["dismissed"]]


@in_module
@pytest.mark.parametrize(("job", "left"), [("", []), ("9", []), ("8", [9]), ("5", [9, 8, 7])])
async def test_a_form_dismisses_the_reports_up_to_the_one_that_it_shows_and_leads_home(
    hub: JupyterHub, alice: Visitor, ended: SlurmSpawner, job: str, left: list[int]
) -> None:
    body = {"job": job, "_xsrf": alice.xsrf}
    answer = await alice.http.post("/hub/flatirons/report/alice/gpu", data=body)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/hub/home")
    assert unread(hub) == left


@in_module
async def test_a_program_dismisses_a_report_which_can_still_be_read(
    hub: JupyterHub, alice: Visitor, ended: SlurmSpawner
) -> None:
    headers = {"X-XSRFToken": alice.xsrf}
    url = "/hub/api/flatirons/report/alice/gpu"
    assert (await alice.http.delete(f"{url}?job=8", headers=headers)).status_code == 204
    reports = (await alice.http.get(url)).json()["reports"]
    assert [(each["job_id"], each["dismissed"]) for each in reports] == [(9, False), (8, True), (7, True)]


@in_module
@pytest.mark.parametrize("job", ["x", "-1", "9" * 5000, "\u0669", "9;8"])
async def test_a_job_that_isnt_a_number_dismisses_nothing(
    hub: JupyterHub, alice: Visitor, ended: SlurmSpawner, job: str
) -> None:
    body = {"job": job, "_xsrf": alice.xsrf}
    answer = await alice.http.post("/hub/flatirons/report/alice/gpu", data=body)
    assert answer.status_code == 400
    assert unread(hub) == [9, 8, 7]


@in_module
async def test_a_dismissal_leads_nowhere_but_to_this_hub(alice: Visitor, ended: SlurmSpawner) -> None:
    for following in ("https://elsewhere.example/", "//elsewhere.example/"):
        body = {"next": following, "_xsrf": alice.xsrf}
        answer = await alice.http.post("/hub/flatirons/report/alice/gpu", data=body)
        assert answer.headers["Location"] == "/hub/home"


def test_only_files_of_the_form_are_served() -> None:
    assert {path.name for path in STATIC.iterdir()} == {
        *("form.css", "form.js", "htmx.min.js", "htmx.LICENSE")
    }


@in_module
@pytest.mark.parametrize("file", sorted(path.name for path in STATIC.iterdir()))
async def test_a_script_is_served_unchanged_to_everybody(stranger: Visitor, file: str) -> None:
    answer = await stranger.http.get(f"/hub/flatirons/static/{file}?v=1")
    assert (answer.status_code, answer.content) == (200, (STATIC / file).read_bytes())
    assert "immutable" in answer.headers["Cache-Control"]
    unversioned = await stranger.http.get(f"/hub/flatirons/static/{file}")
    assert unversioned.headers["Cache-Control"] == "no-cache"


@in_module
@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "%2e%2e/page.py", "..%2fpage.py", "%2e%2e%2f%2e%2e%2f__init__.py", "/etc/passwd"),
        *(
            "%2Fetc%2Fpasswd",
            "nosuch.js",
            "....//page.py",
            "%5c..%5cpage.py",
            "~root",
        ),
    ],
)
async def test_no_other_file_is_served(stranger: Visitor, path: str) -> None:
    answer = await stranger.http.get(f"/hub/flatirons/static/{path}")
    assert answer.status_code in (302, 400, 403, 404), answer.text
    assert "import " not in answer.text and "root:" not in answer.text


@in_module
async def test_a_null_byte_names_no_file(stranger: Visitor) -> None:
    assert (await stranger.http.get("/hub/flatirons/static/form.js%00")).status_code in (400, 404)
