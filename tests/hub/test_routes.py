"""Who answers below /user/NAME/SERVER/ while servers come and go: a hub, with proxy and Slurm in memory."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.hub.proxy import PATHS_OF_JUPYTER, WatchedProxy
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, running
from tests.job_scripts import starter_config
from tests.unit.spawners.run.test_server_run import QUICK
from tests.waiting import until

in_module = pytest.mark.asyncio(loop_scope="module")

END = {"exit_code": None, "signal": 9, "message": "", "log": ["its last words"]}


class MemoryProxy(WatchedProxy):
    """The proxy's API in memory: configurable-http-proxy's routes, and its choice of the longest one."""

    should_start = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table: dict[str, dict[str, Any]] = {}

    async def api_request(self, path: str, method: str = "GET", body: Any = None) -> Any:
        if method == "POST":
            self.table[path] = dict(body)
        elif method == "DELETE":
            del self.table[path]  # which the proxy would answer with 404
        table = copy.deepcopy(self.table)

        async def text() -> Any:
            return table

        return SimpleNamespace(json=text)

    def route(self, path: str) -> str:
        """The route that a request takes."""
        while path not in self.table and path != "/":
            path = path.rpartition("/")[0] or "/"
        return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def notebook() -> AsyncIterator[int]:
    """The port of a server that answers as a notebook server does for a path that it doesn't know."""
    listener, port = bind_unused_port()
    server = HTTPServer(Application([]))
    server.add_sockets([listener])
    yield port
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(slurm: FakeSlurm) -> AsyncIterator[JupyterHub]:
    config = configuration(spawner_class=SlurmSpawner, allow_named_servers=True)
    config.JupyterHub.proxy_class = MemoryProxy
    config.ConfigurableHTTPProxy.auth_token = "t0ken"
    config.JupyterHub.template_paths = [str(TEMPLATES)]
    config.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
    config.JupyterHub.extra_handlers = list(handlers)
    config.SlurmSpawner.options_form = "nothing to choose"  # else a look at the page starts the server
    config.SlurmSpawner.clusters = {"summit": {}}
    config.SlurmSpawner.environments = {"python": {"kind": "none"}}
    async with running(config) as hub:
        client = SlurmClient(Cluster("summit"), slurm)
        watcher = Watcher(client, schedule=QUICK)
        watcher.start()
        registry: Registry[ServerRun] = Registry("hub1", {"summit": client}, hub.log, {"summit": watcher})
        hub.users.settings[SETTINGS_KEY] = registry
        yield hub
        hub.proxy._comparisons.stop()
        registry.stop_rounds()
        await watcher.stop()


