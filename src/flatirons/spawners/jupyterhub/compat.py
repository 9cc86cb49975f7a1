"""Every name of JupyterHub that Flatirons uses although JupyterHub doesn't document it.

Nothing else in the package uses one, except `compat_handlers`, which changes JupyterHub's own handlers:
tests/unit/spawners/jupyterhub/test_private_names.py reads the source.
tests/hub/test_compat.py fails when a name is gone from the installed JupyterHub or has changed shape, and
pyproject.toml pins the releases that were tried. Begin here when JupyterHub is upgraded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.slugs import is_valid_safe_slug
from jupyterhub.spawner import Spawner
from jupyterhub.user import User
from jupyterhub.utils import AnyTimeoutError, make_ssl_context, url_escape_path, url_path_join
from sqlalchemy import bindparam, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from traitlets import TraitError

# -- what JupyterHub is doing with a server


def log_name(spawner: Spawner) -> str:
    """The server as JupyterHub's log lines name it, "USER" or "USER:SERVER".

    Needless once Spawner has a public name for log lines.
    """
    return str(spawner._log_name)


def is_check_pending(spawner: Spawner) -> bool:
    """Is JupyterHub, after its own start, still checking whether the server lives?

    Needless, like `set_check_pending`, once JupyterHub has a hook for a spawner whose server an earlier hub
    process started: today it polls once, then waits `http_timeout` for an answer, then stops the server.
    """
    return bool(spawner._check_pending)


def set_check_pending(spawner: Spawner, is_pending: bool) -> None:
    """Says whether JupyterHub's check counts as pending. While it does, nobody can stop the server."""
    spawner._check_pending = is_pending


def is_start_pending(spawner: Spawner) -> bool:
    """Is a start of the server under way?"""
    return bool(spawner._spawn_pending)


def begin_start(spawner: Spawner, start: asyncio.Future[None]) -> None:
    """Makes `start` the server's start: pages show its progress, and DELETE cancels it.

    Needless, like `end_start`, once JupyterHub resumes starts that its own restart interrupted.
    """
    spawner._spawn_pending = True
    spawner._spawn_future = start


def end_start(spawner: Spawner, *, has_failed: bool) -> None:
    """Ends what `begin_start` began. A failed start is kept: JupyterHub's page shows its error."""
    spawner._spawn_pending = False
    if not has_failed:
        spawner._spawn_future = None


def is_stop_pending(spawner: Spawner) -> bool:
    """Is JupyterHub stopping the server?"""
    return bool(spawner._stop_pending)


def is_answer_pending(spawner: Spawner) -> bool:
    """Is JupyterHub waiting for the first answer of a server that has just started?

    Needless, like `has_poll_callbacks`, once `Spawner.stop` gets the reason for the stop.
    """
    return bool(spawner._waiting_for_response)


def has_poll_callbacks(spawner: Spawner) -> bool:
    """Does JupyterHub want to know of the server's end? It does as soon as the server has answered."""
    return bool(spawner._callbacks)


# -- what the hub's parts offer


def settings_of(user: User) -> dict[str, Any]:
    """The hub's settings, one dictionary for all users: also the place for what all servers share."""
    settings: dict[str, Any] = user.settings
    return settings


def settings_of_handler(handler: BaseHandler) -> dict[str, Any]:
    """The same dictionary as `settings_of` returns; tornado's own `handler.settings` is a copy."""
    settings: dict[str, Any] = handler.users.settings
    return settings


def cookie_secret(settings: Mapping[str, Any]) -> bytes:
    """The secret that only this hub has, and that survives its restarts."""
    return bytes(settings["cookie_secret"])


def serves(spawner: Spawner, path: str) -> bool:
    """Is `path` one of the hub's `extra_handlers`?"""
    app = settings_of(spawner.user).get("app")
    return any(handler[0] == path for handler in getattr(app, "extra_handlers", ()))


def add_log_filter(added: logging.Filter) -> None:
    """Adds a filter to the hub's log, once however often it is called.

    Needless once JupyterHub logs no traceback for a SpawnException that a hook of the form raises.
    """
    logging.getLogger("JupyterHub").addFilter(added)


_at_start: list[Callable[[Any], None]] = []


def at_start(action: Callable[[Any], None]) -> None:
    """Has `action(app)` called at the start of each hub in this process, once its settings exist.

    Needless once JupyterHub has a hook for its start.
    """
    from jupyterhub.app import JupyterHub

    if not _at_start:
        make_handlers = JupyterHub.init_handlers

        def init_handlers(app: JupyterHub) -> None:
            for each in _at_start:
                each(app)
            make_handlers(app)

        JupyterHub.init_handlers = init_handlers
    if action not in _at_start:
        _at_start.append(action)


