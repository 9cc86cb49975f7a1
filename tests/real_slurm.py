"""The Slurm of the virtual cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import RealCluster
from tests.waiting import eventually


class Slurm:
    """Queries to Slurm, from the hub node."""

    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster

    def ask(self, *argv: str, user: str | None = None) -> str:
        """What a command prints in the hub node, as root unless a user is named."""
        done = self.cluster.exec("hub", list(argv), user=user)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def jobs(self, user: str, states: str = "PD,CF,R") -> list[tuple[int, str, str]]:
        """(id, state, name) of the user's jobs on summit."""
        rows = self.ask("squeue", "-h", "-u", user, "-t", states, "-o", "%i %T %j").splitlines()
        return [(int(a), b, c) for a, b, c in (row.split(None, 2) for row in rows)]

    def submit(self, user: str, *options: str) -> int:
        """The id of a new job, which sleeps."""
        words = ("--parsable", "-o", "/dev/null", *options, "--wrap", "sleep 3600")
        return int(self.ask("sbatch", *words, user=user))

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
            eventually(lambda: not self.live(name, user))

    def end_all(self, user: str = "alice") -> None:
        """Cancels all jobs of a user, and returns when they are gone."""
        self.ask("scancel", "-u", user)
        eventually(lambda: not self.ask("squeue", "-h", "-u", user))

    @contextmanager
    def sknl_taken(self) -> Iterator[int]:
        """sknl has one node; this job has all of it, until the end or until it is cancelled."""
        job = self.submit(
            "alice", "-p", "sknl", "-A", "ucb-knl", "--exclusive", "-J", "blocker", "-t", "5:00:00"
        )
        eventually(lambda: self.state(job) == "RUNNING")
        yield job
        self.ask("scancel", str(job))
