"""Servers that people start on the virtual cluster."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conftest import RealCluster
from tests.person import Person
from tests.real_slurm import Slurm
from tests.waiting import eventually

SHAS = {
    **{"cluster": "summit", "partition": "shas", "account": "ucb-general"},
    **{"runtime": "0:20:00", "memory": "1G", "environment": "python"},
}
BLOCKED = {**SHAS, "partition": "sknl", "account": "ucb-knl"}


def visit(cluster: RealCluster, slurm: Slurm, name: str) -> Iterator[Person]:
    """The user, logged in; at the end their servers and jobs are removed."""
    person = Person(cluster.hub_url, name).log_in()
    person.forget_named()
    yield person
    for server, model in person.servers().items():
        if model["ready"] or model["pending"]:
            person.rest("DELETE", person.path(server))
    slurm.end_all(name)
    eventually(
        lambda: not any(m["pending"] for m in person.rest("GET", f"/users/{name}").json()["servers"].values())
    )
    person.http.close()


def waiting(slurm: Slurm) -> list[tuple[int, str, str]]:
    """Alice's jobs in the queue."""
    return slurm.jobs("alice", "PD")
