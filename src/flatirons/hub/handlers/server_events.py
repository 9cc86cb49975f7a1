"""What keeps Home up to date: {hub}/flatirons/servers/events, one stream for all servers of a user.

It sends the cards that changed, as HTML, and every few seconds the time, by which a page notices that the
connection is dead. A stream ends after some minutes and the page opens another, so that a session that has
ended gets no news for longer than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope
from tornado.iostream import StreamClosedError

from flatirons.hub.pages.home import HomePage
from flatirons.hub.pages.server_card import ServerCard
from flatirons.spawners.jupyterhub import compat, compat_servers
from flatirons.spawners.shared.registry import SETTINGS_KEY

LIFETIME_SECONDS = 300.0
ALIVE_SECONDS = 15.0
"""From one sign of life to the next; home.js waits twice as long."""

LOOK_SECONDS = {True: 1.0, False: 5.0}
"""How often the servers are looked at without news of them, while one changes or while none does: JupyterHub
says nothing when it counts a server as ready, or forgets it."""

PAUSE_SECONDS = 0.5
"""The least from one event to the next."""


class HomeChanges:
    """What has changed on a user's Home since it was last looked at. Everything is new at first."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self._cards: dict[str, ServerCard] = {}
        self._names: tuple[bool, int] | None = None

    def look(self) -> tuple[HomePage, list[ServerCard], bool]:
        """Home now, the cards that are new or have changed, and whether anything else has changed."""
        home = HomePage(self.user)
        cards = {card.id: card for card in home.cards}
        changed = [card for card in cards.values() if self._cards.get(card.id) != card]
        names = (compat.is_active(self.user, ""), len(compat.server_names(self.user)))
        others = names != self._names or self._cards.keys() != cards.keys()
        self._cards, self._names = cards, names
        return home, changed, others


class ServerEvents(BaseHandler):
    """GET events: a stream of server-sent events for the user who calls.

    `cards` has `changed` (each `{id, version, html}`), `order` (the ids of all cards) and, if it may have
    changed, `start` (how one more server is started); `alive` has nothing more. Both have `now`, in seconds
    since 1970.
    """

    def initialize(self) -> None:
        """Nobody has gone yet."""
        self.gone = asyncio.Event()

    def on_connection_close(self) -> None:
        """Ends the stream."""
        self.gone.set()

    async def get(self) -> None:
        """Sends what changes, until the page is closed or some minutes have passed."""
        await self._get(self.current_user.name if self.current_user else "")

    @needs_scope("read:servers")
    async def _get(self, user_name: str) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep events back
        self.limit = await compat_servers.named_server_limit(self)
        with contextlib.suppress(StreamClosedError):
            await self._follow(self.current_user)

    async def _follow(self, user: Any) -> None:
        changes, alive_at = HomeChanges(user), 0.0
        ends_at = time.monotonic() + LIFETIME_SECONDS
        while not self.gone.is_set() and time.monotonic() < ends_at:
            news = self._news(user.name)
            home, changed, others = changes.look()
            if changed or others:
                await self._send("cards", home, **await self._cards(home, changed, others))
                alive_at = time.monotonic()
            elif time.monotonic() - alive_at >= ALIVE_SECONDS:
                await self._send("alive", home)
                alive_at = time.monotonic()
            is_changing = any(card.is_changing for card in home.cards)
            await self._wait(news, LOOK_SECONDS[is_changing])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _cards(self, home: HomePage, changed: list[ServerCard], others: bool) -> dict[str, Any]:
        """What an event says of cards that changed."""
        made = [
            {
                "id": card.id,
                "version": card.version,
                "html": await self.render_template("flatirons_server_card.html", card=card, home=home),
            }
            for card in changed
        ]
        found: dict[str, Any] = {"changed": made, "order": [card.id for card in home.cards]}
        if others:
            new = await home.new_server(self.limit)
            found["start"] = await self.render_template("flatirons_new_server.html", new=new) if new else ""
        return found

    async def _send(self, event: str, home: HomePage, **more: Any) -> None:
        self.write(f"event: {event}\ndata: {json.dumps({'now': home.now, **more})}\n\n")
        await self.flush()

    def _news(self, user_name: str) -> Awaitable[Any]:
        """Done at the next news of the user's servers; never where servers aren't followed by us."""
        registry = compat.settings_of_handler(self).get(SETTINGS_KEY)
        return registry.changes.next(user_name) if registry else asyncio.Event().wait()

    async def _wait(self, news: Awaitable[Any], seconds: float) -> None:
        waiting = [asyncio.ensure_future(each) for each in (news, self.gone.wait())]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()


handlers = [("/flatirons/servers/events", ServerEvents)]
