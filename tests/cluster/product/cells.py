"""A person's notebook server on the virtual cluster, and what Slurm knows of the jobs that it starts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cluster.demo.visitor import Visitor
from tests.conftest import RealCluster
from tests.hub.person import eventually
from tests.repository import REPO

DOCS = REPO / "docs"
# All that matters: the form begins with what the same person chose last, in whatever test.
SERVER = {
    "environment": "python",
    "cluster": "summit",
    "partition": "shas",
    "account": "ucb-general",
    "runtime": "30m",
    "cpus": "1",
    "memory": "4G",
    "python_path": "",
}


class Slurm:
    """What Slurm knows, asked in the hub node."""

    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster

    def ask(self, *argv: str, user: str | None = None) -> str:
        done = self.cluster.exec("hub", list(argv), user=user)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def live(self, name: str, user: str = "alice") -> list[int]:
        """A user's live jobs of a name."""
        return [int(row) for row in self.ask("squeue", "-h", "-u", user, "-n", name, "-o", "%i").split()]

    def state(self, job: int) -> str:
        return self.ask("squeue", "-h", "-t", "all", "-j", str(job), "-o", "%T")

    def job(self, job: int) -> dict[str, str]:
        """What scontrol shows of a job."""
        words = self.ask("scontrol", "--oneliner", "show", "job", str(job)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def kept(self, job: int) -> str:
        """All that Slurm keeps of a job: its description and its script."""
        script = self.ask("scontrol", "write", "batch_script", str(job), "-")
        return self.ask("scontrol", "show", "job", str(job)) + script

    def end(self, name: str, user: str = "alice") -> None:
        """Cancels a user's jobs of a name, if there are any, and returns when they are gone."""
        if self.live(name, user):
            self.ask("scancel", "-u", user, "-n", name)
            eventually(lambda: not self.live(name, user), 60)

    def end_all(self, user: str = "alice") -> None:
        """Cancels all jobs of a user, and returns when they are gone."""
        self.ask("scancel", "-u", user)
        eventually(lambda: not self.ask("squeue", "-h", "-u", user), 60)

    @contextmanager
    def sknl_taken(self) -> Iterator[Callable[[], None]]:
        """sknl has one node, and all of it is in use until the end, or until what this gives is called."""
        words = ("-p", "sknl", "-A", "ucb-knl", "--exclusive", "-J", "blocker", "-t", "20")
        script = ("--wrap", "sleep 600")
        job = self.ask("sbatch", "--parsable", "-o", "/dev/null", *words, *script, user="alice")
        eventually(lambda: self.state(int(job)) == "RUNNING")
        yield lambda: self.ask("scancel", job) and None
        self.ask("scancel", job)


def start_server(visitor: Visitor, **options: str) -> None:
    visitor.submit_form(**{**SERVER, **options})
    assert list(visitor.progress())[-1].get("ready")


def last_json(printed: str) -> Any:
    """The value that a cell printed last."""
    return json.loads(printed.strip().rpartition("\n")[2])


def blocks(page: str, language: str = "python") -> list[str]:
    """The blocks of a language on a page of the documentation."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def command_lines(cluster: RealCluster, *hosts: str) -> str:
    """The command lines of all processes of some nodes."""
    return "".join(cluster.exec(host, ["ps", "-e", "-o", "args"]).stdout for host in hosts)