def spawner_of_nobody(app: Any) -> Spawner:
    """A spawner of the hub's class for no user, which can do what servers have in common."""
    nobody = SimpleNamespace(name="", settings=app.tornado_settings, db=app.db, spawners={})
    return app.spawner_class(config=app.config, user=nobody)


def tell_spawner_class(app: Any) -> None:
    """Calls `at_hub_start(app)` of the spawner class, if it has such a method; a TraitError ends the hub."""
    tell = getattr(app.spawner_class, "at_hub_start", None)
    try:
        if tell:
            tell(app)
    except TraitError as error:
        app.log.critical("The hub can't start with this configuration: %s", error)
        app.exit(1)


async def add_route(spawner: Spawner) -> None:
    """Adds the server to the proxy. JupyterHub does so itself, except for a start that it doesn't know."""
    await settings_of(spawner.user)["proxy"].add_user(spawner.user, spawner.name)


async def remove_route(spawner: Spawner) -> None:
    """Removes the server from the proxy. JupyterHub does so itself, but first it polls the server."""
    await settings_of(spawner.user)["proxy"].delete_user(spawner.user, spawner.name)


def expect_stop(spawner: Spawner) -> None:
    """Makes the server count as stopping until JupyterHub has stopped it: it isn't ready, nor can it start.

    Needless once JupyterHub takes a spawner's word for the end of its server.
    """
    spawner._stop_pending = True


def show_page(spawner: Spawner) -> None:
    """Makes a WatchedProxy send visitors of a server that isn't up to the hub, from now on."""
    add_page = getattr(settings_of(spawner.user).get("proxy"), "add_page", None)
    if add_page is not None:
        add_page(spawner.user, spawner.name)


async def remove_server(spawner: Spawner) -> None:
    """Removes the server from the proxy and stops it, as JupyterHub does with one that ended by itself."""
    await settings_of(spawner.user)["proxy"].delete_user(spawner.user, spawner.name)
    await spawner.user.stop(spawner.name)


async def renew_token(spawner: Spawner) -> None:
    """Replaces the server's API token, also its OAuth client's secret, with a new one that may do the same.

    A restarted hub has only the hash of the old token. Needless once JupyterHub can renew it itself.
    """
    user, note = spawner.user, f"Server at {spawner.server.base_url}"
    scopes = await spawner._get_oauth_client_allowed_scopes()
    session: Session = user.db
    old = [token for token in user.api_tokens if token.note == note]
    try:
        spawner.api_token = user.new_api_token(note=note, scopes=list(old[-1].scopes))
    except (IndexError, ValueError):  # it was revoked, or its user may do less by now
        spawner.api_token = user.new_api_token(note=note, scopes=_default_scopes(spawner))
    for token in old:
        session.delete(token)
    settings_of(user)["oauth_provider"].add_client(
        spawner.oauth_client_id,
        spawner.api_token,
        url_path_join(user.server_url(spawner.name), "oauth_callback"),
        allowed_scopes=scopes,
        description=note,
    )


def _default_scopes(spawner: Spawner) -> list[str]:
    """What a server's token may do where nothing else is configured: the role `server`, for this server."""
    server = f"{spawner.user.name}/{spawner.name}"
    scopes = orm.Role.find(spawner.user.db, "server").scopes
    return [f"{scope}={server}" if scope.endswith("!server") else scope for scope in scopes]


async def has_answered(spawner: Spawner) -> bool:
    """Does the server answer within `http_timeout` seconds? Asks as JupyterHub's own check does."""
    settings = settings_of(spawner.user)
    key, certificate, authority = (settings.get(f"internal_ssl_{part}") for part in ("key", "cert", "ca"))
    context = make_ssl_context(key, certificate, cafile=authority)
    try:
        async with asyncio.timeout(spawner.http_timeout):  # JupyterHub's own doesn't end a request that hangs
            await spawner.server.wait_up(spawner.http_timeout, True, context, "api")
    except AnyTimeoutError:
        return False
    return True


def set_scheme(spawner: Spawner, scheme: str) -> None:
    """Says whether the server speaks http or https: a restarted hub has stored the rest of its URL."""
    spawner.server.proto = scheme


def correct_address(spawner: Spawner, host: str | None, port: int | None) -> str:
    """Corrects where JupyterHub takes the server to listen; returns the wrong address, "" for a right one.

    JupyterHub stores it with its next commit and tells the proxy when it next compares the routes.
    """
    server = spawner.server
    if server is None or (server.ip, server.port) == (host, port):
        return ""
    wrong = str(server.host)
    server.ip, server.port = host, port
    return wrong


