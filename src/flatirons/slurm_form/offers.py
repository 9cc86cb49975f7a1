"""The basis of the Slurm form's rules: the rights of one user on every cluster, as last known."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from cachetools import LRUCache

from flatirons.concurrency import SharedCall
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.cluster_cache import ClusterCache
from flatirons.slurm.rights import Rights
from flatirons.units import time_in_words

GLANCE_SECONDS = 20.0
"""How old the facts on a page may be; older ones are shown too, and renewed in the background."""

GATE_SECONDS = 10.0
"""How old the facts may be by which the start of a server is checked."""

RIGHTS_SECONDS = 60.0
"""How old associations and groups on a page may be: people change them by hand, and rarely."""

PATIENCE_SECONDS = 1.5
MOST_USERS = 2000


@dataclass(frozen=True, slots=True)
class ClusterOffer:
    """A cluster as one user sees it; `rights` are None before Slurm's first answer.

    `trouble` says why the facts couldn't be renewed, "" when they could.
    """

    rights: Rights | None = None
    age_seconds: float = 0.0
    trouble: str = ""


NO_OFFER = ClusterOffer()


@dataclass(frozen=True, slots=True)
class SlurmOffers:
    """All clusters as one user sees them, by the site's names."""

    clusters: Mapping[str, ClusterOffer] = field(default_factory=dict)

    def rights(self, cluster: str | None) -> Rights | None:
        """The user's rights on this cluster; None while they aren't known."""
        return self.clusters.get(cluster or "", NO_OFFER).rights

    @property
    def age(self) -> str:
        """A sentence about facts that can't be renewed, "" when they can."""
        silent = {name: seen for name, seen in self.clusters.items() if seen.trouble}
        if not silent:
            return ""
        names = " and ".join(silent)
        known = [seen.age_seconds for seen in silent.values() if seen.rights]
        if len(known) < len(silent):
            return f"Slurm doesn't answer on {names}, so it isn't known what you may choose there."
        return f"Slurm doesn't answer on {names}. What is shown is {time_in_words(max(known))} old."


class OfferCache:
    """All clusters for all users; the rights of each user are computed once for each snapshot."""

    def __init__(self, clients: Mapping[str, SlurmClient]) -> None:
        self.caches = {name: ClusterCache(client) for name, client in clients.items()}
        self._rights: LRUCache[tuple[str, str], Rights] = LRUCache(MOST_USERS)
        self._groups: LRUCache[tuple[str, frozenset[str]], SharedCall[frozenset[str] | None]] = LRUCache(
            MOST_USERS
        )

    async def facts(self, user: str, *, fresh: bool) -> SlurmOffers:
        """What this user may use; `fresh`: to check a start, otherwise to show on a page."""
        names = list(self.caches)
        if not fresh and all((name, user) in self._rights for name in names):
            # Nothing waits, so no other request comes between: tasks would take five turns of the loop.
            seen = [await self._seen(name, user, fresh) for name in names]
        else:
            seen = await asyncio.gather(*(self._seen(name, user, fresh) for name in names))
        return SlurmOffers(dict(zip(names, seen, strict=True)))

    async def _seen(self, cluster: str, user: str, fresh: bool) -> ClusterOffer:
        cache = self.caches[cluster]
        is_first = (cluster, user) not in self._rights
        patience = PATIENCE_SECONDS if fresh or is_first else 0.0
        look = cache.look(max_age=GATE_SECONDS if fresh else GLANCE_SECONDS, patience=patience)
        own = cache.associations(user, max_age=GATE_SECONDS if fresh else RIGHTS_SECONDS, patience=patience)
        facts, associations = await asyncio.gather(look, own) if patience else (await look, await own)
        if facts is None:
            return ClusterOffer(trouble=cache.trouble or "Slurm hasn't answered yet.")
        groups = await self._groups_of(user, facts.named_groups)
        known = self._rights.get((cluster, user))
        rights = known.renewed(facts, associations, groups) if known else None
        rights = rights or Rights(facts, associations, user, groups)
        self._rights[cluster, user] = rights
        return ClusterOffer(rights, time.monotonic() - facts.taken_at, cache.trouble)

    async def _groups_of(self, user: str, named: frozenset[str]) -> frozenset[str] | None:
        """The user's groups, looked up in a thread: SSSD may take its time."""
        lookup = SharedCall(partial(asyncio.to_thread, find_groups, user, named))
        return await self._groups.setdefault((user, named), lookup).get(RIGHTS_SECONDS)


def find_groups(user: str, named: Iterable[str] = ()) -> frozenset[str] | None:
    """The names of the user's groups on this machine; None when it doesn't know the user. May block.

    A directory may know a group by several names, such as `domain users` and `DOM\\Domain Users`. Slurm goes
    by its number, so those of the `named` groups that are one of the user's groups are among the result.
    """
    try:
        account = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None
    names, numbers = set(), set(os.getgrouplist(user, account.pw_gid))
    for number in numbers:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    for name in set(named) - names:
        with contextlib.suppress(KeyError):
            if grp.getgrnam(name).gr_gid in numbers:
                names.add(name)
    return frozenset(names)
