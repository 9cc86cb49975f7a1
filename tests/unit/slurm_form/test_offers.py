"""The offers of clusters as users see them, and how old they are."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Any

import pytest

from flatirons.slurm.cluster_model import Configuration
from flatirons.slurm_form.offers import OfferCache, find_groups


class Slurm:
    """Answers as a cluster without partitions and without accounting does."""

    async def configuration(self) -> Configuration:
        return Configuration("summit")

    async def nothing(self, *users: str) -> list[Any]:
        return []

    partitions = nodes = reservations = associations = nothing

    async def waiting(self) -> dict[str, int]:
        return {}


async def test_an_offer_that_slurm_has_just_made_is_a_moment_old() -> None:
    cache = OfferCache({"summit": Slurm()})  # type: ignore[dict-item]
    seen = (await cache.facts("root", fresh=True)).clusters["summit"]
    assert seen.rights is not None
    assert 0 <= seen.age_seconds < 60


async def test_offers_that_are_known_are_there_at_once_so_that_no_other_request_comes_between() -> None:
    cache = OfferCache({"summit": Slurm(), "blanca": Slurm()})  # type: ignore[dict-item]
    known = await cache.facts("root", fresh=False)
    again = cache.facts("root", fresh=False)
    with pytest.raises(StopIteration) as ended:  # not suspended
        again.send(None)
    assert ended.value.value.clusters.keys() == known.clusters.keys() == {"summit", "blanca"}


def test_a_group_counts_by_every_name_that_the_directory_has_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = grp.getgrgid(os.getgid())
    known = {own.gr_name: own, "DOM\\Own Group": own, "others": grp.struct_group(("others", "x", 2**20, []))}
    monkeypatch.setattr(grp, "getgrnam", known.__getitem__)
    me = pwd.getpwuid(os.getuid()).pw_name
    found = find_groups(me, ["DOM\\Own Group", "others", "nosuch"])
    assert found is not None
    assert {own.gr_name, "DOM\\Own Group"} <= found
    assert not {"others", "nosuch"} & found
    assert find_groups("no such user", ["others"]) is None
