"""Accepts calls of a starter only from the node that runs its job, according to Slurm.

The boot code is in the job's script, which others may manage to read. Because of this check, a stolen code is
useless on any other machine. The addresses of the node are those that this machine finds for its name. The
hub and the proxy reach the server by that name, so a node without an address here couldn't serve anyone.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

from flatirons.slurm.model import Job, Snapshot
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.stored_state import Followed
from flatirons.spawners.shared.host_names import Address, HostNames

SWITCH = (
    "If nodes call from other addresses than those of their names, set check_address = false in [servers] "
    "of site.toml (SlurmSpawner.check_address)."
)
TELL = "Please tell the operator, whose log says more."


class NotExpected(Exception):
    """A call that doesn't fit the state of the server: wrong job, used code, server already up."""


class Elsewhere(NotExpected):
    """A call that doesn't come from the node of the job."""


class Unsettled(Exception):
    """At the moment it can't be decided where a call comes from; the starter may try again."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The address of a caller; `is_here`: the call comes from this machine."""

    address: Address
    is_here: bool

    def is_one_of(self, addresses: frozenset[Address]) -> bool:
        """Is the caller the machine with these addresses? A loopback address stands for this machine."""
        return self.address in addresses or (self.is_here and any(each.is_loopback for each in addresses))


class Placed(Followed, Protocol):
    """What the check needs to know of a run."""

    @property
    def is_wanted(self) -> bool:
        """Is the server still wanted: neither ended nor being stopped?"""

    async def submitted(self) -> None:
        """Returns once the job's id is known, or can't become known."""

    def learn(self, job: Job) -> Job:
        """Takes note of the job that Slurm shows under the run's job id."""


class CallerCheck:
    """Checks where the calls for one run come from."""

    def __init__(self, of: Placed, watcher: Watcher) -> None:
        self._run = of
        self._watcher = watcher
        self.admitted = ""  # the node of the last admitted call
        self.refusal = ""  # what to tell the user about a refused first call, in case it was the starter's

    async def node(self, *, anew: bool = False) -> str:
        """The node that runs the job's script, according to Slurm; waits until Slurm knows.

        `anew`: asks Slurm again, even if the node is known. Raises NotExpected when the run is over, or when
        its job waits in the queue, so that it can't call; SlurmError when Slurm doesn't answer.
        """
        await self._run.submitted()
        while True:
            attempt = self._run.attempt
            if not anew and (host := self._known_node):
                return host
            if not self._run.is_wanted:
                raise NotExpected(f"no node is known for {attempt}")
            snapshot = await (
                self._watcher.refresh_anew() if anew else self._watcher.refresh_anew(self._shows_node)
            )
            anew = False
            if found := snapshot.jobs.get(attempt.job_id):
                self._run.learn(found)
                if found.state.is_waiting:
                    raise NotExpected(f"a call while its job waits in the queue, for {attempt}")

    @property
    def _known_node(self) -> str:
        attempt = self._run.attempt
        job = self._run.job or self._watcher.job(attempt.job_id)
        return attempt.host or (job.batch_host if job else "")

    def _shows_node(self, snapshot: Snapshot) -> bool:
        job = snapshot.jobs.get(self._run.attempt.job_id)
        return job is not None and bool(job.batch_host) and not job.state.is_waiting

    async def admit(self, caller: Caller, names: HostNames) -> None:
        """Returns if the caller is on the run's node. Raises Elsewhere if not, and what `node` raises.

        Raises Unsettled while names can't be looked up.
        """
        node, known = await self.node(), "no address"
        for anew in (False, True):  # the job may have been requeued, or the node may have another address now
            if anew and not self._run.attempt.host:
                node = await self.node(anew=True)
            try:
                addresses = await names.addresses(node, anew=anew)
            except socket.gaierror as error:
                if error.errno == socket.EAI_AGAIN:
                    raise Unsettled(f"the address of {node} can't be looked up: {error.strerror}") from None
                continue
            if caller.is_one_of(addresses):
                self.admitted = node
                return
            known = ", ".join(sorted(map(str, addresses)))
        self._turn_away(caller, node, known)

    def _turn_away(self, caller: Caller, node: str, known: str) -> None:
        attempt = self._run.attempt
        if not attempt.has_starter_called:  # otherwise this is somebody else than the starter
            self.refusal = (
                f"The hub refused a call for this server from {caller.address}: its job runs on {node}, "
                f"which has {known} at the hub. {TELL}"
            )
        raise Elsewhere(
            f"{caller.address} for job {attempt.job_id}, on {node}, which has {known} here. {SWITCH}"
        )
