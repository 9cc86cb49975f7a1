"""Servers that people start on the virtual cluster, and what Slurm knows of their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.hub.person import Person, eventually

SHAS = {
    **{"cluster": "summit", "partition": "shas", "account": "ucb-general"},
    **{"runtime": "0:20:00", "memory": "1G", "environment": "python"},
}
BLOCKED = {**SHAS, "partition": "sknl", "account": "ucb-knl"}


class Slurm:
    """What Slurm knows, asked in the hub node."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    def ask(self, *argv: str, user: str | None = None) -> str:
        done = self.cluster.exec("hub", list(argv), user=user)
        assert done.returncode == 0, done
        return str(done.stdout).strip()

    def jobs(self, user: str, states: str = "PD,CF,R") -> list[tuple[int, str, str]]:
        """(id, state, name) of the user's jobs on summit."""
        rows = self.ask("squeue", "-h", "-u", user, "-t", states, "-o", "%i %T %j").splitlines()
        return [(int(a), b, c) for a, b, c in (row.split(None, 2) for row in rows)]

    def submit(self, user: str, *options: str) -> int:
        return int(self.ask("sbatch", "--parsable", *options, "--wrap", "sleep 600", user=user))

    def cancel(self, user: str) -> None:
        self.ask("scancel", "-u", user)
        eventually(lambda: not self.jobs(user), 30)


def visit(cluster: Any, slurm: Slurm, name: str) -> Iterator[Person]:
    """The person, logged in; in the end their servers and jobs are gone."""
    person = Person(cluster.hub_url, name).log_in()
    person.forget_named()
    yield person
    for server, model in person.servers().items():
        if model["ready"] or model["pending"]:
            person.rest("DELETE", person.path(server))
    slurm.cancel(name)
    eventually(
        lambda: not any(m["pending"] for m in person.rest("GET", f"/users/{name}").json()["servers"].values())
    )
    person.http.close()


def waiting(slurm: Slurm) -> list[tuple[int, str, str]]:
    """Alice's jobs in the queue."""
    return slurm.jobs("alice", "PD")
