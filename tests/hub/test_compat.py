"""Every name of JupyterHub that `compat` wraps exists in a running JupyterHub, with the expected meaning."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import pytest
import pytest_asyncio
from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.app import JupyterHub as App
from jupyterhub.objects import Server
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawner import Spawner
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from traitlets import Float, Unicode

from flatirons.hub.proxy import WatchedProxy
from flatirons.spawners.jupyterhub import compat
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, running

in_module = pytest.mark.asyncio(loop_scope="module")


class Recording(Spawner):  # type: ignore[misc]
    """A spawner without processes, whose server is the hub itself; records what `compat` returns."""

    options_form = Unicode("nothing to choose")  # else a look at the page starts it
    http_timeout = Float(5)
    is_running = False
    said: dict[str, Any] = {}
    url = Unicode()

    async def start(self) -> str:
        self.said["start"] = (compat.is_start_pending(self), compat.is_check_pending(self))
        self.is_running = True
        return self.hub.url.removesuffix("/hub/")  # type: ignore[no-any-return]

    async def stop(self, now: bool = False) -> None:
        self.said["stop"] = compat.is_stop_pending(self)
        self.is_running = False

    async def poll(self) -> int | None:
        return None if self.is_running else 1

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "spawn_id": f"spawn {self.name}", "is_running": self.is_running}


class Credentials(compat.UnidentifiedHandler):
    """Answers with what JupyterHub's handler knows about the caller."""

    async def get(self) -> None:
        known = [self.current_user, sorted(self.expanded_scopes), self.parsed_scopes]
        self.finish(json.dumps(known))

    async def post(self) -> None:
        self.set_status(418)
        self.finish("")


class Users(APIHandler):  # type: ignore[misc]
    """Answers with what `compat` returns for the request."""

    async def get(self) -> None:
        alice = compat.user_named(self, "alice")
        assert alice is not None and alice is self.current_user
        answer = {
            "nobody": compat.user_named(self, "nobody"),
            "settings": compat.settings_of_handler(self) is compat.settings_of(alice),
            "proxy": compat.proxy_address(self),
            "trusted": sorted(compat.trusted_addresses(self)),
        }
        self.finish(json.dumps(answer))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[JupyterHub]:
    config = configuration(
        spawner_class=Recording,
        allow_named_servers=True,
        trusted_downstream_ips=["10.1.2.3"],
        extra_handlers=[(r"/credentials", Credentials), (r"/users", Users)],
    )
    async with running(config) as hub:
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alice(hub: JupyterHub) -> AsyncIterator[Visitor]:
    someone = await Visitor(hub, "alice").log_in()
    yield someone
    await someone.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def spawner(hub: JupyterHub, alice: Visitor) -> AsyncIterator[Recording]:
    """Alice's default server, which runs."""
    answer = await alice.rest({})
    assert answer.status_code == 201, answer.text
    found: Recording = alice.spawner()
    yield found
    if found.server is not None:
        await found.user.stop("")


# -- what JupyterHub is doing with a server


@in_module
async def test_a_server_is_named_as_in_jupyterhubs_log(spawner: Recording) -> None:
    assert compat.log_name(spawner) == "alice"
    named = compat.spawner_of(spawner.user, "work")
    assert compat.log_name(named) == "alice:work"


@in_module
async def test_a_server_was_started_at_a_moment_in_utc_and_one_that_stopped_at_none(
    spawner: Recording,
) -> None:
    started = compat.started_at(spawner)
    assert started and abs((datetime.now(UTC) - started).total_seconds()) < 600
    await spawner.user.stop("")
    assert compat.started_at(spawner) is None


@in_module
async def test_a_pending_check_is_what_jupyterhub_shows_as_pending(spawner: Recording) -> None:
    assert not compat.is_check_pending(spawner) and spawner.ready
    compat.set_check_pending(spawner, True)
    assert (spawner.pending, compat.is_check_pending(spawner)) == ("check", True)
    compat.set_check_pending(spawner, False)
    assert spawner.pending is None


