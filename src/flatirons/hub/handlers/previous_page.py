"""Where a form without JavaScript leads back to: the page of this hub on which it was."""

from __future__ import annotations

from urllib.parse import urlsplit

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.utils import url_path_join

ONLY_POSTED = {"flatirons/operations/announcements": "flatirons/operations"}
"""Paths that show a page only in answer to a form, and the page that has the form."""


def previous_page(handler: BaseHandler, page: str = "home") -> str:
    """The path and the query that the browser names, if they are of this hub; else this `page` of the hub."""
    try:
        before = urlsplit(handler.request.headers.get("Referer", ""))
    except ValueError:
        before = urlsplit("")
    own = before.path.removeprefix(handler.hub.base_url)
    if own == before.path or own in ONLY_POSTED:
        return str(url_path_join(handler.hub.base_url, ONLY_POSTED.get(own, page)))
    return f"{before.path}?{before.query}" if before.query else before.path