# -- the database

_ROW = orm.Spawner.__table__
_STORE = update(_ROW).where(_ROW.c.id == bindparam("row")).values(state=bindparam("known"))


def store_states(spawners: Iterable[Spawner]) -> None:
    """Stores the state of each spawner, all by one UPDATE and one commit; raises SQLAlchemyError.

    JupyterHub stores a state only at its own moments, which are too late for a job's id. The unit of work of
    its session (a graph of which row depends on which) took a fifth of the hub's time in a burst of starts.
    Needless once JupyterHub has a call that stores a spawner's state.
    """
    known = [(spawner.orm_spawner, spawner.get_state(), spawner.user.db) for spawner in spawners]
    session: Session = known[0][2]
    try:
        session.connection().execute(_STORE, [{"row": row.id, "known": state} for row, state, _ in known])
        for row, state, _ in known:
            set_committed_value(row, "state", state)  # the session may have held an older state to be stored
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise


def hub_url(settings: Mapping[str, Any]) -> str:
    """Where servers reach the hub; "" for settings that aren't those of a running hub."""
    return str(getattr(settings.get("hub"), "url", ""))


def session_of(settings: Mapping[str, Any]) -> Session | None:
    """The session of the hub's database; None for settings that aren't those of a running hub."""
    return settings.get("db")


def stored_states(owner: Any) -> list[Mapping[str, Any]]:
    """The stored state of each server that the hub has, of all users; raises SQLAlchemyError.

    `owner` has the database's session as its `db`: any user, or the hub itself.
    """
    session: Session = owner.db
    query = session.query(orm.Spawner).filter(orm.Spawner.server != None)  # noqa: E711  SQLAlchemy's way
    try:
        return [row.state or {} for row in query]
    except SQLAlchemyError:
        session.rollback()
        raise


def stored_options(spawner: Spawner) -> dict[str, Any]:
    """The options that the server's next start gets if it is given none."""
    row = getattr(spawner, "orm_spawner", None)
    return dict(getattr(row, "user_options", None) or {})


def restore_options(spawner: Spawner, options: Mapping[str, Any]) -> None:
    """Stores options again in place of those of a start, which JupyterHub stores before it has them checked.

    Needless once JupyterHub stores options after `apply_user_options` took them.
    """
    spawner.user_options = dict(options)
    if stored_options(spawner) == options:
        return
    spawner.orm_spawner.user_options = dict(options)
    session: Session = spawner.user.db
    try:
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise


def current_spawner(spawner: Spawner) -> Any:
    """The spawner that stands for the server now, None when the server was deleted.

    JupyterHub forgets a spawner whose server has stopped, and makes another when it next needs one. Two that
    store their state would overwrite each other's. Only for a forgotten one is the database read, which may
    raise SQLAlchemyError.
    """
    user = spawner.user
    if any(each is spawner for each in user.spawners.values()):
        return spawner
    return user.spawners[spawner.name] if spawner.name in user.orm_spawners else None


def is_forgotten(spawner: Spawner) -> bool:
    """Has JupyterHub stopped this server, and forgotten its spawner? A new one may have started it again."""
    return spawner.user.spawners.get(spawner.name) is not spawner


def detach(spawner: Spawner) -> None:
    """Makes a forgotten spawner see no server: the row of its database is that of the new spawner's server.

    Needless once JupyterHub's check at its start looks at the server that the user has by then.
    """
    spawner.orm_spawner = spawner._server = None


# -- all servers of a user


def user_of_hub(app: Any, name: str) -> User | None:
    """The user of this name, None when the hub has no such user (any more)."""
    return app.users.get(name)


def server_names(user: User) -> list[str]:
    """The names of all servers that the user has, "" for the default server; whether or not they run."""
    return list(user.orm_spawners)


def started_at(spawner: Spawner) -> datetime | None:
    """When the server was started, None for one that doesn't run."""
    started = spawner.orm_spawner.started  # without a time zone, in UTC
    return started.replace(tzinfo=UTC) if started else None


def is_active(user: User, server_name: str) -> bool:
    """Does this server run, start or stop?"""
    spawner = user.spawners.get(server_name)  # indexing would make one
    return spawner is not None and spawner.active


async def may_add_server(handler: BaseHandler, user: User) -> bool:
    """May the user have one more named server?"""
    if not handler.allow_named_servers:
        return False
    limit = await handler.get_current_user_named_server_limit()
    return bool(limit <= 0 or len([name for name in user.orm_spawners if name]) < limit)


