"""All servers of a user for Home, and how one more can be started.

JupyterHub's own handler renders home.html; it finds a `HomePage` among the variables of templates.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from typing import Any, Self, TypeAlias

from cachetools import TTLCache

from flatirons import units
from flatirons.forms.page import Card
from flatirons.hub.pages.server_card import SOON_SECONDS, Links, ServerCard, clock_time, short_time
from flatirons.servers.status import ENDED, STOPPED, ServerStatus
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.jupyterhub import compat, compat_servers
from flatirons.spawners.run.server_status import asked, statuses

CHOICES_SECONDS = 600.0
"""For how long the presets that a user can have are remembered: Home asks Slurm nothing meanwhile."""

DESCRIBED = ("environment", "partition", "cpus", "memory", "gpus", "runtime")
"""The options that say what was started last."""

MOST_USERS = 2000
CHOICES_KEY = "flatirons_start_choices"
Choices: TypeAlias = TTLCache[str, tuple[object, tuple[Card, ...]]]


@dataclass(frozen=True, slots=True)
class NewServer:
    """How one more server can be started: `choices` by one click, or in the form.

    With `needs_name`, the default server runs already. `can_add` is False for those who have as many named
    servers as they may have.
    """

    choices: tuple[Card, ...]
    needs_name: bool
    can_add: bool
    has_form: bool
    allows_names: bool

    @property
    def version(self) -> str:
        """A text that changes with what is shown."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


class HomePage:
    """What Home shows to a user. It costs nothing until it is used."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.now = time.time()
        self.short_time = short_time
        self.clock_time = clock_time
        self.soon_seconds = SOON_SECONDS

    @classmethod
    def of(cls, user: Any) -> Self | None:
        """Home of the user who has logged in; None for somebody who isn't a user."""
        return cls(user) if hasattr(user, "spawners") else None

    @cached_property
    def cards(self) -> list[ServerCard]:
        """A card for each server; none for a default server that there is nothing to say about."""
        return server_cards(self.user, self.now)

    async def new_server(self, limit: int) -> NewServer | None:
        """How one more server can be started, None if there is no way; `limit` is that of named servers."""
        names = [name for name in compat.server_names(self.user) if name]
        needs_name = compat.is_active(self.user, "")
        allows_names = bool(compat.settings_of(self.user).get("allow_named_servers"))
        if needs_name and not allows_names:
            return None
        can_add = not needs_name or limit <= 0 or len(names) < limit
        has_form = FormHooks.of(compat.spawner_of(self.user, "")) is not None
        return NewServer(await start_choices(self.user), needs_name, can_add, has_form, allows_names)


def server_cards(user: Any, now: float) -> list[ServerCard]:
    """The cards of a user's servers, the default server first."""
    settings = compat.settings_of(user)
    hub, connects = compat_servers.hub_path(settings), compat_servers.has_page(settings, "/flatirons/connect")
    has_form = FormHooks.of(compat.spawner_of(user, "")) is not None
    cards = []
    for status in map(_read, statuses(user)):
        if status.name or status.phase != STOPPED:
            url = user.server_url(status.name)
            links = Links.of(hub, url, status, connects=connects, has_form=has_form)
            cards.append(ServerCard.of(status, links, now))
    return cards


def _read(status: ServerStatus) -> ServerStatus:
    """The status; that of a server which doesn't run if its user has read how it ended."""
    if status.phase == ENDED and status.report and status.report.dismissed:
        return replace(status, phase=STOPPED, sentence="", report=None)
    return status


async def start_choices(user: Any) -> tuple[Card, ...]:
    """What starts by one click: the last start's options, the site's presets that this user can have now, and
    the user's own."""
    spawner = compat.spawner_of(user, "")
    hooks = FormHooks.of(spawner)
    if hooks is None:
        return (Card("", "Start"),)
    last = compat_servers.newest_options(user)
    known: Choices = compat.settings_of(user).setdefault(CHOICES_KEY, TTLCache(MOST_USERS, CHOICES_SECONDS))
    basis = (last, hooks.saved_names(user.name))
    if user.name in known and known[user.name][0] == basis:
        return known[user.name][1]
    cards, is_current = await hooks.start_cards(spawner, last)
    described = tuple(_described(card, spawner, last) for card in cards)
    if is_current:
        known[user.name] = basis, described
    return described


def _described(card: Card, spawner: Any, last: Mapping[str, Any]) -> Card:
    """The card; that of the last start says what was asked for, in the form's words."""
    if card.key == "defaults":
        return replace(card, description="What the form begins with")
    if card.key != "last":
        return card
    words = {each.name: each.words for each in asked(spawner, last)}
    if "cpus" in words:
        words["cpus"] = units.counted(int(words["cpus"]), "core")
    if (gpus := words.pop("gpus", "none")) != "none":
        words["gpus"] = f"{gpus} GPU" if gpus.partition(" ")[0] == "1" else f"{gpus} GPUs"
    return replace(card, description=", ".join(words[name] for name in DESCRIBED if name in words))


def name_for(user: Any, title: str, choice: str, choices: Sequence[Card]) -> tuple[str, str]:
    """The name and the title of a new server: what its user typed, or else what was chosen, or a number."""
    if title:
        return compat_servers.slug(title), title
    chosen = next((each.title for each in choices if each.key == choice and ":" in choice), "server")
    base = compat_servers.slug(chosen.lower()) if chosen else "server"
    names = chain([] if chosen == "server" else [base], (f"{base}-{number}" for number in count(2)))
    name = next(each for each in names if not compat.has_server(user, each))
    return compat_servers.slug(name), name