class Servers:
    """The servers of one user."""

    def __init__(self, hub: JupyterHub, slurm: FakeSlurm, visitor: Visitor, port: int) -> None:
        self.hub, self.slurm, self.visitor, self.port = hub, slurm, visitor, port

    @property
    def name(self) -> str:
        return self.visitor.name

    def run(self, server: str = "") -> ServerRun:
        run: ServerRun = self.visitor.spawner(server).run
        return run

    def key(self, server: str) -> str:
        return f"the secret of the starter of {self.name}/{server}"

    async def submit(self, server: str = "") -> None:
        answer = await self.visitor.rest({}, server)
        assert answer.status_code == 202, answer.text
        await until(lambda: self.visitor.spawner(server).run and self.run(server).job_id)

    async def up(self, server: str = "") -> None:
        """Starts a server; returns when it is ready."""
        await self.submit(server)
        run = self.run(server)
        self.slurm.run_job(run.job_id, "localhost")
        code = starter_config(self.slurm.jobs[run.job_id].script)["code"]
        await self.call("boot", server, {"job_id": run.job_id, "code": code, "key": self.key(server)})
        await self.call("ready", server, {"port": self.port})
        await until(lambda: self.visitor.spawner(server).ready)

    async def call(self, name: str, server: str, body: Any) -> None:
        headers = {"Authorization": f"Bearer {self.key(server)}"}
        answer = await self.visitor.http.post(f"/hub/api/flatirons/{name}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text

    async def delete(self, server: str = "") -> None:
        where = f"servers/{server}" if server else "server"
        answer = await self.visitor.http.delete(
            f"/hub/api/users/{self.name}/{where}", headers={"X-XSRFToken": self.visitor.xsrf}
        )
        assert answer.status_code in (202, 204), answer.text

    def answering(self, server: str = "", path: str = "lab") -> str:
        """Who answers below the server's URL: the "hub", the "default" server or the "named" one."""
        proxy: MemoryProxy = self.hub.proxy
        route = proxy.route("/".join(["/user", self.name, *filter(None, [server, path])]))
        if proxy.table[route]["target"] == self.hub.hub.host:
            return "hub"
        return "named" if server and route == f"/user/{self.name}/{server}" else "default"

    async def page(self, server: str = "") -> Any:
        """What the hub answers there, after its redirects; fails when it sends the visitor back."""
        url = f"/hub/user/{self.name}/{server}/lab".replace("//", "/")
        for _ in range(4):
            answer = await self.visitor.http.get(url)
            if answer.status_code not in (302, 303):
                return answer
            url = answer.headers["Location"]
            assert url.startswith("/hub/"), f"sent to {url}"
        raise AssertionError("redirected in a circle")

    async def stopped(self, server: str) -> None:
        await until(lambda: not self.visitor.spawner(server).active)


@pytest_asyncio.fixture(loop_scope="module")
async def alice(hub: JupyterHub, slurm: FakeSlurm, notebook: int) -> AsyncIterator[Servers]:
    visitor = await Visitor(hub, "alice").log_in()
    made = Servers(hub, slurm, visitor, notebook)
    yield made
    user = hub.users["alice"]
    for spawner in list(user.spawners.values()):
        if spawner.run:
            slurm.end_job(spawner.run.job_id, "CANCELLED")
        await until(lambda spawner=spawner: not spawner.pending)
        if spawner.server is not None:
            await user.stop(spawner.name)
    for server in list(user.orm_spawners):
        if server:
            user.spawners.pop(server, None)
            hub.db.delete(user.orm_spawners[server])
    hub.db.commit()
    await compare(hub)
    await visitor.http.aclose()


async def compare(hub: JupyterHub) -> None:
    await hub.proxy.compare(hub.users, hub._service_map)


@in_module
async def test_a_named_server_that_waits_has_the_hubs_page_although_the_default_server_runs(
    alice: Servers,
) -> None:
    await alice.up()
    assert alice.answering("gpu") == "default", "there is no such server yet"
    await alice.submit("gpu")
    await until(lambda: alice.answering("gpu") == "hub")
    assert alice.answering() == "default"
    page = await alice.page("gpu")
    assert page.status_code == 200 and "<title>Waiting: gpu</title>" in page.text


@in_module
async def test_cancelling_a_waiting_named_server_never_leads_to_the_default_server(
    alice: Servers, slurm: FakeSlurm
) -> None:
    """In the second between the end of the start and the stop, JupyterHub takes the server to be ready."""
    await alice.up()
    await alice.submit("gpu")
    last: dict[str, Any] = {}
    cancelling = asyncio.ensure_future(alice.delete("gpu"))
    progress = f"/hub/api/users/alice/servers/gpu/progress?_xsrf={alice.visitor.xsrf}"
    async with alice.visitor.http.stream("GET", progress) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                last = json.loads(line.removeprefix("data: "))
    assert last["failed"] and "ready" not in last
    while not cancelling.done():
        assert alice.answering("gpu") == "hub"
        await alice.page("gpu")
        await compare(alice.hub)
        await asyncio.sleep(0.05)
    await alice.stopped("gpu")
    assert alice.answering("gpu") == "hub"
    page = await alice.page("gpu")
    assert page.status_code == 424 and "The server was stopped from the hub." in page.text


@in_module
@pytest.mark.parametrize("server", ["", "gpu"])
async def test_when_a_server_says_that_it_ended_the_hub_answers_at_once_with_its_report(
    alice: Servers, slurm: FakeSlurm, server: str
) -> None:
    """Slurm doesn't answer meanwhile: a neighbour who took the port gets no request."""
    await alice.up()
    if server:
        await alice.up(server)
        assert alice.answering(server) == "named"
    run = alice.run(server)
    gates = [slurm.hold("squeue"), slurm.hold("sacct")]
    ending = asyncio.ensure_future(alice.call("end", server, END))
    await until(lambda: alice.answering(server) == "hub", 3)
    await ending
    await compare(alice.hub)
    assert alice.answering(server) == "hub", "JupyterHub's comparison doesn't bring it back"
    page = await alice.page(server)
    assert "its last words" in page.text and "is not running" in page.text
    for gate in gates:
        gate.set()
    slurm.end_job(run.job_id, "FAILED", exit_code="137:0")
    await alice.stopped(server)
    assert alice.answering(server) == "hub"
    page = await alice.page(server)
    assert page.status_code == 424 and "its last words" in page.text


@in_module
@pytest.mark.parametrize("server", ["", "gpu"])
async def test_when_slurm_says_so_for_a_starter_that_was_killed_the_hub_answers_before_accounting_does(
    alice: Servers, slurm: FakeSlurm, server: str
) -> None:
    await alice.up()
    if server:
        await alice.up(server)
    gate = slurm.hold("sacct")
    slurm.end_job(alice.run(server).job_id, "FAILED", exit_code="0:9")
    await until(lambda: alice.answering(server) == "hub", 3)
    page = await alice.page(server)
    assert "is not running" in page.text and "signal 9" in page.text
    gate.set()
    await alice.stopped(server)


@in_module
async def test_while_slurm_only_says_that_a_job_is_ending_the_report_of_an_earlier_run_is_not_shown_for_it(
    alice: Servers, slurm: FakeSlurm
) -> None:
    await alice.up("gpu")
    await alice.call("end", "gpu", END)
    slurm.end_job(alice.run("gpu").job_id, "FAILED")
    await alice.stopped("gpu")
    await alice.up("gpu")
    slurm.change(alice.run("gpu").job_id, state="COMPLETING")
    await until(lambda: alice.answering("gpu") == "hub", 3)
    page = await alice.page("gpu")
    assert "is stopping" in page.text and "its last words" not in page.text


@in_module
async def test_a_server_that_ends_while_jupyterhub_adds_its_route_has_none(alice: Servers) -> None:
    await alice.up("gpu")
    await alice.call("end", "gpu", END)
    await alice.hub.proxy.add_route(
        "/user/alice/gpu/", f"http://localhost:{alice.port}", {"user": "alice", "server_name": "gpu"}
    )
    assert alice.answering("gpu") == "hub"


@in_module
async def test_a_named_server_that_jupyter_needs_the_name_of_leaves_it_to_the_default_server(
    alice: Servers, slurm: FakeSlurm
) -> None:
    await alice.up()
    await alice.up("lab")
    slurm.end_job(alice.run("lab").job_id, "COMPLETED")
    await alice.stopped("lab")
    await compare(alice.hub)
    assert "lab" in PATHS_OF_JUPYTER and alice.answering("lab", "") == "default"


@in_module
async def test_the_comparison_brings_pages_back_and_removes_those_of_servers_that_are_gone(
    alice: Servers, slurm: FakeSlurm
) -> None:
    await alice.up()
    await alice.submit("more")
    await alice.submit("gone")
    alice.hub.proxy.table.clear()  # it was restarted
    await compare(alice.hub)
    assert alice.answering() == "default"
    assert (alice.answering("more"), alice.answering("gone")) == ("hub", "hub")
    before = dict(alice.hub.proxy.table)
    await compare(alice.hub)
    assert alice.hub.proxy.table == before
    slurm.end_job(alice.run("gone").job_id, "CANCELLED")
    await alice.stopped("gone")
    user = alice.hub.users["alice"]
    alice.hub.db.delete(user.orm_spawners["gone"])
    alice.hub.db.commit()
    alice.hub.db.expire(user.orm_user)
    await compare(alice.hub)
    assert alice.answering("gone") == "default", "there is no such server any more"


@in_module
async def test_a_stop_that_jupyterhub_does_shows_the_hubs_page_as_well(
    alice: Servers, slurm: FakeSlurm
) -> None:
    await alice.up()
    await alice.up("gpu")
    run = alice.run("gpu")
    stopping = asyncio.ensure_future(alice.delete("gpu"))
    await until(lambda: run.is_stopping)
    assert alice.answering("gpu") == "hub"
    assert "is stopping" in (await alice.page("gpu")).text
    slurm.end_job(run.job_id, "CANCELLED")
    await stopping
    await alice.stopped("gpu")
    assert alice.answering("gpu") == "hub" and alice.answering() == "default"


@in_module
async def test_a_route_that_came_back_although_it_was_removed_is_removed_again(alice: Servers) -> None:
    """As when the hub was restored from a copy, or somebody else writes to the proxy."""
    await alice.up("gpu")
    await alice.call("end", "gpu", END)
    route = {"target": "http://localhost:1", "jupyterhub": True, "user": "alice", "server_name": "gpu"}
    alice.hub.proxy.table["/user/alice/gpu"] = route
    await alice.stopped("gpu")
    await compare(alice.hub)
    assert alice.answering("gpu") == "hub"


@in_module
async def test_without_a_default_server_no_page_is_needed(alice: Servers) -> None:
    await alice.submit("gpu")
    await compare(alice.hub)
    assert alice.answering("gpu") == "hub"
    assert not [path for path in alice.hub.proxy.table if path.startswith("/user/")]


@in_module
async def test_the_proxys_page_for_a_server_that_it_cannot_reach_tries_again(alice: Servers) -> None:
    """Within seconds the hub knows that the server is over, and shows its report at the same URL."""
    page = await alice.visitor.http.get("/hub/error/503?url=/user/alice/lab")
    assert "finding out why" in page.text and 'indexOf("/user/") === 0' in page.text
    assert "appears to be down" in page.text, "JupyterHub's text, for all other pages"
