"""JupyterHub's API tokens that reach one server, by names that JupyterHub doesn't document.

Its REST API makes, lists and revokes tokens, but it can't be called from a page without JavaScript. What
`compat` says holds here, too; tests/hub/test_connect.py fails when a name has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jupyterhub import orm
from jupyterhub.user import User
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ServerToken:
    """A token that hasn't expired, without its secret. `key` is JupyterHub's id of it, such as "a12".

    Times are in UTC and name no zone, as JupyterHub's database has them.
    """

    key: str
    note: str
    created: datetime
    expires: datetime
    last_used: datetime | None


def make_token(user: User, scopes: Iterable[str], note: str, seconds: int) -> str:
    """The secret of a new token with these scopes, which JupyterHub keeps only as a hash.

    Raises ValueError for scopes that the user doesn't have.
    """
    return str(user.new_api_token(scopes=list(scopes), note=note, expires_in=seconds))


def tokens_with(user: User, scopes: Iterable[str]) -> list[ServerToken]:
    """The user's tokens that expire, hold some of these scopes and hold no others; the newest first."""
    return [
        ServerToken(token.api_id, token.note or "", token.created, token.expires_at, token.last_activity)
        for token in reversed(_rows(user, scopes))
    ]


def revoke_token(user: User, scopes: Iterable[str], key: str) -> bool:
    """Deletes one of the tokens that `tokens_with` lists; is it there?"""
    session: Session = user.db
    found = [token for token in _rows(user, scopes) if token.api_id == key]
    for token in found:
        session.delete(token)
    session.commit()
    return bool(found)


def _rows(user: User, scopes: Iterable[str]) -> list[orm.APIToken]:
    known = set(scopes)
    return [
        token
        for token in sorted(user.api_tokens, key=lambda token: token.id)
        if token.scopes and known.issuperset(token.scopes) and token.expires_at and not token.expired
    ]