async def stop_server(handler: BaseHandler, spawner: Spawner) -> None:
    """Stops the server as its user's click would; returns when it has stopped, or can't be stopped."""
    if not is_stop_pending(spawner):
        await handler.stop_single_user(spawner.user, spawner.name)
    if spawner._stop_future:
        await asyncio.wait([spawner._stop_future])


async def settled(spawner: Spawner) -> None:
    """Returns when JupyterHub has noticed that a start was cancelled, or after a second.

    It ends what it calls pending some steps after the start's future has ended, without an event; of a start
    that a restarted hub has taken up, also the check.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while spawner.pending and spawner.pending != "stop":  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def end_server(handler: BaseHandler, spawner: Spawner) -> bool:
    """Stops the server or cancels its start, as DELETE of the REST API does; False if that is impossible now.

    Returns within about two seconds, while a long stop goes on. Needless once a handler of ours can call what
    that DELETE does.
    """
    was_starting = is_start_pending(spawner)
    if was_starting and spawner._spawn_future:
        spawner._spawn_future.cancel()
        await settled(spawner)
    if is_stop_pending(spawner):
        return True
    if spawner.pending:
        return False
    if was_starting or spawner.active:  # after a cancelled start nothing is active, but its job still waits
        stop = asyncio.ensure_future(handler.stop_single_user(spawner.user, spawner.name))
        _stops.add(stop)
        stop.add_done_callback(_stops.discard)
        await asyncio.wait([stop], timeout=1)
        if stop.done():
            stop.result()
    return True


_stops: set[asyncio.Future[Any]] = set()
"""Stops that go on after their request was answered, which nothing else refers to."""


def is_server_name(text: str) -> bool:
    """Does JupyterHub accept this name for a new server?"""
    return bool(is_valid_safe_slug(text))


def is_routed(user: User, server_name: str) -> bool:
    """Has the server a route of its own, or is it about to get one?"""
    spawner = user.spawners.get(server_name)
    if spawner is None:
        return False
    return bool(spawner.ready or spawner._waiting_for_response or spawner._proxy_pending)


def route_of(user: User, server_name: str) -> str:
    """The path below which the proxy sends requests to this server."""
    return str(url_path_join(user.proxy_spec, url_escape_path(server_name), "/"))


# -- requests


class UnidentifiedHandler(APIHandler):
    """A handler for calls without credentials of JupyterHub, which it doesn't look for.

    Needless once JupyterHub's handlers can skip the look-up of the user, which takes some milliseconds.
    """

    async def prepare(self) -> None:
        """Leaves the caller without a name and without scopes."""
        self._jupyterhub_user = None
        self.expanded_scopes: set[str] = set()
        self.parsed_scopes: dict[str, Any] = {}

    def check_xsrf_cookie(self) -> None:
        """Checks nothing: these calls don't use cookies."""

    def _log(self) -> None:
        """Logs only calls that failed: a line for each of the others would double the cost of the call."""
        if self.get_status() >= 400:
            super()._log()


def user_named(handler: BaseHandler, name: str) -> User | None:
    """The user of this name, None when there is none. A caller that asks for itself costs no query."""
    caller = handler.current_user
    return caller if isinstance(caller, User) and caller.name == name else handler.find_user(name)


def has_server(user: User, server_name: str) -> bool:
    """Does the user have this server? The default server, "", is always there."""
    return not server_name or server_name in user.orm_spawners


def spawner_of(user: User, server_name: str) -> Spawner:
    """The spawner of a server that the user has; made if JupyterHub hasn't needed it yet."""
    return user.get_or_create_spawner(server_name, server_name)


def proxy_address(handler: BaseHandler) -> str:
    """The URL of the proxy's API, "" for a proxy that has none."""
    return str(getattr(handler.proxy, "api_url", ""))


def trusted_addresses(handler: BaseHandler) -> set[str]:
    """What the operator lists as JupyterHub.trusted_downstream_ips."""
    return set(handler.app.trusted_downstream_ips)


# -- certificates


async def proxy_certificates(config_file: Path) -> dict[str, dict[str, str]]:
    """The proxy's files for internal TLS: `keyfile`, `certfile` and `cafile` of its sides "api" and "client".

    Makes those that don't exist, which in 6.1 needs a running event loop. `config_file` is JupyterHub's.
    Needless once JupyterHub has a command that makes them.
    """
    from jupyterhub.app import JupyterHub

    app = JupyterHub()
    app.load_config_file(str(config_file))
    app.init_internal_ssl()
    return {
        side: {
            **{
                name: str(app.internal_proxy_certs[f"proxy-{side}"][name]) for name in ("keyfile", "certfile")
            },
            "cafile": str(app.internal_trust_bundles[f"proxy-{side}-ca"]),
        }
        for side in ("api", "client")
    }
