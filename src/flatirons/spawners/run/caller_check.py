"""Accepts calls of a starter only from the node that runs its job, according to Slurm.

The boot code is in the job's script, which others may manage to read. Because of this check, a stolen code is
useless on any other machine. The addresses of the node are those that this machine finds for its name in
Slurm and, where that isn't enough, for what Slurm itself uses (shared/node_addresses.py).
"""

from __future__ import annotations

from typing import NoReturn, Protocol

from flatirons.slurm.model import Job, Snapshot
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.stored_state import Followed
from flatirons.spawners.shared.node_addresses import Caller, KnownNode, NodeAddresses, Place

SWITCH = (
    "If nodes call from other addresses than those of their names, set check_address = false in [servers] "
    "of site.toml (SlurmSpawner.check_address)."
)


class NotExpected(Exception):
    """A call that doesn't fit the state of the server: wrong job, used code, server already up.

    `told` is a sentence for the server's user, "" for a call that can't be the starter's.
    """

    def __init__(
        self, detail: str, told: str = "The hub refused a call for this server, which it didn't expect."
    ):
        super().__init__(detail)
        self.told = told


class Elsewhere(NotExpected):
    """A call that doesn't come from the node of the job."""


class Unsettled(Exception):
    """At the moment it can't be decided where a call comes from; the starter may try again."""


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

    def __init__(self, of: Placed, watcher: Watcher, nodes: NodeAddresses) -> None:
        self._run = of
        self._watcher = watcher
        self._nodes = nodes
        self.admitted = ""  # the node of the last admitted call
        self._known: KnownNode | None = None
        self._caller: Caller | None = None  # that was admitted last

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
                    raise NotExpected(f"a call while its job waits in the queue, for {attempt}", "")

    @property
    def _known_node(self) -> str:
        attempt = self._run.attempt
        job = self._run.job or self._watcher.job(attempt.job_id)
        return attempt.host or (job.batch_host if job else "")

    def _shows_node(self, snapshot: Snapshot) -> bool:
        job = snapshot.jobs.get(self._run.attempt.job_id)
        return job is not None and bool(job.batch_host) and not job.state.is_waiting

    async def place(self) -> Place:
        """Where hub and proxy reach the node that runs the job. Raises what `node` raises."""
        name = await self.node()
        if self._known is None or self._known.name != name:
            self._known = await self._nodes.find(name)
        return self._known.place(self._caller)

    async def admit(self, caller: Caller) -> None:
        """Returns if the caller is on the run's node. Raises Elsewhere if not, and what `node` raises.

        Raises Unsettled while names can't be looked up.
        """
        name = await self.node()
        node = await self._nodes.find(name)
        if not caller.is_one_of(node.addresses):
            # the job may have been requeued, or the node may have another address now
            if not self._run.attempt.host:
                name = await self.node(anew=True)
            node = await self._nodes.find(name, anew=True)
        if caller.is_one_of(node.addresses):
            self.admitted, self._known, self._caller = name, node, caller
        elif node.trouble:
            raise Unsettled(node.trouble)
        else:
            self._turn_away(caller, node)

    def _turn_away(self, caller: Caller, node: KnownNode) -> NoReturn:
        known = ", ".join(sorted(map(str, node.addresses))) or "no address"
        where = f"on {node.name}, which has {known}"
        told = (
            f"The hub refused a call for this server from {caller.address}: its job runs {where} at the hub."
        )
        job = self._run.attempt.job_id
        raise Elsewhere(f"{caller.address} for job {job}, {where} here. {SWITCH}", told)
