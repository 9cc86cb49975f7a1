"""The offers of clusters as users see them, and how old they are."""

from __future__ import annotations

from typing import Any

from flatirons.slurm.model import Configuration
from flatirons.slurm_form.offers import OfferCache


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
