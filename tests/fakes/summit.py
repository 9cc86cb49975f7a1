"""What two users may use on a small Slurm: facts for forms, written by hand.

alice may charge `general` (default) and `knl`, bob `general` and `bobs`. The partition sknl takes only `knl`,
bobs only `bobs`. The nodes of shas have GPUs of one type, that of sknl of two; those of bobs have none.
"""

from __future__ import annotations

from dataclasses import replace

from flatirons.forms import Context
from flatirons.slurm.accounting import Association, Qos
from flatirons.slurm.cluster_model import Configuration, Node, Partition, Reservation
from flatirons.slurm.facts import ClusterFacts
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.offers import ClusterOffer, SlurmOffers

CONFIGURATION = Configuration("summit", frozenset({"associations", "limits", "qos"}))
PARTITIONS = (
    Partition("shas", is_up=True, is_default=True, max_minutes=7 * 1440, default_minutes=60),
    Partition("sknl", is_up=True, max_minutes=1440, allow_accounts=("knl",), allow_qos=("normal", "debug")),
    Partition("bobs", is_up=True, allow_accounts=("bobs",)),
    Partition("lesson", is_up=True, max_minutes=240, needs_reservation=True),
)
NODES = (
    Node("a1", "IDLE", partitions=("shas", "lesson"), cpus=8, memory_mib=16000, gpus={"v100": 2}),
    Node("a2", "MIXED", partitions=("shas",), cpus=8, cpus_in_use=6, memory_mib=16000, gpus={"v100": 2}),
    Node("b1", "IDLE", partitions=("sknl",), cpus=64, memory_mib=96000, gpus={"a100": 4, "k80": 2}),
    Node("c1", "IDLE", partitions=("bobs",), cpus=4, memory_mib=8000),
)
RESERVATIONS = (
    Reservation("workshop", is_active=True, partition="shas", users=("alice",), node_names=("a1",)),
    Reservation("bobsday", is_active=True, partition="shas", users=("bob",), node_names=("a2",)),
)
QOS = {
    "normal": Qos("normal", max_minutes=1440),
    "long": Qos("long", max_minutes=7 * 1440),
    "debug": Qos("debug", max_minutes=60, max_tres_per_user={"cpu": 4}),
}
ASSOCIATIONS = {
    "alice": (
        Association("summit", "general", "alice", "", ("debug", "long", "normal"), "normal", is_default=True),
        Association("summit", "knl", "alice", "", ("debug", "normal"), "normal"),
    ),
    "bob": (
        Association("summit", "general", "bob", "", ("normal",), "normal", is_default=True),
        Association("summit", "bobs", "bob", "", ("normal",), "normal"),
    ),
}
FACTS = ClusterFacts(CONFIGURATION, PARTITIONS, NODES, RESERVATIONS, QOS, {"shas": 3})


def rights(user: str = "alice", facts: ClusterFacts = FACTS) -> Rights:
    """What a user may do; any other user has no account."""
    return Rights(facts, ASSOCIATIONS.get(user, ()), user)


def facts(user: str = "alice", seen: ClusterFacts = FACTS) -> SlurmOffers:
    """The same for the rules of a form: `summit` is known, `blanca` has never answered."""
    never = ClusterOffer(trouble="Slurm hasn't answered yet.")
    return SlurmOffers({"summit": ClusterOffer(rights(user, seen)), "blanca": never})


def context(user: str = "alice", seen: ClusterFacts = FACTS) -> Context:
    """Who fills the form in, and what is known."""
    return Context(user=user, facts=facts(user, seen))


def without_memory(*names: str) -> ClusterFacts:
    """The facts, as if Slurm allocated no memory in these partitions."""
    partitions = (replace(each, counts_memory=each.name not in names) for each in PARTITIONS)
    return replace(FACTS, partitions=tuple(partitions), kept={})
