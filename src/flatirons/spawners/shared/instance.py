"""Which hub this is: an id in its database, for the comments of its jobs.

A hub that was made from the state of another, to try something, may have a copy of its cookie secret, or of
its whole database. It must not take the other's jobs for its own. So the id is kept with the place of the
hub, and a hub at another place draws a new one. Jobs whose comment names an earlier id stay those of their
servers, which are known by the jobs' ids; the others are never cancelled.
"""

from __future__ import annotations

import os
import secrets
import socket
from logging import Logger
from urllib.parse import urlsplit

from sqlalchemy import Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

_INSTANCE = Table(
    "flatirons_instance",
    MetaData(),
    Column("id", String(16), primary_key=True),
    Column("place", String(1000), nullable=False),
)

MOVED = (
    "The database was last used by a hub at %s, and this one is at %s. If that hub runs, stop this one: "
    "both would look after the same servers. This hub cancels no job of that one, unless somebody stops its "
    "server here. Jobs of that hub without a server here are on the page of operations."
)


def instance_id(session: Session, hub_url: str, log: Logger) -> str:
    """The hub's id, drawn and stored if there is none for this place; raises SQLAlchemyError.

    `hub_url` is where the nodes reach the hub.
    """
    place = place_of(hub_url, session.get_bind().engine.url)
    try:
        _INSTANCE.create(session.connection(), checkfirst=True)
        stored = session.execute(select(_INSTANCE)).first()
        if stored is None or stored.place != place:
            session.execute(delete(_INSTANCE))
            stored = None if stored is None else stored.place
            made = secrets.token_hex(4)
            session.execute(insert(_INSTANCE).values(id=made, place=place))
        else:
            made, stored = stored.id, None
        session.commit()
    except SQLAlchemyError:
        session.rollback()
        raise
    if stored:
        log.warning(MOVED, stored, place)
    return str(made)


def place_of(hub_url: str, database_url: URL | str) -> str:
    """Where a hub is: its machine's name, that for the nodes, and its database, without the password.

    In containers, the first and the last may be the same for two hubs.
    """
    url = make_url(database_url)
    database = url.database or ""
    if url.get_backend_name() == "sqlite" and database not in ("", ":memory:"):
        url = url.set(database=os.path.abspath(database))
    names = dict.fromkeys((socket.gethostname(), urlsplit(hub_url).hostname or ""))
    return ", ".join([*filter(None, names), url.render_as_string()])
