"""GET offer: what this user may ask for in a job script. Its body is schema/offer.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tornado.web import authenticated

from flatirons.lab.handlers import PanelHandler

if TYPE_CHECKING:
    from flatirons.slurm.bounds import Bounds
    from flatirons.slurm.cluster_model import Partition
    from flatirons.slurm.rights import Rights

NOTHING_KNOWN: dict[str, Any] = {"partitions": None, "accounts": None, "qos": None, "reservations": None}


class OfferHandler(PanelHandler):
    """GET offer: the user's partitions with their limits, accounts, QOS, reservations."""

    @authenticated
    async def get(self) -> None:
        """Answers with `"has_slurm": false` on a machine without Slurm, with `trouble` if Slurm is silent."""
        if not self.slurm.is_there:
            self.finish({"has_slurm": False, "trouble": "", **NOTHING_KNOWN})
            return
        seen = await self.slurm.offer()
        known = as_offer(seen.rights) if seen.rights else NOTHING_KNOWN
        self.finish({"has_slurm": True, "trouble": seen.trouble, **known})


def as_offer(rights: Rights) -> dict[str, Any]:
    """What these rights allow, as schema/offer.json has it."""
    partitions = [_as_partition(rights, each) for each in rights.partitions]
    found = [each for there in rights.partitions for each in rights.reservations(there.name)]
    return {
        "partitions": partitions,
        "accounts": _all_of(each["accounts"] for each in partitions),
        "qos": _all_of(each["qos"] for each in partitions),
        "reservations": list(dict.fromkeys(each.name for each in found)),
    }


def _as_partition(rights: Rights, partition: Partition) -> dict[str, Any]:
    name = partition.name
    accounts = rights.accounts(name)
    pairs = [(account, qos) for account in accounts or ("",) for qos in rights.qos(name, account) or ("",)]
    bounds = [rights.bounds(name, account, qos) for account, qos in pairs]
    qos = list(dict.fromkeys(qos for _, qos in pairs if qos))
    return {
        "name": name,
        "is_default": name == rights.default_partition,
        "max_minutes": _most(each.max_minutes for each in bounds),
        "max_nodes": _most(each.max_nodes() for each in bounds),
        "max_cpus": _most(each.max_cpus() for each in bounds),
        "max_memory_mib": _most(each.max_memory_mib() or None for each in bounds),
        "gpus": _most_gpus(bounds),
        "accounts": list(accounts) if rights.knows_accounts else None,
        "qos": qos or None,
    }


def _most(limits: Iterable[int | None]) -> int | None:
    """The loosest limit; None stands for no limit."""
    found = list(limits)
    given = [limit for limit in found if limit is not None]
    return max(given) if given and len(given) == len(found) else None


def _most_gpus(bounds: Iterable[Bounds]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in bounds:
        for kind, count in each.gpu_types().items():
            found[kind] = max(count, found.get(kind, 0))
    return found


def _all_of(lists: Iterable[list[str] | None]) -> list[str] | None:
    """The names of all lists, each once; None if one of them isn't known."""
    found: dict[str, None] = {}
    for each in lists:
        if each is None:
            return None
        found |= dict.fromkeys(each)
    return list(found)


routes = [("offer", OfferHandler)]
