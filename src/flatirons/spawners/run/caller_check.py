"""Where a starter's calls come from: the node that Slurm names for its job, or they are refused.

A boot code stands in the job's script, which others than its job may come to read: a code that was stolen
is of no use elsewhere. The node's addresses are what its name has on this machine: by that name the hub and
the proxy reach the server, so a name without an address here is no node that could serve anybody.
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
    "Where nodes call from other addresses than their names', set check_address = false below [servers] in "
    "site.toml (SlurmSpawner.check_address)."
)
TELL = "Please tell the operator, whose log says more."


class NotExpected(Exception):
    """A starter's call that doesn't fit what we know: wrong job, used code, server already up."""


class Elsewhere(NotExpected):
    """A starter's call that doesn't come from its job's node."""


class Unsettled(Exception):
    """It can't be said at the moment where a call comes from: it may be made again."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; `is_here`: from this very machine."""

    address: Address
    is_here: bool

    def is_one_of(self, addresses: frozenset[Address]) -> bool:
        """Is it the machine with these addresses? A name that is a loopback address here is this one's."""
        return self.address in addresses or (self.is_here and any(each.is_loopback for each in addresses))


class Placed(Followed, Protocol):
    """A run, as its check sees it."""

    @property
    def is_wanted(self) -> bool:
        """Is there still somebody who waits for the server, or has it?"""

    async def submitted(self) -> None:
        """Returns once the job's id is known, as far as it can be."""

    def learn(self, job: Job) -> Job:
        """Slurm shows this job by the run's id; gives what the run makes of it."""


class CallerCheck:
    """Where the starter of one run is."""

    def __init__(self, of: Placed, watcher: Watcher) -> None:
        self._run = of
        self._watcher = watcher
        self.admitted = ""  # the node from which the last call came that was admitted
        self.refusal = ""  # what the user is told of a first call that was refused, if it was the starter's

    async def node(self, *, anew: bool = False) -> str:
        """The node that runs the job's script, as Slurm says; asks until Slurm knows, `anew` in any case.

        Raises NotExpected when the run is over before that, or when its job waits in the queue by now, so
        that none of its can call; SlurmError when Slurm doesn't answer.
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
        """Returns for a caller on the run's node; raises Elsewhere for another, and as `node` does.

        Raises Unsettled while names can't be looked up at all.
        """
        node, known = await self.node(), "no address"
        for anew in (False, True):  # the job may have been requeued, or the node's address have changed
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
        run = self._run.attempt
        if not run.key_digest:  # else the true starter has been heard, and this is somebody else
            self.refusal = (
                f"The hub refused a call for this server from {caller.address}: its job runs on {node}, "
                f"which has {known} at the hub. {TELL}"
            )
        raise Elsewhere(f"{caller.address} for job {run.job_id}, on {node}, which has {known} here. {SWITCH}")
