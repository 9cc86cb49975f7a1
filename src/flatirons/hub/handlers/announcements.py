"""Operators' announcements: posted and removed by operators, read by everybody, dismissed by their reader.

Operators have the scope `admin:servers`, as for the page of operations. A message to one person is shown to
nobody else but operators.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError, authenticated

from flatirons.errors import Refusal, quoted
from flatirons.hub.announcements import SETTING, Announcement, Announcements, NotStored, moment
from flatirons.hub.handlers.operations import OPERATIONS_PATH, show_operations
from flatirons.hub.handlers.previous_page import previous_page
from flatirons.spawners.jupyterhub import compat

FIELDS = {"text": "", "level": "info", "user": "", "until": ""}
"""What a new announcement consists of, with the defaults."""


def announcements_of(handler: BaseHandler) -> Announcements:
    """Those of the hub; 404 for a hub whose configuration has none."""
    found = handler.settings.get(SETTING)
    if not isinstance(found, Announcements):
        raise HTTPError(404, "This hub has no announcements")
    return found


def post(handler: BaseHandler, given: dict[str, Any]) -> Announcement:
    """Stores a new announcement with the values of `FIELDS`; raises Refusal or NotStored."""
    user, until = given["user"], given["until"]
    if user and compat.user_named(handler, user) is None:
        raise Refusal(f"There is no user {quoted(user)} here.")
    author = handler.current_user.name
    made = announcements_of(handler).post(
        given["text"], author=author, level=given["level"], user=user, until=moment(until)
    )
    handler.log.info("Announcement %s by %s for %s", made.id, author, user or "everybody")
    return made


def remove(handler: BaseHandler, announcement_id: str, *, reader: str | None = None) -> bool:
    """Removes an announcement; 503 if the disk fails."""
    try:
        is_removed = announcements_of(handler).remove(announcement_id, reader=reader)
    except NotStored as error:
        handler.log.error("An announcement can't be removed: %s", error.detail)
        raise HTTPError(503, error.user) from None
    if is_removed:
        handler.log.info("Announcement %s was removed by %s", announcement_id, handler.current_user.name)
    return is_removed


class PostAnnouncement(BaseHandler):
    """POST operations/announcements: the form on the page of operations."""

    @needs_scope("admin:servers")
    async def post(self) -> None:
        """Stores the message, or shows the page again with a sentence beside what was typed."""
        typed = {name: self.get_body_argument(name, default, strip=False) for name, default in FIELDS.items()}
        typed["user"] = typed["user"].strip()
        try:
            post(self, typed)
        except Refusal as error:
            self.set_status(400)
            await show_operations(self, typed=typed, problem=str(error))
        except NotStored as error:
            self.log.error("An announcement can't be stored: %s", error.detail)
            self.set_status(503)
            await show_operations(self, typed=typed, problem=error.user)
        else:
            self.redirect(url_path_join(self.hub.base_url, OPERATIONS_PATH) + "#announcements")


class RemoveAnnouncement(BaseHandler):
    """POST operations/announcements/remove: a button on the page of operations."""

    @needs_scope("admin:servers")
    async def post(self) -> None:
        """Removes the message with the `id` in the body."""
        remove(self, self.get_body_argument("id"))
        self.redirect(url_path_join(self.hub.base_url, OPERATIONS_PATH) + "#announcements")


class DismissAnnouncement(BaseHandler):
    """POST announcements/dismiss: the reader of a personal message has read it."""

    @authenticated
    async def post(self) -> None:
        """Removes the message with the `id` in the body, and leads back to the page where it was shown."""
        await self._post(self.current_user.name)

    @needs_scope("read:users:name")
    async def _post(self, user_name: str) -> None:
        remove(self, self.get_body_argument("id"), reader=user_name)
        self.redirect(previous_page(self))


class ReadAnnouncements(APIHandler):
    """GET announcements: what the caller sees on top of the hub's pages."""

    async def get(self) -> None:
        """`{"announcements": [...]}` with the fields of `Announcement.as_seen`, in the order of the pages."""
        await self._get(getattr(self.current_user, "name", ""))

    @needs_scope("read:users:name")
    async def _get(self, user_name: str) -> None:
        self.finish({"announcements": [each.as_seen() for each in announcements_of(self).of(user_name)]})


class PostAnnouncementApi(APIHandler):
    """POST operations/announcements: the same as the form, for programs."""

    @needs_scope("admin:servers")
    async def post(self) -> None:
        """Takes `text`, and if wanted `level`, `user` and `until`; answers 201 with the announcement."""
        given = self.get_json_body()
        if not isinstance(given, dict) or given.keys() - FIELDS.keys():
            raise HTTPError(400, f"The body is an object with the keys {', '.join(FIELDS)}")
        values = {**FIELDS, **given}
        texts = [values[name] for name in ("text", "level", "user")]
        is_time = values["until"] is None or isinstance(values["until"], str | int | float)
        if not is_time or not all(isinstance(each, str) for each in texts):
            raise HTTPError(400, "text, level and user are texts, until is a time or null")
        try:
            made = post(self, values)
        except Refusal as error:
            raise HTTPError(400, str(error)) from None
        except NotStored as error:
            self.log.error("An announcement can't be stored: %s", error.detail)
            raise HTTPError(503, error.user) from None
        self.set_status(201)
        self.finish({**made.as_seen(), "user": made.user, "author": made.author})


class RemoveAnnouncementApi(APIHandler):
    """DELETE operations/announcement/ID: removes it."""

    @needs_scope("admin:servers")
    async def delete(self, announcement_id: str) -> None:
        """Answers 204, or 404 if there is none."""
        if not remove(self, announcement_id):
            raise HTTPError(404, "There is no such announcement")
        self.set_status(204)


handlers = [
    ("/flatirons/operations/announcements", PostAnnouncement),
    ("/flatirons/operations/announcements/remove", RemoveAnnouncement),
    ("/flatirons/announcements/dismiss", DismissAnnouncement),
    ("/api/flatirons/announcements", ReadAnnouncements),
    ("/api/flatirons/operations/announcements", PostAnnouncementApi),
    ("/api/flatirons/operations/announcement/(?P<announcement_id>[0-9a-f]+)", RemoveAnnouncementApi),
]
