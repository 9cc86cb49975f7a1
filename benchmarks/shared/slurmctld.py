"""Slurm of the demo's cluster summit: its jobs, and the requests (RPCs) that slurmctld received."""

import re
from dataclasses import dataclass

from cluster.demo.service import Demo
from cluster.layout import CONTROLLER
from cluster.processes import wait_until
from cluster.slurmconf import CONFIGURATION

from .testbed import run_script

CLUSTER = "summit"
CONF = f"{CONFIGURATION}/{CLUSTER}/slurm.conf"
JOBS_DEADLINE_S = 120.0
LIST_ALL = "squeue --noheader --format=%A"
LIST_RUNNING = f"{LIST_ALL} --states=RUNNING,COMPLETING,CONFIGURING"
# RPCs that nodes send to slurmctld, that slurmdbd sends, and that the benchmark itself causes.
INTERNAL_RPC = re.compile(
    "MESSAGE_|REQUEST_COMPLETE_|REQUEST_STEP_COMPLETE|REQUEST_STATS_INFO|ACCOUNTING_|REQUEST_PERSIST|REQUEST_NODE_REG"
)
RPC = re.compile(r"^\s+(?P<name>[A-Z_]+)\s*\(\s*\d+\)\s*count:(?P<count>\d+)", re.MULTILINE)


def run_slurm_script(demo: Demo, script: str, *arguments: str, deadline_s: float = 60) -> str:
    """The stdout of a shell script that runs as root on the controller node, with summit's slurm.conf."""
    return run_script(
        demo, CONTROLLER, f"export SLURM_CONF={CONF}\n{script}", *arguments, deadline_s=deadline_s
    )


def count_jobs(demo: Demo) -> int:
    """The number of jobs on summit, in whatever state."""
    return len(run_slurm_script(demo, LIST_ALL).split())


def end_jobs(demo: Demo, *, with_pending: bool = True) -> None:
    """Cancels the jobs on summit and returns when they are gone; pending jobs only `with_pending`."""
    listed = LIST_ALL if with_pending else LIST_RUNNING
    run_slurm_script(demo, f"{listed} | xargs -r scancel --quiet || true", deadline_s=JOBS_DEADLINE_S)
    wait_until(lambda: not run_slurm_script(demo, listed).strip(), "ending the jobs", JOBS_DEADLINE_S, 0.2)


@dataclass(frozen=True)
class RpcCounts:
    """The number of RPCs of each type that commands sent to slurmctld since the counters were reset."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        """The number of all of them."""
        return sum(self.counts.values())

    @property
    def queries(self) -> int:
        """The number of squeue commands: each sends one request for jobs."""
        return sum(count for name, count in self.counts.items() if name.startswith("REQUEST_JOB_INFO"))

    @property
    def submits(self) -> int:
        """The number of jobs that were submitted."""
        return sum(count for name, count in self.counts.items() if "SUBMIT" in name)

    @property
    def others(self) -> int:
        """The number of RPCs that were neither."""
        return self.total - self.submits - self.queries


def reset_rpc_counts(demo: Demo) -> None:
    """Sets slurmctld's counters to zero."""
    run_slurm_script(demo, "sdiag --reset")


def rpc_counts(demo: Demo) -> RpcCounts:
    """What the counters say now, without what nodes and daemons send to each other."""
    text = run_slurm_script(demo, "sdiag").partition("statistics by message type")[2].partition("by user")[0]
    found = {match["name"]: int(match["count"]) for match in RPC.finditer(text)}
    return RpcCounts({name: count for name, count in found.items() if not INTERNAL_RPC.match(name)})