@in_module
async def test_jupyterhub_checks_at_its_start_the_servers_of_an_earlier_process(
    hub: JupyterHub, spawner: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pending check covers the poll, the first answer is awaited next, and callbacks are added last."""
    said: list[Any] = []

    async def poll() -> None:
        said.append(("poll", compat.is_check_pending(spawner), compat.has_poll_callbacks(spawner)))

    monkeypatch.setattr(spawner, "poll", poll)
    spawner._callbacks = []
    await hub.init_spawners()
    assert said == [("poll", True, False)]
    assert not compat.is_check_pending(spawner) and compat.has_poll_callbacks(spawner)


@in_module
async def test_a_server_that_is_started_again_during_that_check_is_not_stopped_by_it(
    hub: JupyterHub, spawner: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = spawner.user

    async def poll() -> int:
        monkeypatch.undo()  # only the first poll
        compat.set_check_pending(spawner, False)
        assert not compat.is_forgotten(spawner)
        await user.stop("")
        await user.spawn("")
        assert compat.is_forgotten(spawner) and spawner.server is not None
        compat.detach(spawner)
        return 1

    monkeypatch.setattr(spawner, "poll", poll)
    await hub.init_spawners()
    assert spawner.server is None
    assert user.spawners[""].is_running and user.spawners[""].server is not None
    await user.stop("")


@in_module
async def test_a_start_that_is_begun_is_pending_and_its_failure_is_kept(spawner: Recording) -> None:
    start = asyncio.get_running_loop().create_future()
    compat.begin_start(spawner, start)
    assert spawner.pending == "spawn" and compat.is_start_pending(spawner)
    start.set_exception(ValueError("no"))
    compat.end_start(spawner, has_failed=True)
    assert spawner.pending is None
    await spawner.user.stop("")
    assert spawner.user.get_spawner("") is spawner, "JupyterHub keeps it for the page that shows the error"
    assert spawner.user.get_spawner("", replace_failed=True) is not spawner


@in_module
async def test_delete_cancels_a_start_that_is_begun(alice: Visitor, spawner: Recording) -> None:
    start = asyncio.get_running_loop().create_future()
    compat.begin_start(spawner, start)
    start.add_done_callback(lambda _: compat.end_start(spawner, has_failed=False))
    answer = await alice.http.delete("/hub/api/users/alice/server", headers={"X-XSRFToken": alice.xsrf})
    assert answer.status_code in (202, 204)
    assert start.cancelled()


@in_module
async def test_a_successful_start_leaves_nothing_behind(spawner: Recording) -> None:
    compat.begin_start(spawner, asyncio.get_running_loop().create_future())
    compat.end_start(spawner, has_failed=False)
    user = spawner.user
    await user.stop("")
    assert user.get_spawner("") is not spawner


@in_module
async def test_starts_and_stops_are_pending_while_jupyterhub_calls_the_spawner(spawner: Recording) -> None:
    assert spawner.said["start"] == (True, False)
    await spawner.user.stop("")
    assert spawner.said["stop"] is True
    assert not (compat.is_start_pending(spawner) or compat.is_stop_pending(spawner))


@in_module
async def test_the_first_answer_is_pending_while_jupyterhub_waits_for_it(
    alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, wait_up = [], Server.wait_up

    def noting(server: Server, *args: Any, **given: Any) -> Any:
        said.append(compat.is_answer_pending(alice.spawner()))
        return wait_up(server, *args, **given)

    monkeypatch.setattr(Server, "wait_up", noting)
    answer = await alice.rest({})
    assert answer.status_code == 201, answer.text
    assert said == [True]
    assert not compat.is_answer_pending(alice.spawner())
    await alice.spawner().user.stop("")


@in_module
async def test_a_server_that_answered_has_poll_callbacks(spawner: Recording) -> None:
    assert compat.has_poll_callbacks(spawner)


# -- what the hub's parts offer


@in_module
async def test_settings_are_the_same_for_all_users_and_hold_what_we_look_for(
    hub: JupyterHub, alice: Visitor
) -> None:
    settings = compat.settings_of(hub.users["alice"])
    assert compat.cookie_secret(settings) == b"x" * 32
    assert {"proxy", "oauth_provider", "app"} <= set(settings)


@in_module
async def test_a_path_is_served_that_the_hub_was_configured_with(spawner: Recording) -> None:
    assert compat.serves(spawner, "/users")
    assert not compat.serves(spawner, "/others")


@in_module
async def test_a_filter_sees_what_the_hub_logs_and_its_tracebacks(hub: JupyterHub) -> None:
    seen: list[logging.LogRecord] = []

    class Seeing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(record)
            return False

    added = Seeing()
    compat.add_log_filter(added)
    compat.add_log_filter(added)
    try:
        hub.log.error("refused", exc_info=ValueError("no"))
    finally:
        hub.log.removeFilter(added)
    assert [(record.msg, record.exc_info and record.exc_info[0]) for record in seen] == [
        ("refused", ValueError)
    ]


@in_module
async def test_a_route_is_added_where_the_server_listens_and_removed_with_it(
    hub: JupyterHub, spawner: Recording
) -> None:
    await hub.proxy.delete_route(spawner.proxy_spec)
    await compat.add_route(spawner)
    assert (await hub.proxy.get_all_routes())[spawner.proxy_spec]["target"] == spawner.server.host
    await compat.remove_route(spawner)
    assert spawner.proxy_spec not in await hub.proxy.get_all_routes() and spawner.is_running
    await compat.add_route(spawner)
    await compat.remove_server(spawner)
    assert spawner.proxy_spec not in await hub.proxy.get_all_routes()
    assert not spawner.active and not spawner.is_running


@in_module
async def test_a_server_whose_stop_is_expected_is_not_ready_until_jupyterhub_has_stopped_it(
    spawner: Recording,
) -> None:
    assert spawner.ready
    compat.expect_stop(spawner)
    assert (spawner.ready, spawner.pending) == (False, "stop")
    await compat.remove_server(spawner)
    assert not spawner.pending


@in_module
async def test_the_servers_of_a_user_have_names_routes_and_states(
    hub: JupyterHub, spawner: Recording
) -> None:
    user = compat.user_of_hub(hub, "alice")
    assert user is spawner.user and compat.user_of_hub(hub, "nobody") is None
    compat.spawner_of(user, "gpu")
    user.spawners.pop("gpu")
    assert {"", "gpu"} <= set(compat.server_names(user)) and "gpu" not in user.spawners
    assert [compat.is_active(user, name) for name in ("", "gpu")] == [True, False]
    assert [compat.is_routed(user, name) for name in ("", "gpu")] == [True, False]
    assert "gpu" not in user.spawners, "a look makes no spawner"
    assert [compat.route_of(user, name) for name in ("", "gpu")] == ["/user/alice/", "/user/alice/gpu/"]
    assert compat.route_of(user, "") == spawner.proxy_spec
    compat.show_page(spawner)  # another proxy than ours has no pages


@in_module
async def test_a_renewed_token_takes_the_place_of_the_one_that_the_server_was_started_with(
    hub: JupyterHub, spawner: Recording
) -> None:
    """It may do the same; seen before: it couldn't ask its own server, and the old one was valid for ever."""
    old = orm.APIToken.find(hub.db, spawner.api_token)
    client = hub.db.query(orm.OAuthClient).filter_by(identifier=spawner.oauth_client_id).one()
    scopes, note, redirect = set(old.scopes), old.note, client.redirect_uri
    assert "access:servers!server=alice/" in scopes
    spawner.api_token = ""  # a restarted hub has only its hash
    await compat.renew_token(spawner)
    new = orm.APIToken.find(hub.db, spawner.api_token)
    assert (new.user.name, set(new.scopes), new.note) == ("alice", scopes, note)
    assert [each.id for each in new.user.api_tokens if each.note == note] == [new.id]
    assert orm.compare_token(client.secret, spawner.api_token) and client.redirect_uri == redirect
    assert client.allowed_scopes == ["access:servers!server=alice/"]


@in_module
@pytest.mark.parametrize("is_revoked", [True, False], ids=["revoked", "may do more than its user"])
async def test_a_token_that_cannot_be_renewed_is_replaced_by_one_for_the_server_alone(
    hub: JupyterHub, spawner: Recording, is_revoked: bool
) -> None:
    """It is on its user's page of tokens, and roles may change while the hub is down and the job waits."""
    old = orm.APIToken.find(hub.db, spawner.api_token)
    if is_revoked:
        hub.db.delete(old)
    else:
        old.scopes = ["admin:users"]
    hub.db.commit()
    spawner.api_token = ""
    await compat.renew_token(spawner)
    new = orm.APIToken.find(hub.db, spawner.api_token)
    assert new.user.name == "alice"
    assert set(new.scopes) == {"users:activity!user", "access:servers!server=alice/"}


@in_module
async def test_a_server_has_answered_by_any_answer_and_not_by_silence(
    spawner: Recording, unused_tcp_port: int
) -> None:
    assert await compat.has_answered(spawner)
    spawner.http_timeout = 0.3
    compat.correct_address(spawner, "127.0.0.1", unused_tcp_port)
    assert not await compat.has_answered(spawner)


@in_module
async def test_a_request_that_hangs_is_no_answer(spawner: Recording) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1") as silent:
        compat.correct_address(spawner, *silent.sockets[0].getsockname()[:2])
        spawner.http_timeout = 0.3
        assert not await compat.has_answered(spawner)


@in_module
async def test_an_address_is_corrected_for_jupyterhub_and_its_proxy(spawner: Recording) -> None:
    right = spawner.server.host
    assert compat.correct_address(spawner, spawner.server.ip, spawner.server.port) == ""
    assert compat.correct_address(spawner, "node7", 4321) == right
    compat.set_scheme(spawner, "https")
    assert spawner.server.host == "https://node7:4321"
    assert (spawner.orm_spawner.server.ip, spawner.orm_spawner.server.port) == ("node7", 4321)


# -- the database


@in_module
async def test_states_of_many_servers_are_stored_by_one_commit_and_read_back(
    hub: JupyterHub, spawner: Recording
) -> None:
    other = compat.spawner_of(spawner.user, "work")
    commits: list[Any] = []
    count = commits.append  # one object: SQLAlchemy finds a listener by it
    event.listen(hub.db, "before_commit", count)
    try:
        compat.store_states([spawner, other])
    finally:
        event.remove(hub.db, "before_commit", count)
    assert len(commits) == 1
    hub.db.expire_all()
    assert other.orm_spawner.state["spawn_id"] == "spawn work"
    assert spawner.user.get_spawner("").orm_spawner.state["is_running"] is True
    assert [state["spawn_id"] for state in compat.stored_states(spawner.user)] == ["spawn "], "one runs"


@in_module
@pytest.mark.parametrize(
    "call", [lambda each: compat.store_states([each]), lambda each: compat.stored_states(each.user)]
)
async def test_a_database_that_fails_is_rolled_back_and_raises(
    hub: JupyterHub, spawner: Recording, call: Callable[[Any], Any]
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("", {}, Exception("disk full"))

    event.listen(hub.db.bind, "before_cursor_execute", fail)
    try:
        with pytest.raises(OperationalError):
            call(spawner)
    finally:
        event.remove(hub.db.bind, "before_cursor_execute", fail)
    call(spawner)


# -- requests


@in_module
async def test_a_handler_without_identification_knows_no_user(hub: JupyterHub, alice: Visitor) -> None:
    assert (await alice.http.get("/hub/credentials")).json() == [None, [], {}]
    assert (await alice.http.post("/hub/credentials")).status_code == 418, "it asks for no XSRF token"


@in_module
async def test_only_its_failed_calls_are_logged(
    hub: JupyterHub, alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[int] = []
    monkeypatch.setitem(
        hub.tornado_settings, "log_function", lambda handler: logged.append(handler.get_status())
    )
    monkeypatch.setitem(
        hub.tornado_application.settings, "log_function", hub.tornado_settings["log_function"]
    )
    await alice.http.get("/hub/credentials")
    await alice.http.post("/hub/credentials")
    assert logged == [418]


@in_module
async def test_a_handler_finds_users_and_what_the_hub_trusts(hub: JupyterHub, alice: Visitor) -> None:
    answer = await alice.http.get("/hub/users")
    assert answer.json() == {"nobody": None, "settings": True, "proxy": "", "trusted": ["10.1.2.3"]}
    assert "api_url" in ConfigurableHTTPProxy.class_trait_names()


@in_module
async def test_a_user_has_its_default_server_and_those_that_were_made(
    hub: JupyterHub, alice: Visitor
) -> None:
    user = hub.users["alice"]
    assert compat.has_server(user, "")
    assert not compat.has_server(user, "new")
    assert compat.spawner_of(user, "new") is user.spawners["new"]
    assert compat.has_server(user, "new")


# -- what is derived from JupyterHub's classes elsewhere in the package


def test_jupyterhub_calls_check_routes_with_what_our_proxy_takes() -> None:
    assert list(signature(WatchedProxy.check_routes).parameters) == list(
        signature(ConfigurableHTTPProxy.check_routes).parameters
    )


def test_the_command_line_of_jupyterhub_is_what_flatirons_hub_calls() -> None:
    assert callable(App.launch_instance)
